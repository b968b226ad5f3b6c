package identity

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"strings"
	"time"
)

// A Consul that has lost its data comes back as another cluster: with another trust domain, another authority, and no
// intentions. Agents hear of it one after the other. Until all have, each goes on as a member of both.

// moveGrace is for how long what the cluster before said goes on to count. Everybody asks again within a minute, and
// Consul signs 50 certificates a second unless told otherwise.
const moveGrace = 5 * time.Minute

// movedMost is how many clusters before are remembered for those who are connected still.
const movedMost = 4

// movedFrom is a trust domain that was ours until another one took its place.
type movedFrom struct {
	domain string
	pool   *x509.CertPool
	sums   map[rootSum]bool
	until  time.Time // new connections are accepted until then
}

// after returns t as the successor of old, which may be nil.
func (t *trust) after(old *trust, now time.Time) *trust {
	if old == nil {
		return t
	}
	t.before = old.before
	if old.domain != t.domain {
		t.before = append([]movedFrom{{old.domain, old.pool, old.sums, now.Add(moveGrace)}}, t.before...)
		t.before = t.before[:min(len(t.before), movedMost)]
	}
	return t
}

// accepts returns the roots for a peer of a trust domain, or nil when that is not ours now. Those who are connected
// already stay members of the domains before: what they have proved does not become wrong by a loss of data.
func (t *trust) accepts(domain string, connected bool, now time.Time) *x509.CertPool {
	if domain == t.domain {
		return t.pool
	}
	for _, b := range t.before {
		if domain == b.domain && (connected || now.Before(b.until)) {
			return b.pool
		}
	}
	return nil
}

// sumsOf are the sums of roots that accepts has returned.
func (t *trust) sumsOf(roots *x509.CertPool) map[rootSum]bool {
	for _, b := range t.before {
		if b.pool == roots {
			return b.sums
		}
	}
	return t.sums
}

// member reads for whom a certificate is, and returns the roots that are to vouch for it.
func (t *trust) member(cert *x509.Certificate, connected bool, now time.Time) (ID, *x509.CertPool, error) {
	id, err := certificateID(cert)
	roots := t.accepts(id.TrustDomain, connected, now)
	if roots != nil {
		return id, roots, err
	}
	if err == nil {
		err = fmt.Errorf("%w: %s is not of our trust domain %s: it is of another Consul cluster", ErrPeer, id, t.domain)
	}
	return id, t.pool, err
}

// after returns l as the successor of old, which may be nil. Of those before, one that can be used is remembered.
func (l *leaf) after(old *leaf, now time.Time) *leaf {
	if old == nil {
		return l
	}
	if l.before = old.before; l.before == nil || old.valid(now) == nil {
		l.before = &leaf{cert: old.cert, id: old.id}
	}
	return l
}

func (l *leaf) valid(now time.Time) error { return validAt(l.cert.Leaf, now) }

// choose returns the certificate to show to those who know a trust domain. It is the newest one that is valid, and there
// may be an older one that suits better.
func (l *leaf) choose(domain string, now time.Time) (*tls.Certificate, error) {
	var best *leaf
	for _, x := range []*leaf{l, l.before} {
		if x == nil || x.valid(now) != nil {
			continue
		}
		if x.id.TrustDomain == domain {
			return x.cert, nil
		}
		if best == nil {
			best = x
		}
	}
	if best == nil {
		return nil, l.valid(now)
	}
	return best.cert, nil
}

// certificateFor returns our certificate for a peer that knows a trust domain. A domain that is not ours, or of which
// we cannot verify the peers yet, counts as the one of our roots.
func (c *Connect) certificateFor(domain string) (*tls.Certificate, error) {
	l := c.leaf.Value()
	if l == nil {
		return nil, c.noCertificate()
	}
	now := c.now()
	if t := c.trust.Value(); t != nil && t.accepts(domain, false, now) == nil {
		domain = t.domain
	}
	cert, err := l.choose(domain, now)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", c.service, err)
	}
	return cert, nil
}

// domainOf is the trust domain in the server name that clients of Connect send.
func domainOf(serverName string) string {
	_, domain, _ := strings.Cut(serverName, ".internal.")
	return domain
}

// keptRules keeps intentions from being forgotten by mistake. It is used by one goroutine.
type keptRules struct {
	index  uint64    // of the newest answer that counted
	domain string    // the trust domain at that time; empty: not known
	since  time.Time // since when answers do not count, because Consul has lost its data; zero: they do
}

// count reports whether an answer to a match request counts. The one that does not is empty where there were intentions,
// and its index went back or its trust domain is another one: that Consul has lost them, and they stay in force for a
// while. Whoever deletes the last intention is obeyed at once.
func (k *keptRules) count(empty bool, index uint64, domain string, now time.Time) bool {
	switch {
	case !empty:
	case k.since.IsZero() && (index < k.index || domain != k.domain && k.domain != ""):
		k.since = now
		return false
	case !k.since.IsZero() && now.Before(k.since.Add(moveGrace)):
		return false
	}
	k.index, k.domain, k.since = index, domain, time.Time{}
	return true
}
