package suite

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"time"
)

// Services that the proxy dials. Each case of a server that is not who it should be has one of its own.
const (
	goodServer = "remote"
	halfDead   = "half-dead" // one of its two instances is not there
	weighted   = "weighted"  // its two instances have the weights 9 and 1
)

// impostor is a server that stands in the catalog for a service that it cannot prove to be.
type impostor struct {
	name, title string
	make        func(w *World, service string) (*signer, error)
}

func impostors() []impostor {
	return []impostor{
		{"server-wrong-service", "a server that has the certificate of another service gets no bytes", func(w *World, _ string) (*signer, error) {
			return w.leaf(stranger)
		}},
		{"server-other-datacenter", "nor one of another datacenter", func(w *World, service string) (*signer, error) {
			return sign(w.root, named(w.idAt("dc2", service)))
		}},
		{"server-other-trust-domain", "nor one of another trust domain, signed by our own authority", func(w *World, service string) (*signer, error) {
			id := *w.id(service)
			id.Host = "11111111-2222-3333-4444-555555555555.consul"
			return sign(w.root, named(&id))
		}},
		{"server-expired", "nor one whose certificate has ended", func(w *World, service string) (*signer, error) {
			return w.leaf(service, valid(-2*time.Hour, -time.Minute))
		}},
		{"server-self-signed", "nor one that has signed its certificate itself", func(w *World, service string) (*signer, error) {
			return sign(nil, named(w.id(service)))
		}},
		{"server-wrong-usage", "nor one with a certificate for clients only", func(w *World, service string) (*signer, error) {
			return w.leaf(service, only(x509.ExtKeyUsageClientAuth))
		}},
		{"server-two-names", "nor one with a certificate for two services", func(w *World, service string) (*signer, error) {
			return sign(w.root, named(w.id(service), w.id(stranger)))
		}},
	}
}

// servers are the cases of servers that the proxy dials.
func servers() []Case {
	var all []Case
	for _, i := range impostors() {
		all = append(all, Case{Name: i.name, Title: i.title, test: func(b *bed) error { return b.disbelieved(i.name) }})
	}
	return append(all,
		Case{Name: "dead-endpoint", Title: "an endpoint that does not answer is passed over, and no connection fails", Kind: Service, test: deadEndpoint},
		Case{Name: "weights", Title: "an instance with nine times the weight gets most of the connections", Kind: Service, test: weights},
	)
}

// startServers starts all that the proxy will dial, and puts it into the catalog.
func (w *World) startServers(ctx context.Context) error {
	for _, i := range impostors() {
		cert, err := i.make(w, i.name)
		if err != nil {
			return err
		}
		if err := w.startServer(ctx, i.name, cert, 1); err != nil {
			return err
		}
	}
	for _, s := range []struct {
		service string
		weights []int
	}{{goodServer, []int{1}}, {halfDead, []int{1}}, {weighted, []int{9, 1}}} {
		cert, err := w.leaf(s.service)
		if err != nil {
			return err
		}
		for _, weight := range s.weights {
			if err := w.startServer(ctx, s.service, cert, weight); err != nil {
				return err
			}
		}
	}
	// Nobody listens at a port of the stack that nobody has been given.
	return w.register(ctx, halfDead+"-2", halfDead, w.stack.Addr(), 1)
}

func (w *World) startServer(ctx context.Context, service string, s *signer, weight int) error {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return fmt.Errorf("start a server: %w", err)
	}
	w.places[service] = append(w.places[service], serveApp(tls.NewListener(l, &tls.Config{
		Certificates: []tls.Certificate{s.chain()}, ClientAuth: tls.RequireAnyClientCert,
	})))
	if w.dials[service] == "" {
		w.dials[service] = w.stack.Addr()
	}
	return w.register(ctx, fmt.Sprintf("%s-%d", service, len(w.places[service])), service, l.Addr().String(), weight)
}

// through goes through the proxy to a service that it dials.
func (b *bed) through(service string) error {
	c, err := b.open(b.dials[service], nil)
	if err != nil {
		return err
	}
	defer c.Close()
	return c.echo()
}

// disbelieved has a client speak to an impostor through the proxy.
func (b *bed) disbelieved(service string) error {
	server := b.places[service][0]
	before := server.seen()
	c, err := net.DialTimeout("tcp", b.dials[service], patience)
	if err != nil {
		return fmt.Errorf("connect to the proxy: %w", err)
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(patience))
	if _, err := io.WriteString(c, "secret\n"); err != nil && !isReset(err) {
		return err
	}
	got := make([]byte, 1)
	_, err = io.ReadFull(c, got)
	saw, err := sightOf(err)
	if err != nil {
		return err
	}
	if err := b.wait(settling); err != nil {
		return err
	}
	b.saw = string(saw)
	switch {
	case saw == answer || server.seen().since(before) == "bytes":
		return finding("the server was believed")
	case saw == silence:
		return finding("the client was kept waiting")
	}
	return b.within(patience, func(context.Context) error {
		if server.seen().since(before) == "nothing" {
			return errors.New("the proxy has not connected to the server at all")
		}
		if err := b.through(goodServer); err != nil {
			return fmt.Errorf("a good server is not reached: %w", err)
		}
		return nil
	})
}

func deadEndpoint(b *bed) error {
	const tries = 20
	failed := 0
	for range tries {
		if err := b.through(halfDead); err != nil {
			failed++
		}
	}
	b.note("%d of %d connections failed", failed, tries)
	if failed > 0 {
		return finding("connections fail")
	}
	return nil
}

func weights(b *bed) error {
	const tries = 100
	heavy := b.places[weighted][0]
	before := heavy.seen()
	for i := range tries {
		if err := b.within(patience, func(context.Context) error { return b.through(weighted) }); err != nil {
			return fmt.Errorf("connection %d: %w", i+1, err)
		}
	}
	got := heavy.seen().conns - before.conns
	b.note("%d of %d connections went to the one with nine times the weight", got, tries)
	if got < tries*3/4 { // with equal weights once in two million runs
		return finding("it gets about as many as the other")
	}
	return nil
}
