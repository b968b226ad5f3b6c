package identity

import (
	"context"
	"crypto/tls"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/prometheus/client_golang/prometheus"

	"argosy/namer"
)

// onceSource gives one certificate and the roots, and then nothing more: a Consul that is gone for good.
type onceSource struct {
	leaf  *leaf
	trust *trust
}

func (s onceSource) follow(ctx context.Context, c *Connect) error {
	c.setTrust(s.trust)
	c.setLeaf(s.leaf)
	<-ctx.Done()
	return nil
}

// A certificate that has ended is neither shown nor accepted, on either side, and the operator hears of it before.
func TestCertificateEnds(t *testing.T) {
	t.Parallel()
	consul, client := newFakeConsul(t)
	consul.byDef = "allow"
	f := newFakeServers(t, nil)
	lasting, short := signedBy(t, f, client, "lasting"), signedBy(t, f, client, "short")
	known, err := parseRoots(rootList(f.answer()))
	if err != nil {
		t.Fatal(err)
	}
	get := func(c *Connect, life time.Duration) *leaf {
		f.change(func() { f.life = life })
		c.trust.Set(known)
		l, err := c.source.(*fromServers).sign(t.Context(), c, dialFake(t, c))
		if err != nil {
			t.Fatal(err)
		}
		return l
	}
	start(t, lasting)
	ready(t, lasting)
	l := get(short, 6*time.Second)
	var log lines
	short = NewConnect(client, "short", hclog.New(&hclog.LoggerOptions{Output: &log}), prometheus.NewRegistry())
	short.source = onceSource{l, known}
	start(t, short)
	ready(t, short)
	server, dialled, called := short.Server(), to(t, short, "lasting"), to(t, lasting, "short")
	if _, serverErr, clientErr := shake(t, server, called); serverErr != nil || clientErr != nil {
		t.Fatalf("while it is valid: %v; %v", serverErr, clientErr)
	}
	if _, serverErr, clientErr := shake(t, lasting.Server(), dialled); serverErr != nil || clientErr != nil {
		t.Fatalf("while it is valid: %v; %v", serverErr, clientErr)
	}

	eventually(t, func() error {
		if short.Ready() == nil {
			return errors.New("still ready")
		}
		return nil
	})
	if now := time.Now(); now.Before(l.cert.Leaf.NotAfter) {
		t.Errorf("%v before the end", l.cert.Leaf.NotAfter.Sub(now))
	}
	if err := short.Ready(); !errors.Is(err, ErrNotReady) || !strings.Contains(err.Error(), "certificate ended") {
		t.Errorf("not ready because of: %v", err)
	}
	if _, serverErr, _ := shake(t, server, called); !errors.Is(serverErr, ErrNotReady) {
		t.Errorf("accepted: %v", serverErr)
	}
	if _, err := short.Client(namer.ConnectID{Datacenter: "dc1", Service: "lasting"}); !errors.Is(err, ErrNotReady) {
		t.Errorf("dials: %v", err)
	}
	if _, _, clientErr := shake(t, lasting.Server(), dialled); !errors.Is(clientErr, ErrNotReady) {
		t.Errorf("dialled with what was made before: %v", clientErr)
	}
	// Peers do not take it either, should we be wrong about the time.
	wrong := &tls.Config{Certificates: []tls.Certificate{*l.cert}, ClientAuth: tls.RequireAnyClientCert}
	if _, _, clientErr := shake(t, wrong, called); !errors.Is(clientErr, ErrPeer) {
		t.Errorf("a client takes it: %v", clientErr)
	}
	dialled.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return l.cert, nil }
	if _, serverErr, _ := shake(t, lasting.Server(), dialled); !errors.Is(serverErr, ErrPeer) {
		t.Errorf("a server takes it: %v", serverErr)
	}
	for _, want := range []string{"about to end", "has ended"} {
		eventually(t, func() error {
			if !strings.Contains(log.String(), want) {
				return errors.New(want + " was not logged: " + log.String())
			}
			return nil
		})
	}
}
