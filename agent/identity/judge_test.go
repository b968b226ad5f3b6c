package identity

import (
	"context"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net/url"
	"path/filepath"
	"testing"
	"time"

	"github.com/hashicorp/consul/api"
	"github.com/hashicorp/go-hclog"
)

// root makes a CA of a trust domain as Consul's are.
func root(t testing.TB, parent *authority) *authority {
	t.Helper()
	return newAuthority(t, parent, func(c *x509.Certificate) {
		c.IsCA, c.URIs = true, []*url.URL{{Scheme: "spiffe", Host: "domain.consul"}}
	})
}

// crossSigned is ca, signed by another.
func crossSigned(t *testing.T, ca, by *authority) *authority {
	t.Helper()
	return signed(t, by, ca.key, func(c *x509.Certificate) { c.IsCA = true })
}

// service makes the certificate of a service.
func service(t testing.TB, ca *authority, domain, name string, change ...func(*x509.Certificate)) *authority {
	t.Helper()
	id := ID{TrustDomain: domain, Namespace: defaultNamespace, Datacenter: "dc1", Service: name}
	return newAuthority(t, ca, append([]func(*x509.Certificate){func(c *x509.Certificate) {
		c.URIs, c.ExtKeyUsage = []*url.URL{id.url()}, []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}
	}}, change...)...)
}

// shows is the state of a connection whose client has shown certificates.
func shows(all ...*authority) (s tls.ConnectionState) {
	for _, a := range all {
		s.PeerCertificates = append(s.PeerCertificates, a.cert)
	}
	return s
}

// trusting is the identity "db" that trusts some roots, and allows web.
func trusting(roots ...*authority) *Connect {
	c := NewConnect(nil, "db", hclog.NewNullLogger(), nil)
	c.trustOnly(roots...)
	c.rules.Set(rules{known: true, list: compile([]*api.Intention{intention("web", "allow", 9)}), defaultKnown: true})
	return c
}

func (c *Connect) trustOnly(roots ...*authority) {
	t := &trust{domain: "domain.consul", pool: x509.NewCertPool(), sums: map[rootSum]bool{}}
	for _, r := range roots {
		t.pool.AddCert(r.cert)
		t.roots, t.sums[sha256.Sum256(r.cert.Raw)] = append(t.roots, string(r.cert.Raw)), true
	}
	c.trust.Set(t)
	c.touch()
}

func expectJudged(t *testing.T, what string, got, want error) {
	t.Helper()
	if want == nil && got != nil || want != nil && !errors.Is(got, want) {
		t.Errorf("%s: %v, want %v", what, got, want)
	}
}

func TestJudgeByIntentions(t *testing.T) {
	t.Parallel()
	ca := root(t, nil)
	c := trusting(ca)
	web := NewPeer(shows(service(t, ca, "domain.consul", "web")), time.Now())
	other := NewPeer(shows(service(t, ca, "domain.consul", "other")), time.Now())
	expectJudged(t, "allowed", c.Judge(web), nil)
	expectJudged(t, "denied by default", c.Judge(other), ErrDenied)
	c.rules.Set(rules{known: true, defaultKnown: true, defaultAllow: true})
	expectJudged(t, "allowed by default", c.Judge(other), nil)
	c.rules.Set(rules{known: true, list: compile([]*api.Intention{intention("*", "deny", 8), intention("other", "allow", 9)})})
	expectJudged(t, "denied with all others", c.Judge(web), ErrDenied)
	expectJudged(t, "allowed, with the default unknown", c.Judge(other), nil)
	c.rules.Set(rules{known: true})
	expectJudged(t, "no intention, and the default unknown", c.Judge(web), ErrNotReady)
	c.rules.Set(rules{})
	expectJudged(t, "no intentions yet", c.Judge(web), ErrNotReady)
	expectJudged(t, "no roots yet", NewConnect(nil, "db", hclog.NewNullLogger(), nil).Judge(web), ErrNotReady)
	if web.Name() != "web" {
		t.Error(web.Name())
	}
}

func TestJudgeByRoots(t *testing.T) {
	t.Parallel()
	before, now := root(t, nil), root(t, nil)
	bridge := crossSigned(t, now, before)
	old, fresh := service(t, before, "domain.consul", "web"), service(t, now, "domain.consul", "web")
	c := trusting(before)
	was := NewPeer(shows(old), time.Now())
	is := NewPeer(shows(fresh, bridge), time.Now())
	alone := NewPeer(shows(fresh), time.Now())
	// While a rotation goes on, nobody is denied whoever knows of it first: a new leaf comes with the bridge.
	expectJudged(t, "an old leaf", c.Judge(was), nil)
	expectJudged(t, "a new leaf before its root is known", c.Judge(is), nil)
	expectJudged(t, "the same in a handshake", c.Authorize(shows(fresh, bridge)), nil)
	expectJudged(t, "the same without the bridge", c.Judge(alone), ErrPeer)
	version := c.changed.Value()
	c.trustOnly(before, now)
	if c.changed.Value() == version {
		t.Error("a new root is no change")
	}
	for _, p := range []*Peer{was, is, alone} {
		expectJudged(t, "with both roots", c.Judge(p), nil)
	}
	c.trustOnly(now)
	expectJudged(t, "an old leaf when its root is dropped", c.Judge(was), ErrPeer)
	expectJudged(t, "a new leaf", c.Judge(is), nil)
	expectJudged(t, "a new leaf without the bridge", c.Judge(alone), nil)
	c.trust.Set(&trust{domain: "another.consul", pool: c.trust.Value().pool.Clone()})
	expectJudged(t, "another trust domain", c.Judge(is), ErrPeer)
}

// A certificate that has ended since is no reason; what was wrong from the beginning is one.
func TestJudgeAfterTheEnd(t *testing.T) {
	t.Parallel()
	ca := root(t, nil)
	c := trusting(ca)
	ended := shows(service(t, ca, "domain.consul", "web", func(c *x509.Certificate) { c.NotAfter = time.Now().Add(-time.Minute) }))
	expectJudged(t, "in a handshake", c.Authorize(ended), ErrPeer)
	expectJudged(t, "let in before", c.Judge(NewPeer(ended, time.Now().Add(-2*time.Minute))), nil)
	c.trustOnly(ca)
	expectJudged(t, "with other roots", c.Judge(NewPeer(ended, time.Now().Add(-2*time.Minute))), nil)
	c.trustOnly(root(t, nil))
	expectJudged(t, "without its root", c.Judge(NewPeer(ended, time.Now().Add(-2*time.Minute))), ErrPeer)
	server := shows(service(t, ca, "domain.consul", "web", func(c *x509.Certificate) { c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth} }))
	c.trustOnly(ca)
	expectJudged(t, "a server's certificate", c.Judge(NewPeer(server, time.Now())), ErrPeer)
}

func TestPeerKey(t *testing.T) {
	t.Parallel()
	ca := root(t, nil)
	a, b := service(t, ca, "domain.consul", "web"), service(t, ca, "domain.consul", "web")
	again := PeerKey(shows(a))
	if PeerKey(shows(a)) != again || PeerKey(shows(a)) == PeerKey(shows(b)) || PeerKey(shows(a)) == PeerKey(shows(a, ca)) {
		t.Error("keys are not those of the certificates")
	}
}

func TestJudgeByFiles(t *testing.T) {
	t.Parallel()
	mine, theirs := root(t, nil), root(t, nil)
	file := put(t, filepath.Join(t.TempDir(), "ca.pem"), append(mine.chain(), theirs.chain()...))
	f, err := NewFiles("", "", file)
	if err != nil {
		t.Fatal(err)
	}
	f.every = time.Millisecond
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() { done <- f.Run(ctx) }()
	defer func() {
		cancel()
		<-done
	}()
	web := NewPeer(shows(service(t, mine, "domain.consul", "web")), time.Now())
	expectJudged(t, "signed by it", f.Judge(web), nil)
	version, superseded := f.Changed().Load()
	put(t, file, theirs.chain())
	<-superseded
	if now, _ := f.Changed().Load(); now != version+1 {
		t.Errorf("version %d after %d", now, version)
	}
	expectJudged(t, "its CA is not in the file any more", f.Judge(web), ErrPeer)
	none, err := NewFiles("", "", "")
	if err != nil {
		t.Fatal(err)
	}
	expectJudged(t, "clients are not asked", none.Judge(web), nil)
}

// BenchmarkJudge is the price of one client when intentions, or the roots, have changed.
func BenchmarkJudge(b *testing.B) {
	before, now := root(b, nil), root(b, nil)
	state := shows(service(b, before, "domain.consul", "web"))
	c := trusting(before)
	for _, change := range []struct {
		name string
		do   func(i int)
	}{
		{"intentions", func(int) {}},
		{"root added", func(i int) { c.trustOnly([]*authority{before, now}[:1+i%2]...) }},
		{"root dropped", func(i int) { c.trustOnly([]*authority{before, now}[i%2]) }},
	} {
		b.Run(change.name, func(b *testing.B) {
			c.trustOnly(before)
			p := NewPeer(state, time.Now())
			if err := c.Judge(p); err != nil {
				b.Fatal(err)
			}
			for i := 0; b.Loop(); i++ {
				b.StopTimer()
				change.do(i + 1)
				b.StartTimer()
				c.Judge(p)
			}
		})
	}
}
