package identity

import (
	"bytes"
	"crypto/tls"
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/crypto/ocsp"

	"argosy/internal/tlsfiles"
)

func TestCertificatesByName(t *testing.T) {
	t.Parallel()
	ca := newAuthority(t, nil, isCA)
	var pairs []tlsfiles.Pair
	for _, a := range []*authority{
		newAuthority(t, ca, forNames("first.test")), newAuthority(t, ca, forNames("*.wild.test", "Also.test")),
		newAuthority(t, ca, forNames("a.wild.test")), newRSA(t, ca, forNames("b.wild.test", "only.test")),
		newAuthority(t, ca, forNames("b.wild.test")), newRSA(t, ca, forNames("first.test")),
	} {
		pairs = append(pairs, a.write(t, t.TempDir()))
	}
	f, err := NewFilePairs(pairs, "")
	if err != nil {
		t.Fatal(err)
	}
	server := f.Server()
	for _, test := range []struct {
		asks string
		rsa  bool   // the client knows no other keys
		want int    // index
		name string // that it finds
	}{
		{"first.test", false, 0, "first.test"},
		{"FIRST.test", false, 0, "first.test"},
		{"first.test", true, 5, "first.test"},
		{"also.test", false, 1, "*.wild.test"},
		{"x.wild.test", false, 1, "*.wild.test"},
		{"a.wild.test", false, 1, "*.wild.test"}, // the first in the file goes
		{"b.wild.test", true, 3, "b.wild.test"},
		{"only.test", false, 3, "b.wild.test"},
		{"x.y.wild.test", false, 0, "first.test"}, // a wildcard is one label
		{"wild.test", false, 0, "first.test"},
		{"unknown.test", false, 0, "first.test"},
		{"unknown.test", true, 3, "b.wild.test"},
		{"", false, 0, "first.test"},
	} {
		client := &tls.Config{InsecureSkipVerify: true, ServerName: test.asks}
		if test.rsa {
			client.MaxVersion = tls.VersionTLS12
			client.CipherSuites = []uint16{tls.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256}
		}
		state, serverErr, clientErr := shake(t, server, client)
		if serverErr != nil || clientErr != nil {
			t.Errorf("%q, RSA %v: %v; %v", test.asks, test.rsa, serverErr, clientErr)
			continue
		}
		want, err := os.ReadFile(pairs[test.want].Cert)
		if err != nil {
			t.Fatal(err)
		}
		got := (&authority{cert: state.PeerCertificates[0]}).chain()
		if !bytes.HasPrefix(want, got) || state.PeerCertificates[0].Subject.CommonName != test.name {
			t.Errorf("%q, RSA %v: got %s, not number %d", test.asks, test.rsa, state.PeerCertificates[0].Subject.CommonName, test.want)
		}
	}
}

// One certificate that is broken does not keep the others from being renewed.
func TestCertificatesAreRenewedAlone(t *testing.T) {
	t.Parallel()
	ca := newAuthority(t, nil, isCA)
	dirs := []string{t.TempDir(), t.TempDir()}
	f, err := NewFilePairs([]tlsfiles.Pair{
		newAuthority(t, ca, forNames("one.test")).write(t, dirs[0]), newAuthority(t, ca, forNames("two.test")).write(t, dirs[1]),
	}, "")
	if err != nil {
		t.Fatal(err)
	}
	put(t, filepath.Join(dirs[0], "cert.pem"), []byte("half a file"))
	newAuthority(t, ca, forNames("three.test")).write(t, dirs[1])
	if changed, err := f.files.Reload(); !changed || err == nil {
		t.Errorf("changed %v, %v", changed, err)
	}
	for _, name := range []string{"one.test", "three.test"} {
		if _, serverErr, clientErr := shake(t, f.Server(), ca.trust(name)); serverErr != nil || clientErr != nil {
			t.Errorf("%s: %v; %v", name, serverErr, clientErr)
		}
	}
}

func TestStaple(t *testing.T) {
	t.Parallel()
	ca := newAuthority(t, nil, isCA)
	leaf := newAuthority(t, ca, forNames("x.test"))
	dir := t.TempDir()
	pair := leaf.write(t, dir)
	pair.OCSP = filepath.Join(dir, "ocsp.der")
	good := ca.respond(t, leaf, ocsp.Good, time.Now().Add(time.Hour))
	put(t, pair.OCSP, good)
	f, err := NewFilePairs([]tlsfiles.Pair{pair}, "")
	if err != nil {
		t.Fatal(err)
	}
	server := f.Server()
	stapled := func(want []byte) {
		t.Helper()
		state, serverErr, clientErr := shake(t, server, ca.trust("x.test"))
		if serverErr != nil || clientErr != nil || !bytes.Equal(state.OCSPResponse, want) {
			t.Errorf("%d bytes stapled, want %d; %v; %v", len(state.OCSPResponse), len(want), serverErr, clientErr)
		}
	}
	reload := func(ok bool) {
		t.Helper()
		if _, err := f.files.Reload(); (err == nil) != ok {
			t.Errorf("reading again: %v", err)
		}
	}
	stapled(good)
	another := newAuthority(t, ca, forNames("x.test"))
	for what, bad := range map[string][]byte{
		"garbage": []byte("nonsense"), "about another": ca.respond(t, another, ocsp.Good, time.Now().Add(time.Hour)),
		"revoked":       ca.respond(t, leaf, ocsp.Revoked, time.Now().Add(time.Hour)),
		"of another CA": newAuthority(t, nil, isCA).respond(t, leaf, ocsp.Good, time.Now().Add(time.Hour)),
	} {
		put(t, pair.OCSP, bad)
		t.Log(what)
		reload(false)
		stapled(good)
		if _, err := NewFilePairs([]tlsfiles.Pair{pair}, ""); err == nil {
			t.Errorf("%s: taken at the start", what)
		}
	}
	put(t, pair.OCSP, ca.respond(t, leaf, ocsp.Good, time.Now().Add(-time.Hour)))
	reload(true)
	stapled(nil) // it has ended
	next := ca.respond(t, leaf, ocsp.Good, time.Now().Add(2*time.Hour))
	put(t, pair.OCSP, next)
	reload(true)
	stapled(next)
	another.write(t, dir) // a new certificate, and the old response
	reload(false)
	stapled(nil)
	newest := ca.respond(t, another, ocsp.Good, time.Now().Add(time.Hour))
	put(t, pair.OCSP, newest)
	reload(true)
	stapled(newest)
}

func TestServerOptions(t *testing.T) {
	t.Parallel()
	ca := newAuthority(t, nil, isCA)
	pair := newAuthority(t, ca, forNames("x.test")).write(t, t.TempDir())
	f, err := NewFilePairs([]tlsfiles.Pair{pair}, ca.trustFile(t))
	if err != nil {
		t.Fatal(err)
	}
	open, err := NewFilePairs([]tlsfiles.Pair{pair}, "")
	if err != nil {
		t.Fatal(err)
	}
	client := func(change func(*tls.Config)) *tls.Config {
		c := ca.trust("x.test")
		change(c)
		return c
	}
	offer := func(protocols ...string) *tls.Config {
		return client(func(c *tls.Config) { c.NextProtos = protocols })
	}
	show := func(a *authority) *tls.Config {
		return client(func(c *tls.Config) {
			c.Certificates = []tls.Certificate{{Certificate: [][]byte{a.cert.Raw}, PrivateKey: a.key}}
		})
	}
	known, stranger := newAuthority(t, ca), newAuthority(t, newAuthority(t, nil, isCA))
	for _, test := range []struct {
		name   string
		files  *Files
		o      ServerOptions
		client *tls.Config
		ok     bool
		proto  string
	}{
		{"1.2", open, ServerOptions{}, client(func(c *tls.Config) { c.MaxVersion = tls.VersionTLS12 }), true, ""},
		{"1.2 is too old", open, ServerOptions{MinVersion: tls.VersionTLS13}, client(func(c *tls.Config) { c.MaxVersion = tls.VersionTLS12 }), false, ""},
		{"the server's best", open, ServerOptions{ALPN: []string{"h2", "http/1.1"}}, offer("http/1.1", "h2"), true, "h2"},
		{"no ALPN", open, ServerOptions{ALPN: []string{"h2"}}, offer(), true, ""},
		{"another protocol", open, ServerOptions{ALPN: []string{"postgresql"}}, offer("h2"), false, ""},
		{"http/1.1 is not h2", open, ServerOptions{ALPN: []string{"h2"}}, offer("http/1.1"), false, ""},
		{"a server without ALPN", open, ServerOptions{}, offer("h2"), true, ""},
		{"required and shown", f, ServerOptions{}, show(known), true, ""},
		{"required and not shown", f, ServerOptions{}, client(func(*tls.Config) {}), false, ""},
		{"optional and not shown", f, ServerOptions{OptionalClients: true}, client(func(*tls.Config) {}), true, ""},
		{"optional and shown", f, ServerOptions{OptionalClients: true}, show(known), true, ""},
		{"optional and bad", f, ServerOptions{OptionalClients: true}, show(stranger), false, ""},
	} {
		state, serverErr, clientErr := shake(t, test.files.ServerWith(test.o), test.client)
		if (serverErr == nil && clientErr == nil) != test.ok || state.NegotiatedProtocol != test.proto && test.ok {
			t.Errorf("%s: protocol %q; %v; %v", test.name, state.NegotiatedProtocol, serverErr, clientErr)
		}
	}
}

// A ticket lets nobody in whose CA has been taken away, with either version of TLS, and costs nobody the connection who has
// a certificate of the new one.
func TestTickets(t *testing.T) {
	t.Parallel()
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		ca, next := newAuthority(t, nil, isCA), newAuthority(t, nil, isCA)
		roots := ca.trustFile(t)
		f, err := NewFilePairs([]tlsfiles.Pair{newAuthority(t, ca, forNames("x.test")).write(t, t.TempDir())}, roots)
		if err != nil {
			t.Fatal(err)
		}
		server := f.Server()
		known := newAuthority(t, ca)
		client := ca.trust("x.test")
		client.MaxVersion = version
		client.ClientSessionCache = tls.NewLRUClientSessionCache(4)
		client.Certificates = []tls.Certificate{{Certificate: [][]byte{known.cert.Raw}, PrivateKey: known.key}}
		resumed := func(what string, want bool) {
			t.Helper()
			state, serverErr, clientErr := shake(t, server, client)
			if serverErr != nil || clientErr != nil || state.DidResume != want {
				t.Errorf("%s: resumed %v; %v; %v", what, state.DidResume, serverErr, clientErr)
			}
		}
		resumed("the first time", false)
		resumed("the second time", true)
		resumed("the third time", true)
		put(t, roots, (&authority{cert: next.cert}).chain())
		if _, err := f.files.Reload(); err != nil {
			t.Fatal(err)
		}
		unbound := server.Clone() // takes tickets of any time
		unbound.WrapSession, unbound.UnwrapSession = nil, nil
		for _, s := range []*tls.Config{unbound, server} {
			if _, serverErr, _ := shake(t, s, client); !errors.Is(serverErr, ErrPeer) {
				t.Errorf("a client whose CA is gone: %v", serverErr)
			}
		}
		put(t, roots, ca.chain())
		if _, err := f.files.Reload(); err != nil {
			t.Fatal(err)
		}
		if _, serverErr, clientErr := shake(t, server, client); serverErr != nil || clientErr != nil {
			t.Errorf("with the CA back: %v; %v", serverErr, clientErr)
		}
		newer := newAuthority(t, next)
		client.Certificates = []tls.Certificate{{Certificate: [][]byte{newer.cert.Raw}, PrivateKey: newer.key}}
		put(t, roots, (&authority{cert: next.cert}).chain())
		if _, err := f.files.Reload(); err != nil {
			t.Fatal(err)
		}
		resumed("with a certificate of the new CA, and a ticket of the old", false)
	}
}
