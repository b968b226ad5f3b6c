package identity

import (
	"context"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/hashicorp/consul/api"

	"argosy/internal/backoff"
)

// source is where a Connect identity gets its certificate and the roots from.
type source interface {
	// follow hands every certificate and all roots to c, until ctx ends. Errors on the way are reported and retried; one that
	// it returns is for good.
	follow(ctx context.Context, c *Connect) error
}

// leaf is our own certificate, with all of the chain that Consul gives.
type leaf struct {
	cert   *tls.Certificate
	id     ID
	before *leaf // the one that can be used where this one cannot; nil: none
}

func (l *leaf) equal(o *leaf) bool {
	return l == o || l != nil && o != nil && slices.EqualFunc(l.cert.Certificate, o.cert.Certificate, slices.Equal)
}

// at is the moment when a share of the certificate's life is over.
func (l *leaf) at(share float64) time.Time {
	from, to := l.cert.Leaf.NotBefore, l.cert.Leaf.NotAfter
	return from.Add(time.Duration(share * float64(to.Sub(from))))
}

// Shares of a certificate's life after which it is to be renewed, and after which it is an alarm that it has not been.
const (
	renewAt = 2. / 3
	alarmAt = 9. / 10
)

func parseLeaf(certPEM, keyPEM []byte, service string) (*leaf, error) {
	cert, err := tls.X509KeyPair(certPEM, keyPEM)
	if err != nil {
		return nil, fmt.Errorf("certificate from Consul: %w", err)
	}
	id, err := certificateID(cert.Leaf)
	if err != nil {
		return nil, fmt.Errorf("certificate from Consul: %w", err)
	}
	if id.Service != service {
		return nil, fmt.Errorf("certificate from Consul: it is for %s, not for %s", id.Service, service)
	}
	return &leaf{cert: &cert, id: id}, nil
}

// trust is whose certificates count: those that any root signed, retired ones too until Consul drops them.
type trust struct {
	domain string
	active string    // the id of the root that signs now
	ends   time.Time // when that root's certificate does
	roots  []string  // PEM, sorted
	pool   *x509.CertPool
	sums   map[rootSum]bool // of the roots
	before []movedFrom      // the newest first
}

func (t *trust) equal(o *trust) bool {
	return t == o || t != nil && o != nil && t.domain == o.domain && t.active == o.active && slices.Equal(t.roots, o.roots)
}

func parseRoots(list *api.CARootList) (*trust, error) {
	t := &trust{domain: list.TrustDomain, active: list.ActiveRootID, pool: x509.NewCertPool(), sums: map[rootSum]bool{}}
	for _, r := range list.Roots {
		if r == nil {
			return nil, errors.New("a root from Consul is empty")
		}
		block, _ := pem.Decode([]byte(r.RootCertPEM))
		if block == nil || !t.pool.AppendCertsFromPEM([]byte(r.RootCertPEM)) {
			return nil, fmt.Errorf("root %s from Consul does not parse", r.ID)
		}
		if cert, err := x509.ParseCertificate(block.Bytes); err == nil && r.ID == t.active {
			t.ends = cert.NotAfter
		}
		t.sums[sha256.Sum256(block.Bytes)] = true
		t.roots = append(t.roots, r.RootCertPEM)
	}
	if t.domain == "" || len(t.roots) == 0 {
		return nil, errors.New("consul gave no roots: is Connect enabled?")
	}
	slices.Sort(t.roots)
	return t, nil
}

func (c *Connect) setLeaf(l *leaf) {
	first := c.leaf.Value() == nil
	if !c.leaf.Update(func(old *leaf) *leaf { return l.after(old, c.now()) }) {
		return
	}
	c.tell()
	if !first {
		c.metrics.rotations.WithLabelValues(c.service, "leaf").Inc()
	}
	c.logger.Info("new certificate", "serial", l.cert.Leaf.SerialNumber, "until", l.cert.Leaf.NotAfter)
	if err := l.valid(c.now()); err != nil {
		c.logger.Warn("the new certificate from Consul cannot be used now: are the clocks right?", "error", err)
	}
}

func (c *Connect) setTrust(t *trust) {
	var old *trust
	if !c.trust.Update(func(o *trust) *trust {
		old = o
		return t.after(o, c.now())
	}) {
		return
	}
	c.tell()
	if old != nil {
		c.metrics.rotations.WithLabelValues(c.service, "roots").Inc()
	}
	c.logger.Info("new roots", "trust_domain", t.domain, "roots", len(t.roots), "active", t.active)
	if old != nil && old.domain != t.domain {
		c.logger.Warn("consul is another cluster now: it has lost its data, or was replaced; the one before goes on to count for a while",
			"trust_domain", t.domain, "before", old.domain, "for", moveGrace)
	}
	c.touch()
}

// tellEvery is how often metrics are set anew: another identity of the same service may have ended, and taken them along.
const tellEvery = 5 * time.Second

// keepTelling keeps the metrics about certificate and roots.
func (c *Connect) keepTelling(ctx context.Context) {
	for backoff.Sleep(ctx, tellEvery) == nil {
		c.tell()
	}
}

func (c *Connect) tell() {
	if l := c.leaf.Value(); l != nil {
		c.metrics.expiry.WithLabelValues(c.service).Set(float64(l.cert.Leaf.NotAfter.Unix()))
	}
	t := c.trust.Value()
	if t == nil {
		return
	}
	c.metrics.roots.WithLabelValues(c.service).Set(float64(len(t.roots)))
	if !t.ends.IsZero() {
		c.metrics.rootExpiry.WithLabelValues(c.service).Set(float64(t.ends.Unix()))
	}
}

// clockEvery is how often the clock is looked at. A timer does not notice that it was set, or that the machine slept.
const clockEvery = time.Minute

// warnOfEnd raises the alarm when nine tenths of a certificate's life are over and there is still no new one, and again
// when it has ended.
func (c *Connect) warnOfEnd(ctx context.Context) {
	const again = 5 * time.Minute
	for ctx.Err() == nil {
		l, superseded := c.leaf.Load()
		if l == nil {
			waitFor(ctx, superseded, -1)
			continue
		}
		if wait := l.at(alarmAt).Sub(c.now()); wait > 0 {
			waitFor(ctx, superseded, min(wait, clockEvery))
			continue
		}
		end := l.cert.Leaf.NotAfter
		if wait := end.Sub(c.now()); wait > 0 {
			c.logger.Error("the certificate is about to end, and there is no new one", "until", end)
			waitFor(ctx, superseded, min(wait, again))
			continue
		}
		c.logger.Error("the certificate has ended: nothing is accepted or dialled with it", "until", end)
		waitFor(ctx, superseded, again)
	}
}

// waitFor waits for a channel, at most for limit unless that is negative. It reports whether ctx goes on.
func waitFor(ctx context.Context, c <-chan struct{}, limit time.Duration) bool {
	var timer <-chan time.Time
	if limit >= 0 {
		t := time.NewTimer(limit)
		defer t.Stop()
		timer = t.C
	}
	select {
	case <-c:
	case <-timer:
	case <-ctx.Done():
	}
	return ctx.Err() == nil
}

// busyPause is for how long a Consul that signs no more certificates for now is left alone, and up to twice that. It does not
// say itself; its limits (csr_max_per_second) are for each second.
const busyPause = 2 * time.Second

// busyError is a refusal for want of time.
type busyError struct {
	error
	after time.Duration
}

// RetryAfter is for how long Consul wants to be left alone.
func (e *busyError) RetryAfter() time.Duration { return e.after }

// Unwrap is that of errors.
func (e *busyError) Unwrap() error { return e.error }
