package listen

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"syscall"
	"time"

	"argosy/agent/identity"
	"argosy/agent/outcome"
	"argosy/agent/relay"
	"argosy/dtab"
)

// Router finds the name that a connection wants to go to. It is not changed after its first use.
type Router struct {
	// Destination is the name of all connections, unless SNI is set.
	Destination dtab.Path
	// SNI makes the name from the TLS server name.
	SNI *SNI
	// TLS, where not nil, terminates TLS.
	TLS *tls.Config
}

// SNI makes names from TLS server names.
type SNI struct {
	Prefix  dtab.Path
	Default dtab.Path     // where there is no server name; nil: refused
	Timeout time.Duration // for the ClientHello of a connection that passes through; 0: only what ctx allows
}

// Inbound is a connection whose destination is known.
type Inbound struct {
	Conn       net.Conn // *net.TCPConn, or *tls.Conn after its handshake
	Early      []byte   // read from Conn already
	Name       dtab.Path
	ServerName string // what the client asked for, in lower case, where it did
	FromWire   bool   // Name was made from ServerName: do not use it as a label, and do not keep it for long
}

// Accept makes the TLS handshake or the peek and returns the connection with its name. It ends with ctx. An error
// carries its outcome; the connection is then left open for the caller to close.
func (r *Router) Accept(ctx context.Context, c net.Conn) (*Inbound, error) {
	switch {
	case r.TLS != nil:
		return r.terminate(ctx, c)
	case r.SNI != nil:
		return r.passThrough(ctx, c)
	}
	return &Inbound{Conn: c, Name: r.Destination}, nil
}

func (r *Router) terminate(ctx context.Context, c net.Conn) (*Inbound, error) {
	t := tls.Server(relay.Carry(c), r.TLS)
	if err := t.HandshakeContext(ctx); err != nil {
		return nil, handshakeError(ctx, err)
	}
	in := &Inbound{Conn: t, Name: r.Destination}
	if r.SNI == nil {
		return in, nil
	}
	return in, r.name(in, t.ConnectionState().ServerName)
}

// handshakeError gives a failed handshake of a client its outcome.
func handshakeError(ctx context.Context, err error) error {
	switch {
	case errors.Is(err, identity.ErrDenied):
		return outcome.Errorf(outcome.Denied, "client refused: %w", err)
	case errors.Is(err, io.EOF) || errors.Is(err, syscall.ECONNRESET):
		// Also what a port scan or a TCP health check looks like.
		return outcome.Errorf(outcome.Reset, "client left during the TLS handshake: %w", err)
	case ctx.Err() != nil || errors.Is(err, os.ErrDeadlineExceeded):
		return outcome.Errorf(outcome.TLS, "TLS handshake of the client: not done in time")
	}
	return outcome.Errorf(outcome.TLS, "TLS handshake of the client: %w", err)
}

func (r *Router) passThrough(ctx context.Context, c net.Conn) (*Inbound, error) {
	deadline, _ := ctx.Deadline()
	if r.SNI.Timeout > 0 {
		if d := time.Now().Add(r.SNI.Timeout); deadline.IsZero() || d.Before(deadline) {
			deadline = d
		}
	}
	c.SetReadDeadline(deadline)
	stop := context.AfterFunc(ctx, func() { c.SetReadDeadline(time.Unix(1, 0)) })
	name, early, err := peek(c)
	stop()
	if ctx.Err() != nil {
		return nil, outcome.Errorf(outcome.TLS, "waiting for the ClientHello: %w", context.Cause(ctx))
	}
	c.SetReadDeadline(time.Time{})
	in := &Inbound{Conn: c, Early: early}
	if err == nil {
		return in, r.name(in, name)
	}
	switch {
	case len(early) == 0 && !errors.Is(err, os.ErrDeadlineExceeded):
		return nil, outcome.Errorf(outcome.Reset, "client left before its ClientHello: %w", err)
	case r.SNI.Default != nil:
		// Not TLS, or a protocol in which the server speaks first.
		in.Name = r.SNI.Default
		return in, nil
	case errors.Is(err, os.ErrDeadlineExceeded):
		return nil, outcome.Errorf(outcome.TLS, "no ClientHello within %v", r.SNI.Timeout)
	}
	return nil, outcome.Errorf(outcome.TLS, "reading the ClientHello: %w", err)
}

// name fills in the destination for a server name.
func (r *Router) name(in *Inbound, server string) error {
	server = strings.ToLower(strings.TrimSuffix(server, "."))
	switch {
	case server != "" && !validServerName(server):
		return outcome.Errorf(outcome.NoRoute, "server name %q: not a host name", clip(server))
	case server != "":
		in.ServerName, in.FromWire = server, true
		in.Name = r.SNI.Prefix.Concat(dtab.Path{server})
	case r.SNI.Default != nil:
		in.Name = r.SNI.Default
	default:
		return outcome.Wrap(outcome.NoRoute, errors.New("the client sent no server name"))
	}
	return nil
}

// validServerName keeps what is not a host name (RFC 1123, and the underscore of service names) out of paths and logs.
func validServerName(s string) bool {
	if len(s) > 253 || s[0] == '.' || strings.Contains(s, "..") {
		return false
	}
	for _, c := range []byte(s) {
		switch {
		case 'a' <= c && c <= 'z', '0' <= c && c <= '9', c == '-', c == '_', c == '.':
		default:
			return false
		}
	}
	return true
}

func clip(s string) string {
	if len(s) > 64 {
		return fmt.Sprintf("%s... (%d bytes)", s[:64], len(s))
	}
	return s
}
