package identity

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"testing"
	"time"

	"argosy/internal/tlsfiles"
)

func TestClientExpectations(t *testing.T) {
	t.Parallel()
	const id = "spiffe://example.org/db"
	root := newAuthority(t, nil, isCA)
	middle := newAuthority(t, root, isCA)
	leaf := newAuthority(t, middle, forNames("db.test"), forURIs(id))
	alone := newAuthority(t, nil, forNames("alone.test"))
	ended := func(c *x509.Certificate) { c.NotAfter = time.Now().Add(-time.Minute) }
	serve := func(certs ...*authority) *tls.Config {
		c := tls.Certificate{PrivateKey: certs[0].key}
		for _, a := range certs {
			c.Certificate = append(c.Certificate, a.cert.Raw)
		}
		return &tls.Config{Certificates: []tls.Certificate{c}, NextProtos: []string{"db"}}
	}
	normal := serve(leaf, middle)
	caFile := root.trustFile(t)
	old := normal.Clone()
	old.MaxVersion = tls.VersionTLS12
	pins := func(all ...*authority) (sums []string) {
		for _, a := range all {
			sums = append(sums, a.pin())
		}
		return sums
	}
	for _, test := range []struct {
		name   string
		server *tls.Config
		ca     string
		o      ClientOptions
		ok     bool
	}{
		{"name", normal, caFile, ClientOptions{ServerName: "db.test"}, true},
		{"another name", normal, caFile, ClientOptions{ServerName: "x.test"}, false},
		{"name, no CA", normal, "", ClientOptions{ServerName: "db.test"}, false},
		{"SPIFFE id", normal, caFile, ClientOptions{SPIFFEID: id}, true},
		{"SPIFFE id, and another SNI", normal, caFile, ClientOptions{SPIFFEID: id, ServerName: "x.test"}, true},
		{"another SPIFFE id", normal, caFile, ClientOptions{SPIFFEID: id + "2"}, false},
		{"SPIFFE id among others", serve(newAuthority(t, middle, forURIs(id, id+"2")), middle), caFile, ClientOptions{SPIFFEID: id}, false},
		{"SPIFFE id, another CA", normal, alone.trustFile(t), ClientOptions{SPIFFEID: id}, false},
		{"no SPIFFE id", serve(newAuthority(t, root, forNames("db.test"))), caFile, ClientOptions{SPIFFEID: id}, false},
		{"pinned root", normal, caFile, ClientOptions{ServerName: "db.test", Pins: pins(root)}, true},
		{"pinned leaf among others", normal, caFile, ClientOptions{ServerName: "db.test", Pins: pins(alone, leaf)}, true},
		{"pinned with CA only", normal, caFile, ClientOptions{Pins: pins(middle)}, true},
		{"another pin", normal, caFile, ClientOptions{ServerName: "db.test", Pins: pins(alone)}, false},
		{"pinned, and another name", normal, caFile, ClientOptions{ServerName: "x.test", Pins: pins(leaf)}, false},
		{"pinned, and another SPIFFE id", normal, caFile, ClientOptions{SPIFFEID: "spiffe://x/y", Pins: pins(leaf)}, false},
		{"pinned, and another CA", normal, alone.trustFile(t), ClientOptions{Pins: pins(leaf)}, false},
		{"pin alone: the leaf", serve(alone), "", ClientOptions{Pins: pins(alone)}, true},
		{"pin alone: what signed it", normal, "", ClientOptions{Pins: pins(middle)}, true},
		{"pin alone: what signed that", serve(leaf, middle, root), "", ClientOptions{Pins: pins(root)}, true},
		{"pin alone: not sent along", normal, "", ClientOptions{Pins: pins(root)}, false},
		{"pin alone: sent along by somebody", serve(alone, middle), "", ClientOptions{Pins: pins(middle)}, false},
		{"pin alone: in another order", serve(leaf, root, middle), "", ClientOptions{Pins: pins(middle)}, false},
		{"pin alone: ended", serve(newAuthority(t, middle, ended), middle), "", ClientOptions{Pins: pins(middle)}, false},
		{"ALPN", normal, caFile, ClientOptions{ServerName: "db.test", ALPN: []string{"x", "db"}}, true},
		{"another ALPN", normal, caFile, ClientOptions{ServerName: "db.test", ALPN: []string{"x"}}, false},
		{"1.2", old, caFile, ClientOptions{ServerName: "db.test"}, true},
		{"1.2 is too old", old, caFile, ClientOptions{ServerName: "db.test", MinVersion: tls.VersionTLS13}, false},
	} {
		f, err := NewFiles("", "", test.ca)
		if err != nil {
			t.Fatal(err)
		}
		c, err := f.ClientWith(test.o)
		if err != nil {
			t.Errorf("%s: %v", test.name, err)
			continue
		}
		state, serverErr, clientErr := shake(t, test.server, c)
		if (serverErr == nil && clientErr == nil) != test.ok {
			t.Errorf("%s: %v; %v", test.name, serverErr, clientErr)
		}
		if len(test.o.ALPN) > 0 && test.ok && state.NegotiatedProtocol != "db" {
			t.Errorf("%s: protocol %q", test.name, state.NegotiatedProtocol)
		}
	}
	f, err := NewFiles("", "", caFile)
	if err != nil {
		t.Fatal(err)
	}
	for _, o := range []ClientOptions{{}, {Pins: []string{"x"}}, {Pins: []string{"AAAA"}}} {
		if _, err := f.ClientWith(o); err == nil {
			t.Errorf("%+v is taken", o)
		}
	}
}

// A session is resumed while all is as it was when the server was verified, and never with another endpoint.
func TestSessions(t *testing.T) {
	t.Parallel()
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		ca, next := newAuthority(t, nil, isCA), newAuthority(t, nil, isCA)
		server := func(a *authority) *tls.Config {
			f, err := NewFilePairs([]tlsfiles.Pair{a.write(t, t.TempDir())}, "")
			if err != nil {
				t.Fatal(err)
			}
			c := f.Server()
			c.MaxVersion = version
			return c
		}
		roots := ca.trustFile(t)
		f, err := NewFiles("", "", roots)
		if err != nil {
			t.Fatal(err)
		}
		config, err := f.ClientWith(ClientOptions{ServerName: "db.test"})
		if err != nil {
			t.Fatal(err)
		}
		sessions := f.Sessions(config)
		normal := server(newAuthority(t, ca, forNames("db.test")))
		resumed := func(what string, to *tls.Config, addr string, want bool) {
			t.Helper()
			state, serverErr, clientErr := shake(t, to, sessions.Config(addr))
			if serverErr != nil || clientErr != nil || state.DidResume != want {
				t.Errorf("%s: resumed %v; %v; %v", what, state.DidResume, serverErr, clientErr)
			}
		}
		resumed("the first time", normal, "a", false)
		resumed("the second time", normal, "a", true)
		resumed("the third time", normal, "a", true)
		resumed("another endpoint", normal, "b", false)
		resumed("another server at the address", server(newAuthority(t, ca, forNames("db.test"))), "b", false)

		put(t, roots, (&authority{cert: next.cert}).chain())
		if _, err := f.files.Reload(); err != nil {
			t.Fatal(err)
		}
		if _, _, err := shake(t, normal, sessions.Config("a")); !errors.Is(err, ErrPeer) {
			t.Errorf("a server whose CA is gone: %v", err)
		}
		resumed("a server of the new CA", server(newAuthority(t, next, forNames("db.test"))), "a", false)

		// The server's certificate ends, and it has another one: it is not resumed with the one that has ended.
		short := newAuthority(t, next, forNames("db.test"), func(c *x509.Certificate) { c.NotAfter = time.Now().Add(30 * time.Minute) })
		brief := server(short)
		resumed("before the end", brief, "c", false)
		resumed("before the end, again", brief, "c", true)
		cache := sessions.Config("c").ClientSessionCache.(*sessionCache)
		if !cache.until.Equal(short.cert.NotAfter) {
			t.Errorf("sessions are good until %v, not %v", cache.until, short.cert.NotAfter)
		}
		cache.until = time.Now()
		resumed("after the end", brief, "c", false)
	}
	s := (&Files{}).Sessions(&tls.Config{})
	for i := range 2 * sessionEndpoints {
		s.Config(string(rune(i)))
	}
	if n := len(s.byAddr); n != sessionEndpoints {
		t.Errorf("%d endpoints are kept", n)
	}
}
