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
	"strings"
	"time"

	"github.com/hashicorp/consul/api"

	"argosy/internal/backoff"
	"argosy/internal/blockq"
)

// leaf is our own certificate, with all of the chain that Consul gives.
type leaf struct {
	cert *tls.Certificate
	id   ID
}

func (l *leaf) equal(o *leaf) bool {
	return l == o || l != nil && o != nil && slices.EqualFunc(l.cert.Certificate, o.cert.Certificate, slices.Equal)
}

func parseLeaf(l *api.LeafCert, service string) (*leaf, error) {
	cert, err := tls.X509KeyPair([]byte(l.CertPEM), []byte(l.PrivateKeyPEM))
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
	return &leaf{&cert, id}, nil
}

// trust is whose certificates count: those that any root signed, retired ones too until Consul drops them.
type trust struct {
	domain string
	roots  []string // PEM, sorted
	pool   *x509.CertPool
	sums   map[rootSum]bool // of the roots
}

func (t *trust) equal(o *trust) bool {
	return t == o || t != nil && o != nil && t.domain == o.domain && slices.Equal(t.roots, o.roots)
}

func parseRoots(list *api.CARootList) (*trust, error) {
	t := &trust{domain: list.TrustDomain, pool: x509.NewCertPool(), sums: map[rootSum]bool{}}
	for _, r := range list.Roots {
		block, _ := pem.Decode([]byte(r.RootCertPEM))
		if block == nil || !t.pool.AppendCertsFromPEM([]byte(r.RootCertPEM)) {
			return nil, fmt.Errorf("root %s from Consul does not parse", r.ID)
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

// watchLeaf holds one blocking query open: Consul's agent renews a certificate only while somebody waits for it.
func (c *Connect) watchLeaf(ctx context.Context) {
	report := c.reporter("leaf")
	blockq.Run(ctx, blockq.Options{}, func(q *api.QueryOptions) (*leaf, *api.QueryMeta, error) {
		return c.askLeaf(q)
	}, func(l *leaf, _ *api.QueryMeta, err error) {
		report(err)
		if err == nil {
			c.setLeaf(l)
		}
	})
}

func (c *Connect) askLeaf(q *api.QueryOptions) (*leaf, *api.QueryMeta, error) {
	got, meta, err := c.client.Agent().ConnectCALeaf(c.service, q)
	if err != nil {
		return nil, nil, err
	}
	l, err := parseLeaf(got, c.service)
	return l, meta, err
}

func (c *Connect) setLeaf(l *leaf) {
	if c.leaf.Set(l) {
		c.metrics.expiry.WithLabelValues(c.service).Set(float64(l.cert.Leaf.NotAfter.Unix()))
		c.logger.Debug("new certificate", "serial", l.cert.Leaf.SerialNumber, "until", l.cert.Leaf.NotAfter)
	}
}

// renewLeaf asks plainly when two thirds of the certificate's life are over, in case the blocking query sleeps, and
// raises the alarm when nine tenths are.
func (c *Connect) renewLeaf(ctx context.Context) {
	pause := backoff.New(5*time.Second, 5*time.Minute)
	for {
		l, superseded := c.leaf.Load()
		if l == nil {
			if !waitFor(ctx, superseded, -1) {
				return
			}
			continue
		}
		from, to := l.cert.Leaf.NotBefore, l.cert.Leaf.NotAfter
		life := to.Sub(from)
		if wait := time.Until(from.Add(life / 3 * 2)); wait > 0 {
			pause.Reset()
			if !waitFor(ctx, superseded, wait) {
				return
			}
			continue
		}
		renewed := func() (*leaf, error) {
			ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
			defer cancel()
			l, _, err := c.askLeaf((&api.QueryOptions{}).WithContext(ctx))
			return l, err
		}
		next, err := renewed()
		if err == nil && !next.equal(l) {
			c.setLeaf(next)
			continue
		}
		if time.Since(from) > life/10*9 {
			c.logger.Error("the certificate is about to end and Consul gives no new one", "until", to, "error", err)
		}
		if !waitFor(ctx, superseded, pause.Next()) {
			return
		}
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

func (c *Connect) watchRoots(ctx context.Context) {
	report := c.reporter("roots")
	blockq.Run(ctx, blockq.Options{}, func(q *api.QueryOptions) (*trust, *api.QueryMeta, error) {
		list, meta, err := c.client.Agent().ConnectCARoots(q)
		if err != nil {
			return nil, nil, err
		}
		t, err := parseRoots(list)
		return t, meta, err
	}, func(t *trust, _ *api.QueryMeta, err error) {
		report(err)
		if err == nil && c.trust.Set(t) {
			c.logger.Debug("new roots", "trust_domain", t.domain, "roots", len(t.roots))
			c.touch()
		}
	})
}

func (c *Connect) touch() { c.changed.Update(func(n uint64) uint64 { return n + 1 }) }

// watchIntentions follows the intentions that have us as their destination, wildcards included.
func (c *Connect) watchIntentions(ctx context.Context) {
	report := c.reporter("intentions")
	failing := true
	// A denial is not to wait because somebody is writing intentions one after the other.
	blockq.Run(ctx, blockq.Options{Burst: 20}, func(q *api.QueryOptions) ([]*api.Intention, *api.QueryMeta, error) {
		m := &api.IntentionMatch{By: api.IntentionMatchDestination, Names: []string{c.service}}
		found, meta, err := c.client.Connect().IntentionMatch(m, q)
		return found[c.service], meta, err
	}, func(found []*api.Intention, _ *api.QueryMeta, err error) {
		report(err)
		if err != nil {
			failing = true
			return
		}
		list := compile(found)
		changed := c.rules.Update(func(r rules) rules {
			r.known, r.list = true, list
			return r
		})
		if changed {
			c.logger.Debug("new intentions", "rules", len(list))
			for _, r := range list {
				if r.http {
					c.logger.Warn("an intention is taken as deny", "source", r.source, "why", "it has L7 permissions, which cannot be enforced on TCP")
				}
			}
			c.touch()
		}
		if changed || failing { // Consul may have come back with another configuration
			c.askDefault()
		}
		failing = false
	})
}

func (c *Connect) askDefault() {
	select {
	case c.ask <- struct{}{}:
	default:
	}
}

// probe is a source that no service has, to find out what holds where no intention applies.
const probe = "argosy-default-intention-probe"

// defaultEvery is how often the default action is asked for when nothing suggests that it has changed.
const defaultEvery = 3 * time.Minute

// learnDefault finds out the default action. Consul tells it in no other way: the match answer leaves it out, and
// neither its header nor /v1/connect/intentions/check knows of default_intention_policy.
func (c *Connect) learnDefault(ctx context.Context) {
	report := c.reporter("authorize")
	pause := backoff.New(50*time.Millisecond, 5*time.Second)
	for {
		l, superseded := c.leaf.Load()
		if l == nil { // which has the datacenter and the trust domain
			if !waitFor(ctx, superseded, -1) {
				return
			}
			continue
		}
		settled, err := c.askAuthorize(l)
		if ctx.Err() != nil {
			return
		}
		report(err)
		wait := time.Duration(defaultEvery)
		if err != nil || !settled {
			wait = pause.Next()
		} else {
			pause.Reset()
		}
		if !waitFor(ctx, c.ask, wait) {
			return
		}
	}
}

// askAuthorize asks whether the probe may connect. It is not settled when Consul's cached answer and the intentions
// that we know disagree, which they do for some milliseconds after a change. The request has the client's own time
// limit: the library lets no context through.
func (c *Connect) askAuthorize(l *leaf) (settled bool, err error) {
	source := l.id
	source.Service = probe
	answer, err := c.client.Agent().ConnectAuthorize(&api.AgentAuthorizeParams{Target: c.service, ClientCertURI: source.String()})
	if err != nil {
		return false, err
	}
	if strings.HasPrefix(answer.Reason, "Matched") {
		r := c.rules.Value()
		_, everybody := r.first(probe)
		return everybody || !r.known, nil
	}
	changed := c.rules.Update(func(r rules) rules {
		r.defaultKnown, r.defaultAllow = true, answer.Authorized
		return r
	})
	if changed {
		c.logger.Debug("default intention", "allow", answer.Authorized, "why", answer.Reason)
		c.touch()
	}
	return true, nil
}

// reporter logs the first error of a kind of request, and its end, and counts them all. It is for one goroutine.
func (c *Connect) reporter(request string) func(error) {
	failing := false
	return func(err error) {
		if err == nil {
			c.metrics.answered.WithLabelValues(c.service, request).SetToCurrentTime()
			if failing {
				c.logger.Info("consul answers again", "request", request)
			}
			failing = false
			return
		}
		c.metrics.errors.WithLabelValues(c.service, request).Inc()
		if failing {
			c.logger.Debug("consul still cannot be asked", "request", request, "error", err)
		} else {
			c.logger.Warn("consul cannot be asked: what is known stays in force", "request", request, "error", err)
		}
		failing = true
	}
}
