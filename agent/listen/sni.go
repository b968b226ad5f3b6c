package listen

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"argosy/agent/outcome"
	"argosy/dtab"
)

// SNI makes names from TLS server names.
type SNI struct {
	Prefix  dtab.Path
	Default dtab.Path     // where there is no server name; nil: refused
	Timeout time.Duration // for the ClientHello of a connection that passes through; 0: only what ctx allows
	ALPN    []ALPNRoute   // looked at first, in this order
}

// ALPNRoute gives a name to clients that offer a protocol, whatever their server name. Where TLS is terminated they must also
// have agreed on it.
type ALPNRoute struct {
	Protocol string
	Name     dtab.Path
}

// passThrough reads as much of a client's first bytes as it takes to know where it wants to go.
func (s *SNI) passThrough(ctx context.Context, in *Inbound) error {
	var deadline time.Time
	if s.Timeout > 0 {
		deadline = time.Now().Add(s.Timeout)
	}
	var (
		c      = &prefixed{in.Conn, in.Early}
		asked  speech
		server string
	)
	err := within(ctx, in.Conn, deadline, func() (err error) {
		if asked, in.Early, err = greet(c); err == nil && asked != plaintextPG {
			c.early = append(in.Early, c.early...)
			server, in.ALPN, in.Early, err = peek(c)
		}
		in.Early = append(in.Early, c.early...)
		return err
	})
	late := errors.Is(err, os.ErrDeadlineExceeded)
	switch {
	case ctx.Err() != nil:
		return outcome.Errorf(outcome.TLS, "waiting for the ClientHello: %w", context.Cause(ctx))
	case asked == wantsTLS && err != nil: // it has been promised TLS, so it cannot go anywhere else
		return handshakeError(ctx, err)
	case asked == wantsTLS:
		in.StartTLS = Postgres
		return s.name(in, server)
	case asked == plaintextPG && s.Default == nil:
		return refusePlain(&prefixed{in.Conn, in.Early})
	case err == nil && asked == other:
		return s.name(in, server)
	case err != nil && len(in.Early) == 0 && !late:
		return outcome.Errorf(outcome.Reset, "client left before its ClientHello: %w", err)
	case s.Default != nil:
		// Not TLS, or a protocol in which the server speaks first.
		in.Name = s.Default
		return nil
	case late:
		return outcome.Errorf(outcome.TLS, "no ClientHello within %v", s.Timeout)
	}
	return outcome.Errorf(outcome.TLS, "reading the ClientHello: %w", err)
}

// name fills in the destination for a server name and the client's protocols.
func (s *SNI) name(in *Inbound, server string) error {
	server = strings.ToLower(strings.TrimSuffix(server, "."))
	valid := server != "" && validServerName(server)
	if valid {
		in.ServerName = server
	}
	for _, route := range s.ALPN {
		if slices.Contains(in.ALPN, route.Protocol) {
			in.Name = route.Name
			return nil
		}
	}
	switch {
	case valid:
		in.FromWire = true
		in.Name = s.Prefix.Concat(dtab.Path{server})
	case server != "":
		return outcome.Errorf(outcome.NoRoute, "server name %q: not a host name", clip(server))
	case s.Default != nil:
		in.Name = s.Default
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
