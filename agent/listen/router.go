package listen

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/netip"
	"os"
	"strings"
	"syscall"
	"time"

	"argosy/agent/identity"
	"argosy/agent/outcome"
	"argosy/agent/proxyproto"
	"argosy/agent/relay"
	"argosy/dtab"
)

// Router finds out who a connection is from, and the name that it wants to go to. It is not changed after its first use.
type Router struct {
	// Destination is the name of all connections, unless SNI is set.
	Destination dtab.Path
	// Proxy takes the client's address from a PROXY header; nil: there is none.
	Proxy *Proxy
	// SNI makes the name from the TLS server name.
	SNI *SNI
	// TLS, where not nil, terminates TLS.
	TLS *tls.Config
	// Handshake is for PROXY header and TLS handshake together; 0: only what ctx allows.
	Handshake time.Duration
}

// Inbound is a connection whose destination is known.
type Inbound struct {
	Conn   net.Conn           // *net.TCPConn, *net.UnixConn, or *tls.Conn after its handshake
	Early  []byte             // read from Conn already
	Client netip.AddrPort     // who has connected, or for whom a trusted proxy has; zero for Unix sockets
	Proxy  *proxyproto.Header // of a trusted proxy; nil if there was none

	Name       dtab.Path
	ServerName string // what the client asked for, in lower case, where it did
	FromWire   bool   // Name was made from ServerName: do not use it as a label, and do not keep it for long
	// ALPN has the protocols that the client offers, where TLS passes through, and otherwise the one that was agreed on.
	ALPN []string
	// Hello, where not nil, is called when the whole of a client's ClientHello has come, before any work is done for its TLS.
	// It may wait. Its error, which carries an outcome, ends the connection. Router.TLS must have been through AwaitHello.
	Hello func(context.Context) error
	// StartTLS is how the client has asked for TLS that passes through: "", or Postgres. The endpoint has to be asked
	// in the same way before it gets Early.
	StartTLS string
}

// Accept reads the PROXY header, makes the TLS handshake or the peek, and returns the connection with its name. Between
// them, when the client's address is known, it calls known, if not nil, whose error ends it. It ends with ctx. An error
// carries its outcome; the connection is then left open for the caller to close.
func (r *Router) Accept(ctx context.Context, c net.Conn, known func(*Inbound) error) (*Inbound, error) {
	handshake := ctx
	if r.Handshake > 0 && (r.Proxy != nil || r.TLS != nil) {
		var cancel context.CancelFunc
		handshake, cancel = context.WithTimeout(ctx, r.Handshake)
		defer cancel()
	}
	in := &Inbound{Conn: c}
	if a, ok := c.RemoteAddr().(*net.TCPAddr); ok {
		in.Client = a.AddrPort()
		in.Client = netip.AddrPortFrom(in.Client.Addr().Unmap(), in.Client.Port())
	}
	if r.Proxy.Trusts(in.Client.Addr()) {
		if err := r.Proxy.read(handshake, in); err != nil {
			return nil, err
		}
	}
	if known != nil {
		if err := known(in); err != nil {
			return nil, err
		}
	}
	var err error
	switch {
	case r.TLS != nil:
		err = r.terminate(handshake, in)
	case r.SNI != nil:
		err = r.SNI.passThrough(ctx, in)
	default:
		in.Name = r.Destination
	}
	if err != nil {
		return nil, err
	}
	return in, nil
}

// greeted is a connection in its TLS handshake.
type greeted struct {
	prefixed
	hello func() error // nil: nothing is to be done
}

// AwaitHello makes a server's configuration, which must not be in use yet, one that calls Inbound.Hello. Until then a client
// costs its socket, a goroutine and what it has sent.
func AwaitHello(t *tls.Config) *tls.Config {
	next := t.GetConfigForClient
	t.GetConfigForClient = func(h *tls.ClientHelloInfo) (*tls.Config, error) {
		if carrier, ok := h.Conn.(*relay.Carrier); ok {
			if c, ok := carrier.Conn.(*greeted); ok && c.hello != nil {
				if err := c.hello(); err != nil {
					return nil, err
				}
			}
		}
		if next == nil {
			return nil, nil // go on with this configuration
		}
		return next(h)
	}
	return t
}

func (r *Router) terminate(ctx context.Context, in *Inbound) error {
	c := &greeted{prefixed: prefixed{in.Conn, in.Early}}
	if in.Hello != nil {
		c.hello = func() error { return in.Hello(ctx) }
	}
	var asked speech
	err := within(ctx, in.Conn, time.Time{}, func() (err error) {
		var early []byte
		asked, early, err = greet(c)
		c.early = append(early, c.early...)
		return err
	})
	switch {
	case err != nil:
		return handshakeError(ctx, err)
	case asked == plaintextPG:
		return refusePlain(&c.prefixed)
	}
	carrier := relay.Carry(c)
	t := tls.Server(carrier, r.TLS)
	if err := within(ctx, in.Conn, time.Time{}, t.Handshake); err != nil { // HandshakeContext would start a goroutine
		return handshakeError(ctx, err)
	}
	if len(c.early) == 0 {
		carrier.Conn = in.Conn // what the relay can take over
	}
	in.Conn, in.Early = t, nil
	state := t.ConnectionState()
	if state.NegotiatedProtocol != "" {
		in.ALPN = []string{state.NegotiatedProtocol}
	}
	if r.SNI == nil {
		in.Name = r.Destination
		return nil
	}
	return r.SNI.name(in, state.ServerName)
}

// handshakeError gives a failed handshake of a client its outcome.
func handshakeError(ctx context.Context, err error) error {
	var known *outcome.Error
	switch {
	case errors.As(err, &known):
		return err
	case errors.Is(err, identity.ErrDenied):
		return outcome.Errorf(outcome.Denied, "client refused: %w", err)
	case errors.Is(err, io.EOF) || errors.Is(err, syscall.ECONNRESET):
		// Also what a port scan or a TCP health check looks like.
		return outcome.Errorf(outcome.Reset, "client left during the TLS handshake: %w", err)
	case ctx.Err() != nil || errors.Is(err, os.ErrDeadlineExceeded):
		return outcome.Errorf(outcome.TLS, "TLS handshake of the client: not done within handshake_timeout")
	}
	return outcome.Errorf(outcome.TLS, "TLS handshake of the client: %w%s", err, hint(err))
}

// hint says what can be done about a client's failed handshake, where that can be guessed. crypto/tls has no types for most
// of its errors.
func hint(err error) string {
	var header tls.RecordHeaderError
	if errors.As(err, &header) {
		return ": the client does not speak TLS"
	}
	if alert, ok := outcome.Alert(err); ok {
		if _, refused := outcome.Refusal(err); refused {
			return ": the client does not accept our certificate; its log says why"
		}
		if alert == "protocol version not supported" {
			return ": the client wants other versions of TLS"
		}
		return ""
	}
	for _, known := range []struct{ text, hint string }{
		{"client didn't provide a certificate", "clients need a certificate of their own here; under Connect, one of a service in the mesh"},
		{"unsupported versions", "look at min_version, and at the mesh config entry under Connect"},
		{"no cipher suite supported", "look at the mesh config entry under Connect"},
	} {
		if strings.Contains(err.Error(), known.text) {
			return ": " + known.hint
		}
	}
	return ""
}

// within calls read while reading from c, and writing to it, ends at the deadline, and with ctx. Afterwards c has no
// deadline, unless ctx has ended.
func within(ctx context.Context, c net.Conn, deadline time.Time, read func() error) error {
	if d, ok := ctx.Deadline(); ok && (deadline.IsZero() || d.Before(deadline)) {
		deadline = d
	}
	c.SetDeadline(deadline)
	stop := context.AfterFunc(ctx, func() { c.SetDeadline(time.Unix(1, 0)) })
	err := read()
	if stop() {
		c.SetDeadline(time.Time{})
	} else if err == nil {
		err = context.Cause(ctx)
	}
	return err
}
