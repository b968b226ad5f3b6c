package identity

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"net/url"
	"time"

	"github.com/hashicorp/consul/api"

	"argosy/agent/identity/connectca"
	retry "argosy/internal/backoff"
)

// keepLeaf has a certificate signed, and another one when two thirds of its life are over or the root that signs is another.
// The one before stays in use until then.
func (s *fromServers) keepLeaf(ctx context.Context, c *Connect, ca connectca.ConnectCAServiceClient) {
	report := c.reporter("leaf", func() bool { return c.leaf.Value() != nil })
	pause := retry.New(200*time.Millisecond, time.Minute)
	var due time.Time // when to ask; zero: now
	var known *trust  // due takes account of it
	for ctx.Err() == nil {
		t, changed := c.trust.Load()
		switch {
		case t == nil: // it has the trust domain, which is a part of the id
			waitFor(ctx, changed, -1)
			continue
		case known == nil:
		case t.domain != known.domain: // another cluster: what we have is worth nothing
			due = time.Time{}
		case t.active != known.active:
			// Not all agents at once; nor in the same moment, in which the old root may still be the one that signs.
			if soon := c.now().Add(time.Duration((0.1 + 0.9*s.random()) * float64(spreadRoots))); soon.Before(due) {
				due = soon
			}
		}
		known = t
		if wait := due.Sub(c.now()); wait > 0 {
			waitFor(ctx, changed, min(wait, clockEvery))
			continue
		}
		l, err := s.sign(ctx, c, ca)
		if ctx.Err() != nil {
			return
		}
		report(err)
		if err != nil {
			due = c.now().Add(pause.Next())
			var busy *busyError
			if errors.As(err, &busy) {
				due = c.now().Add(busy.after)
			}
			continue
		}
		pause.Reset()
		c.setLeaf(l)
		due = l.at(renewAt * (1 - s.random()/10))
	}
}

// sign makes a key and has a certificate for it signed. One that peers would not accept is refused.
func (s *fromServers) sign(ctx context.Context, c *Connect, ca connectca.ConnectCAServiceClient) (*leaf, error) {
	ctx, cancel := context.WithTimeout(ctx, signTimeout)
	defer cancel()
	dc, err := s.datacenter(ctx)
	if err != nil {
		return nil, err
	}
	id := ID{TrustDomain: c.trust.Value().domain, Namespace: defaultNamespace, Datacenter: dc, Service: c.service}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("make a key: %w", err)
	}
	// Consul wants one URI and nothing else.
	csr, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{URIs: []*url.URL{id.url()}}, key)
	if err != nil {
		return nil, fmt.Errorf("make a signing request: %w", err)
	}
	answer, err := ca.Sign(s.authorized(ctx), &connectca.SignRequest{
		Csr: string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE REQUEST", Bytes: csr})),
	})
	if err != nil {
		s.found = ""
		return nil, s.explain(c.service, err)
	}
	return accept(answer.CertPem, key, id, c.trust.Value())
}

// accept makes a leaf of what a server has signed, if it is what was asked for and leads to a root.
func accept(certPEM string, key *ecdsa.PrivateKey, id ID, t *trust) (*leaf, error) {
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, fmt.Errorf("encode the key: %w", err)
	}
	l, err := parseLeaf([]byte(certPEM), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), id.Service)
	if err != nil {
		return nil, err
	}
	if l.id != id {
		return nil, fmt.Errorf("certificate from Consul: it is for %s, not for %s", l.id, id)
	}
	chain, err := certificates(l.cert)
	if err != nil {
		return nil, fmt.Errorf("certificate from Consul: %w", err)
	}
	for _, usage := range []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth} {
		if err := verifyChain(chain, t.pool, usage, ""); err != nil {
			return nil, fmt.Errorf("certificate from Consul: %w", err)
		}
	}
	return l, nil
}

func certificates(c *tls.Certificate) (all []*x509.Certificate, err error) {
	for _, der := range c.Certificate {
		cert, err := x509.ParseCertificate(der)
		if err != nil {
			return nil, err
		}
		all = append(all, cert)
	}
	return all, nil
}

// datacenter finds out which datacenter our servers are. It is asked by one goroutine.
func (s *fromServers) datacenter(ctx context.Context) (string, error) {
	if s.Datacenter != "" {
		return s.Datacenter, nil
	}
	if s.found == "" {
		var err error
		if s.found, err = s.askDatacenter(ctx); err != nil {
			return "", fmt.Errorf("find out our datacenter: %w; consul { datacenter = \"dc1\" } says it, too", err)
		}
	}
	return s.found, nil
}

// askDatacenter asks for the list of all datacenters, which needs no right. If there are several, the catalog tells which is
// ours: that needs the right to read the service consul and its nodes, as the tokens of services have.
func (s *fromServers) askDatacenter(ctx context.Context) (string, error) {
	q := (&api.QueryOptions{}).WithContext(ctx)
	var all []string
	if _, err := s.client.Raw().Query("/v1/catalog/datacenters", &all, q); err != nil {
		return "", err
	}
	if len(all) == 1 {
		return all[0], nil
	}
	servers, _, err := s.client.Catalog().Service("consul", "", q)
	if err != nil {
		return "", err
	}
	if len(servers) == 0 {
		return "", fmt.Errorf("there are %d, and the token may not read the service consul", len(all))
	}
	return servers[0].Datacenter, nil
}
