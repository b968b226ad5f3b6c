//go:build servers

package e2e

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"math/big"
	"net"
	"testing"
	"time"

	"argosy/e2e/stack"
)

// fleetConnectHCL is an agent of a fleet whose clients come through Connect.
func fleetConnectHCL(s *stack.Stack, listen string) string {
	return fmt.Sprintf(`
name = "proxy"
consul {
  address = %q
}
dtab {
  static = "/svc => /#/io.l5d.consul/.local"
}
namer "io.l5d.consul" {}
listener "in" {
  address     = %q
  destination = "/svc/web"
  tls {
    connect = "proxy"
  }
  register {}
}
`, s.Consul.Addr, listen)
}

// entryHCL is an agent that accepts plain TCP and dials the fleet through Connect.
func entryHCL(s *stack.Stack, listen string) string {
	return fmt.Sprintf(`
name = "entry"
consul {
  address = %q
}
dtab {
  static = "/svc => /#/io.l5d.consul/.local"
}
namer "io.l5d.consul" {
  connect = true
}
listener "entry" {
  address     = %q
  destination = "/svc/proxy"
}
client "/svc/proxy" {
  tls {
    connect = "entry"
  }
}
`, s.Consul.Addr, listen)
}

// intention allows or denies connections.
func intention(t *testing.T, s *stack.Stack, source, destination, action string) {
	t.Helper()
	err := s.Consul.Put(t.Context(), "/v1/config", map[string]any{
		"Kind": "service-intentions", "Name": destination,
		"Sources": []map[string]any{{"Name": source, "Action": action}},
	})
	if err != nil {
		t.Fatal(err)
	}
}

func TestConnect(t *testing.T) {
	t.Parallel()
	for _, source := range []string{"agent", "servers"} {
		t.Run("certificates from "+source, func(t *testing.T) {
			t.Parallel()
			s := stack.New(t, stack.Options{Consul: true})
			block := ""
			if source == "servers" {
				block = fmt.Sprintf("connect {\n  source  = %q\n  address = %q\n}\n", source, s.Consul.GRPCAddr)
			}
			testConnect(t, s, block)
		})
	}
}

func testConnect(t *testing.T, s *stack.Stack, connectHCL string) {
	server := startNamed(t, "web1")
	register(t, s, "web1", "web", server.Addr, nil)
	fleet, entry := s.Addr(), s.Addr()
	startAgent(t, s, "fleet", connectHCL+fleetConnectHCL(s, fleet))
	within(t, "the fleet is registered", func(ctx context.Context) error { return passing(ctx, s, "proxy", 1) })
	startAgent(t, s, "entry", connectHCL+entryHCL(s, entry))

	within(t, "mTLS end to end", func(ctx context.Context) error { return reaches(ctx, entry, "web1") })
	c, err := dialNamed(t.Context(), entry)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	for i := range 10 {
		if err := c.echo(fmt.Sprintf("line %d", i)); err != nil {
			t.Fatal(err)
		}
	}

	accepted := server.Accepted.Load()
	t.Run("clients without a Connect certificate are refused", func(t *testing.T) {
		if err := reachesPlain(t.Context(), fleet); err == nil {
			t.Error("plain TCP got through")
		}
		if err := reachesTLS(t.Context(), fleet, nil); err == nil {
			t.Error("TLS without a certificate got through")
		}
		if err := reachesTLS(t.Context(), fleet, []tls.Certificate{selfSigned(t)}); err == nil {
			t.Error("a certificate of somebody else got through")
		}
		if n := server.Accepted.Load(); n != accepted {
			t.Errorf("the server behind saw %d connections", n-accepted)
		}
	})
	t.Run("intentions decide", func(t *testing.T) {
		intention(t, s, "entry", "proxy", "deny")
		within(t, "denied", func(ctx context.Context) error {
			if err := reaches(ctx, entry, "web1"); err == nil {
				return errors.New("it got through")
			}
			return nil
		})
		accepted := server.Accepted.Load()
		for range 10 {
			if err := reaches(t.Context(), entry, "web1"); err == nil {
				t.Fatal("it got through")
			}
		}
		if n := server.Accepted.Load(); n != accepted {
			t.Errorf("the server behind saw %d connections", n-accepted)
		}
		intention(t, s, "entry", "proxy", "allow")
		within(t, "allowed again", func(ctx context.Context) error { return reaches(ctx, entry, "web1") })
		// A rule about somebody else, with everybody else denied.
		intention(t, s, "*", "proxy", "deny")
		within(t, "denied to all", func(ctx context.Context) error {
			if err := reaches(ctx, entry, "web1"); err == nil {
				return errors.New("it got through")
			}
			return nil
		})
	})
}

// reachesPlain speaks first, since a server that wants TLS would wait for that.
func reachesPlain(ctx context.Context, addr string) error {
	var d net.Dialer
	c, err := d.DialContext(ctx, "tcp", addr)
	if err != nil {
		return err
	}
	defer c.Close()
	if _, err := fmt.Fprintln(c, "hello"); err != nil {
		return err
	}
	_, err = greet(c)
	return err
}

// reachesTLS is reaches with TLS and whatever certificates. Under TLS 1.3 the refusal comes after the client's side of
// the handshake, so that only an answer tells.
func reachesTLS(ctx context.Context, addr string, certs []tls.Certificate) error {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	d := tls.Dialer{Config: &tls.Config{InsecureSkipVerify: true, Certificates: certs}}
	c, err := d.DialContext(ctx, "tcp", addr)
	if err != nil {
		return err
	}
	defer c.Close()
	_, err = greet(c)
	return err
}

func selfSigned(t *testing.T) tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}
