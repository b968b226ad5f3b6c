package hclx

import (
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strconv"
	"strings"

	"argosy/internal/settings"
)

// DoorBlock is an endpoint for operators and programs, and who may use it. Where other machines can reach it, it wants a token or
// client certificates.
type DoorBlock struct {
	// `host:port` to listen on; port 0 takes a free one. Or a Unix socket, such as `unix:/run/argosy/admin.sock`. `127.0.0.1:9990`
	// unless set for an agent, `127.0.0.1:9993` for a scheduler.
	Address Attr `hcl:"address,optional" type:"address"`
	// The permissions of a Unix socket: who may write to it may do everything.
	SocketMode Attr `hcl:"socket_mode,optional" type:"string" default:"0660"`
	// The owner of a Unix socket, `user` or `user:group`. The process's own unless set.
	SocketOwner Attr `hcl:"socket_owner,optional" type:"string"`
	// Serve HTTPS.
	TLS *DoorTLSBlock `hcl:"tls,block"`
	// A file of tokens, one on each line. Callers show one as `Authorization: Bearer TOKEN`. It is read again when it changes.
	TokenFile Attr `hcl:"token_file,optional" type:"file"`
	// Paths that anybody may read without a token or a certificate. `["/health", "/ready"]` unless set. Where other machines can
	// reach the endpoint and it wants neither, nothing else is served.
	Open Attr `hcl:"open,optional" type:"list of strings"`
	// Names by which clients on this machine may call the endpoint where they show neither token nor certificate, beside
	// addresses and `localhost`: requests for others may come from a web page.
	Hosts Attr `hcl:"hosts,optional" type:"list of strings"`
	// Let everybody in who reaches the endpoint, also from other machines.
	Insecure Attr `hcl:"insecure,optional" type:"boolean" default:"false"`
	// How many callers that were let in are served at a time. Others do not count: their connections make room.
	MaxConnections Attr  `hcl:"max_connections,optional" type:"number" default:"256"`
	Range          Range `hcl:",def_range"`
}

// DoorTLSBlock takes TLS 1.2 and 1.3. The files are read again when they change.
type DoorTLSBlock struct {
	// The certificate (PEM), with those of the authorities between it and the root.
	CertFile Attr `hcl:"cert_file,optional" type:"file"`
	// The private key (PEM) of `cert_file`.
	KeyFile Attr `hcl:"key_file,optional" type:"file"`
	// Callers need a certificate that one of these CA certificates (PEM) has signed.
	ClientCAFile Attr `hcl:"client_ca_file,optional" type:"file"`
	// `optional`: a certificate or a token is needed, and neither for the `open` paths. `required`: nobody connects without a
	// certificate, not even for these, and with `token_file` a token is needed besides.
	ClientAuth Attr `hcl:"client_auth,optional" type:"string" default:"optional"`
	// Be this service in Consul Connect, in place of files. For agents only.
	Connect Attr `hcl:"connect,optional" type:"string"`
	// The Connect services that may come in, if intentions allow them.
	Clients Attr  `hcl:"clients,optional" type:"list of strings"`
	Range   Range `hcl:",def_range"`
}

// DefaultOpen are the paths that anybody may read unless the configuration says otherwise: what is asked by those who decide
// whether traffic comes here.
func DefaultOpen() []string { return []string{"/health", "/ready"} }

const shortestToken = 16 // bytes

// longestSocket is the longest path of a Unix socket: sun_path of unix(7), less its final zero.
const longestSocket = 107

// Settings takes the values out of a block that may be missing, and refuses a door that lets everybody in. what is the block's
// name, and address the default of that key. Only where connect says so can the endpoint be a Connect service.
func (b *DoorBlock) Settings(d *Decoder, what, address string, connect bool) settings.Door {
	b = OrDefault(b)
	s := b.Values(d, address, connect)
	b.Check(d, &s, what)
	return s
}

// Values is Settings without the refusal, for blocks that have further ways in.
func (b *DoorBlock) Values(d *Decoder, address string, connect bool) settings.Door {
	s := settings.Door{Network: "tcp", Address: address, Open: d.paths(b.Open), Insecure: d.Bool(b.Insecure), MaxConnections: d.Int(b.MaxConnections, 1, 1_000_000)}
	if b.Address != nil {
		d.doorAddress(b, &s)
	}
	if b.SocketOwner != nil && s.Network == "tcp" {
		d.Errorf(Place(b.SocketOwner), "leave it out", "socket_owner is for Unix sockets only")
	}
	s.TLS = b.TLS.Values(d, connect)
	if b.TokenFile != nil {
		s.Tokens = append(s.Tokens, settings.DoorToken{Name: "token_file", File: d.TokenFile(b.TokenFile), Write: true})
	}
	s.Hosts = d.hosts(b.Hosts)
	if s.Network == "unix" && b.TLS != nil {
		d.Errorf(b.TLS.Range, "leave it out: the socket's permissions say who may", "tls makes no sense with a Unix socket")
	}
	return s
}

// Check refuses a door that lets everybody in from other machines. One that only says what is open there serves nothing else.
func (b *DoorBlock) Check(d *Decoder, s *settings.Door, what string) {
	exposed := !s.Local() && !s.Identifies() && !s.Insecure
	switch {
	case s.Address == "" || b.Address != nil && d.Failed(b.Address): // that is said already
	case s.Insecure && s.Identifies():
		d.Errorf(Place(b.Insecure), "leave one of them out", "insecure lets everybody in, and %s asks callers who they are", what)
	case exposed && b.Open == nil:
		d.Errorf(Place(b.Address), `add token_file = "..." or tls { ... } with client_ca_file; or use a loopback address or "unix:/path"; or say open = ["/health"] to serve nothing else, or insecure = true`,
			"%s address %q can be reached from other machines, and everybody there would be let in", what, s.Address)
	}
	s.Closed = exposed
}

// doorAddress takes the address, and what goes with its kind.
func (d *Decoder) doorAddress(b *DoorBlock, s *settings.Door) {
	text, ok := d.address(b.Address)
	if !ok {
		s.Address = ""
		return
	}
	path, local := strings.CutPrefix(text, "unix:")
	if path = "/" + strings.TrimLeft(path, "/"); !local && !strings.HasPrefix(text, "/") {
		s.Address = d.CheckAddress("address", Text{text, Place(b.Address)})
		return
	}
	s.Network, s.Address = "unix", path
	if path == "/" || len(path) > longestSocket || strings.ContainsRune(path, 0) {
		d.Errorf(Place(b.Address), fmt.Sprintf("write \"unix:/run/argosy/admin.sock\"; a path has at most %d bytes", longestSocket), "address %q is no path of a Unix socket", text)
	}
	mode, err := strconv.ParseUint(d.String(b.SocketMode), 8, 32)
	if err != nil || mode > 0o777 {
		d.Errorf(Place(b.SocketMode), `write socket_mode = "0660"`, "socket_mode is no file mode")
	}
	s.Mode = fs.FileMode(mode)
	s.Owner, s.Group, _ = strings.Cut(d.String(b.SocketOwner), ":")
}

// Values takes the values out of a block that may be missing.
func (b *DoorTLSBlock) Values(d *Decoder, connect bool) *settings.DoorTLS {
	if b == nil {
		return nil
	}
	t := &settings.DoorTLS{ClientCAFile: d.CAFile(b.ClientCAFile), Required: d.OneOf(b.ClientAuth, "required", "optional") == "required"}
	t.CertFile, t.KeyFile = d.KeyPair(b.CertFile, b.KeyFile)
	files := b.CertFile != nil || b.KeyFile != nil
	if b.Connect == nil && b.ClientCAFile == nil && b.ClientAuth != nil && Place(b.ClientAuth).Start.Line > 0 && !d.Failed(b.ClientAuth) {
		d.Errorf(Place(b.ClientAuth), "add client_ca_file, or leave client_auth out", "client_auth has no effect without client_ca_file")
	}
	switch {
	case b.Connect == nil && !files:
		hint := "add cert_file and key_file"
		if connect {
			hint += `, or connect = "service" with clients = ["..."]`
		}
		d.Errorf(b.Range, hint, "the tls block has no certificate")
	case b.Connect == nil && b.Clients != nil:
		d.Errorf(Place(b.Clients), "they come with client_ca_file here; leave clients out", "clients is for Connect services, and needs connect")
	case b.Connect == nil:
	case !connect:
		d.Errorf(Place(b.Connect), "use cert_file and key_file", "only agents can be Connect services here")
	case files:
		d.Errorf(b.Range, "connect brings its certificate along; leave the files out", "the tls block has both files and connect")
	case b.ClientCAFile != nil:
		d.Errorf(b.ClientCAFile.NameRange, "connect lets Consul's CA decide; leave client_ca_file out", "client_ca_file does not go with connect")
	default:
		t.Connect = d.Service(b.Connect)
		if t.Clients = d.Strings(b.Clients); len(t.Clients) == 0 && (b.Clients == nil || !d.Failed(b.Clients)) {
			d.Errorf(b.Range, `add clients = ["ops"]`, "the tls block does not say which Connect services may come in")
		}
	}
	return t
}

// TokenFile takes a file with a token on each line.
func (d *Decoder) TokenFile(a Attr) string {
	path := d.Readable(a)
	if path == "" {
		return ""
	}
	text, err := os.ReadFile(path)
	if err != nil {
		d.Errorf(Place(a), "", "%s cannot be read: %v", a.Name, unread(a, path, err))
		return ""
	}
	n, number := 0, 0
	for line := range strings.Lines(string(text)) {
		number++
		if line = strings.TrimSpace(line); line == "" {
			continue
		}
		n++
		switch {
		case strings.ContainsAny(line, " \t"):
			d.Errorf(Place(a), "a header cannot carry it", "line %d of %s has white space in it", number, a.Name)
		case len(line) < shortestToken:
			d.Errorf(Place(a), "openssl rand -hex 32 makes a good one", "line %d of %s is shorter than %d characters", number, a.Name, shortestToken)
		}
	}
	if n == 0 {
		d.Errorf(Place(a), "put a token into it: openssl rand -hex 32 makes a good one", "%s is empty", a.Name)
	}
	return path
}

// paths takes the open paths.
func (d *Decoder) paths(a Attr) []string {
	if a == nil {
		return DefaultOpen()
	}
	out := []string{}
	for _, t := range d.Texts(a) {
		switch {
		case !strings.HasPrefix(t.Value, "/") || strings.ContainsAny(t.Value, "?#%* "):
			d.Errorf(t.Range, `write a path such as "/metrics"`, "%q is no path", t.Value)
		case slices.Contains(out, t.Value):
			d.Errorf(t.Range, "", "%q is in %s twice", t.Value, a.Name)
		default:
			out = append(out, t.Value)
		}
	}
	return out
}

// hosts takes names of machines.
func (d *Decoder) hosts(a Attr) []string {
	var out []string
	for _, t := range d.Texts(a) {
		if problem, _ := addressProblem(t.Value + ":1"); problem != "" || t.Value == "" {
			d.Errorf(t.Range, `write a name such as "argosy.example", without a port`, "%q is no name of a host", t.Value)
			continue
		}
		out = append(out, t.Value)
	}
	return out
}
