package identity

import (
	"crypto/tls"
	"errors"
	"net/url"
	"strings"
	"testing"
)

// Which clients come in is asked at full and at resumed handshakes alike, of the configuration of now.
func TestClientIDs(t *testing.T) {
	t.Parallel()
	ca := newAuthority(t, nil, isCA)
	pair := newAuthority(t, ca, forNames("edge.test")).write(t, t.TempDir())
	f, err := NewFiles(pair.Cert, pair.Key, ca.trustFile(t))
	if err != nil {
		t.Fatal(err)
	}
	server := f.ServerWith(ServerOptions{ClientIDs: []string{"spiffe://example.org/web", "spiffe://example.org/ns/prod/*"}})
	certificate := func(a *authority) []tls.Certificate {
		c := tls.Certificate{PrivateKey: a.key}
		for ; a != nil; a = a.parent {
			c.Certificate = append(c.Certificate, a.cert.Raw)
		}
		return []tls.Certificate{c}
	}
	for _, c := range []struct {
		uris []string
		want error
	}{
		{[]string{"spiffe://example.org/web"}, nil},
		{[]string{"spiffe://example.org/ns/prod/a"}, nil},
		{[]string{"spiffe://example.org/ns/prod/a/b"}, nil},
		{[]string{"spiffe://example.org/web/x"}, ErrDenied},
		{[]string{"spiffe://example.org/we"}, ErrDenied},
		{[]string{"spiffe://example.com/web"}, ErrDenied},
		{[]string{"spiffe://example.org/ns/prod"}, ErrDenied},
		{[]string{"spiffe://example.org/ns/prod2/a"}, ErrDenied},
		{[]string{"spiffe://example.org/web", "spiffe://example.org/other"}, ErrDenied},
		{nil, ErrDenied},
	} {
		for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
			client := ca.trust("edge.test")
			client.Certificates = certificate(newAuthority(t, ca, forNames("client.test"), forURIs(c.uris...)))
			client.MaxVersion = version
			client.ClientSessionCache = tls.NewLRUClientSessionCache(1)
			for round := range 2 {
				state, serverErr, clientErr := shake(t, server, client)
				if c.want == nil && (serverErr != nil || clientErr != nil || state.DidResume != (round == 1)) {
					t.Errorf("%s: %v; %v; resumed %v", c.uris, serverErr, clientErr, state.DidResume)
				}
				if c.want != nil && (!errors.Is(serverErr, c.want) || !strings.Contains(serverErr.Error(), strings.Join(c.uris[:min(len(c.uris), 1)%2], ""))) {
					t.Errorf("%s: %v", c.uris, serverErr)
				}
			}
		}
	}

	// A ticket from before does not help a client that is left out now. Both configurations know its ticket.
	client := ca.trust("edge.test")
	client.Certificates = certificate(newAuthority(t, ca, forURIs("spiffe://example.org/web")))
	client.ClientSessionCache = tls.NewLRUClientSessionCache(1)
	narrow := f.ServerWith(ServerOptions{ClientIDs: []string{"spiffe://example.org/other"}})
	for _, s := range []*tls.Config{server, narrow} {
		s.SetSessionTicketKeys([][32]byte{{1}})
	}
	if _, serverErr, clientErr := shake(t, server, client); serverErr != nil || clientErr != nil {
		t.Fatalf("%v; %v", serverErr, clientErr)
	}
	if _, serverErr, _ := shake(t, narrow, client); !errors.Is(serverErr, ErrDenied) || !strings.Contains(serverErr.Error(), "spiffe://example.org/web") {
		t.Errorf("with a ticket from before: %v", serverErr)
	}

	// Who may come without a certificate has none that could be wrong.
	optional := f.ServerWith(ServerOptions{OptionalClients: true, ClientIDs: []string{"spiffe://example.org/other"}})
	if _, serverErr, clientErr := shake(t, optional, ca.trust("edge.test")); serverErr != nil || clientErr != nil {
		t.Errorf("without a certificate: %v; %v", serverErr, clientErr)
	}
	client.ClientSessionCache = nil
	if _, serverErr, _ := shake(t, optional, client); !errors.Is(serverErr, ErrDenied) {
		t.Errorf("with a wrong one: %v", serverErr)
	}
}

func TestCovers(t *testing.T) {
	for got, want := range map[string]bool{
		"spiffe://td/a/b":      true,
		"spiffe://td/a/b/c":    true,
		"spiffe://td/a":        false,
		"spiffe://td/a/":       false,
		"spiffe://td/a/../b":   false,
		"spiffe://td/a//b":     false,
		"spiffe://td/a/./b":    false,
		"spiffe://td/a/b/":     false,
		"spiffe://td/a/b%2Fc":  false,
		"spiffe://td/a/b?x":    false,
		"spiffe://td/a/b?":     false,
		"spiffe://td/a/b#x":    false,
		"spiffe://td:80/a/b":   false,
		"spiffe://u@td/a/b":    false,
		"spiffe://TD/a/b":      false,
		"https://td/a/b":       false,
		"spiffe://td.x/a/b":    false,
		"spiffe://td/aa/b":     false,
		"spiffe://td/a/b*":     false,
		"spiffe://td/b/a/b":    false,
		"spiffe://td/a/%2e./b": false,
	} {
		u, err := url.Parse(got)
		if err != nil {
			t.Fatal(err)
		}
		if covers("spiffe://td/a/*", u) != want {
			t.Errorf("%s: %v", got, !want)
		}
	}
}
