package config

import (
	"io/fs"
	"net/netip"
	"time"

	"argosy/agent/socket"
	"argosy/dtab"
)

// Listener accepts connections.
type Listener struct {
	Name           string
	Network        string // "tcp" or "unix"
	Address        string // "host:port", or the absolute path of a Unix socket
	Unix           UnixSocket
	ReusePort      bool
	Destination    dtab.Path      // fixed name, or nil with SNI
	SNI            *SNI           // name from the TLS server name
	TLS            *ServerTLS     // nil: plain TCP, or TLS passed through
	Deny           Deny           // of clients that TLS has asked who they are
	MaxConnections int            // 0: no limit
	Limits         Limits         // further ones, and what happens at a limit
	ConnectTimeout time.Duration  // from the client's handshake to an established outbound connection; 10s unless set
	Timeouts       Timeouts       // of what comes before and after
	ProxyProtocol  *ProxyProtocol // nil: connections do not start with a PROXY header
	Socket         socket.Options // of accepted connections
	FastOpen       int            // length of the queue for TCP Fast Open; 0: off
	Register       *ListenerEntry // its own Consul service; nil: not registered
}

// UnixSocket is who may connect to a Unix socket.
type UnixSocket struct {
	Mode         fs.FileMode // 0660 unless set
	Owner, Group string      // name or number; "": as the process
}

// What happens to a connection at a limit.
const (
	Refuse = "refuse" // it is closed by reset
	Queue  = "queue"  // it waits for its turn
)

// Limits are those of a listener beside MaxConnections.
type Limits struct {
	PerSource    int           // open connections from one IP address; 0: no limit
	Rate         float64       // new connections per second; 0: no limit
	Burst        int           // of new connections above Rate; Rate, and at least 1, unless set
	AtLimit      string        // "refuse" unless set, or "queue"
	QueueLength  int           // connections that wait; 100 unless set
	QueueTimeout time.Duration // 1s unless set
	Handshakes   int           // TLS handshakes under way; 0: no limit; 1000 unless set
}

// Timeouts of a connection; 0 is none.
type Timeouts struct {
	Handshake      time.Duration // for PROXY header and TLS handshake of the client together; 10s unless set
	FirstByte      time.Duration // from joining to the client's first byte
	Idle           time.Duration // nothing moves
	HalfClose      time.Duration // one side has ended and the other is silent; 5m unless set
	Lifetime       time.Duration // from joining
	LifetimeJitter float64       // share of Lifetime by which it is shortened at random; 0.1 unless set
}

// ProxyProtocol takes the client's address from a PROXY header.
type ProxyProtocol struct {
	From     []netip.Prefix // whose headers are believed
	Optional bool           // connections from there may come without one
}

// SNI makes names from TLS server names: prefix + the lower-cased name.
type SNI struct {
	Prefix  dtab.Path
	Default dtab.Path     // for connections without a server name; nil: refused
	Timeout time.Duration // for the ClientHello to arrive; 3s unless set
	ALPN    []ALPNRoute   // looked at first, in the order of the file
}

// ALPNRoute sends clients that offer a protocol to a name of its own.
type ALPNRoute struct {
	Protocol string
	Name     dtab.Path
}

// ServerTLS terminates TLS: with files, or with a Connect identity that also requires Connect clients.
type ServerTLS struct {
	Certificates []Certificate // the first one is for clients whose server name no other fits
	ClientCAFile string        // client certificates signed by it are asked for
	ClientAuth   string        // "required" or "optional"; "" without ClientCAFile
	ClientIDs    []string      // SPIFFE ids of clients, or prefixes of them that end in /*; none: any that ClientCAFile has signed
	MinVersion   uint16        // tls.VersionTLS12 unless set
	ALPN         []string      // protocols to agree on, best first; none: ALPN is not answered
	Connect      string        // Consul service name whose leaf to use; clients must be Connect services that intentions allow
}

// AsksClients reports whether clients are asked for certificates.
func (t *ServerTLS) AsksClients() bool { return t != nil && (t.Connect != "" || t.ClientCAFile != "") }

// Certificate is one that a listener shows to clients that ask for one of the names in it.
type Certificate struct {
	CertFile, KeyFile string
	OCSPFile          string // DER; stapled while it is valid; "": none
}
