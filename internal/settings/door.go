package settings

import (
	"io/fs"
	"net"
	"net/netip"
	"strings"
)

// Door is an HTTP endpoint for operators and programs, and who may use it.
type Door struct {
	Network  string // "tcp" unless set, or "unix"
	Address  string // host:port, or the absolute path of a Unix socket
	Mode     fs.FileMode
	Owner    string // of a Unix socket, name or number; "": as the process
	Group    string
	TLS      *DoorTLS
	Tokens   []DoorToken
	Open     []string // paths that anybody may read
	Hosts    []string // names by which clients on this machine may call the endpoint, beside addresses and localhost
	Insecure bool     // anybody who reaches the endpoint may use it
	Closed   bool     // nobody may anything but what is open

	MaxConnections int // 0: as the door has it
}

// DoorTLS makes a door speak TLS, with files or as a Connect service.
type DoorTLS struct {
	CertFile, KeyFile string
	ClientCAFile      string   // empty: clients show no certificates
	Required          bool     // nobody connects without a certificate, and tokens are needed besides
	Connect           string   // the Connect service to be, in place of files
	Clients           []string // the Connect services that may come in
}

// DoorToken lets its holder in.
type DoorToken struct {
	Name   string
	File   string // read again when it changes; each line of it is a secret
	Secret Secret // in place of File
	Write  bool   // else its holder may only read
}

// Identifies reports whether the door finds out who its callers are.
func (d *Door) Identifies() bool {
	return len(d.Tokens) > 0 || d.TLS != nil && (d.TLS.ClientCAFile != "" || d.TLS.Connect != "")
}

// Local reports whether only this machine can reach the door.
func (d *Door) Local() bool {
	if d.Network == "unix" {
		return true
	}
	host, _, err := net.SplitHostPort(d.Address)
	if err != nil || strings.EqualFold(host, "localhost") {
		return err == nil
	}
	ip, err := netip.ParseAddr(host)
	return err == nil && ip.Unmap().IsLoopback()
}

// Exposed says what is missing where others than this machine can reach the door; "" if nothing is.
func (d *Door) Exposed() string {
	if d.Local() || d.Closed {
		return ""
	}
	var missing []string
	if d.TLS == nil {
		missing = append(missing, "TLS")
	}
	if !d.Identifies() {
		missing = append(missing, "authentication")
	}
	return strings.Join(missing, " and ")
}
