package suite

import (
	"bufio"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"time"
)

// sight is what a client saw of an attempt to connect.
type sight string

// What a client can see. The service behind greets whoever gets through to it.
const (
	answer  sight = "an answer"
	alert   sight = "an alert"
	end     sight = "the end of the connection"
	silence sight = "nothing"
)

// conn is a client's connection.
type conn struct {
	net.Conn
	r *bufio.Reader
}

// client is how a service speaks TLS with target. The proxy has to prove who it is, too.
func (w *World) client(s *signer, change ...func(*tls.Config)) *tls.Config {
	c := w.trusting(target)
	if s != nil {
		cert := s.chain()
		// Not Certificates: of those none is shown to a server that asks for other authorities.
		c.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return &cert, nil }
	}
	for _, f := range change {
		f(c)
	}
	return c
}

// trusting is how to be a client of a service in our Consul.
func (w *World) trusting(service string) *tls.Config {
	return &tls.Config{
		ServerName: service, InsecureSkipVerify: true, // verified below: there is no DNS name in these certificates
		VerifyConnection: func(s tls.ConnectionState) error {
			between := x509.NewCertPool()
			for _, c := range s.PeerCertificates[1:] {
				between.AddCert(c)
			}
			leaf := s.PeerCertificates[0]
			_, err := leaf.Verify(x509.VerifyOptions{Roots: w.pool, Intermediates: between, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}})
			if err == nil && (len(leaf.URIs) != 1 || leaf.URIs[0].String() != w.id(service).String()) {
				err = fmt.Errorf("the proxy is %v, not %s", leaf.URIs, w.id(service))
			}
			return err
		},
	}
}

func version(v uint16) func(*tls.Config) {
	return func(c *tls.Config) { c.MinVersion, c.MaxVersion = v, v }
}

// open connects and waits for the greeting. The connection is closed at the end of the case.
func (b *bed) open(addr string, config *tls.Config) (*conn, error) {
	// A refusal may be waited for by a slow machine.
	ctx, cancel := context.WithTimeout(b.ctx, patience)
	defer cancel()
	var d net.Dialer
	raw, err := d.DialContext(ctx, "tcp", addr)
	if err != nil {
		return nil, fmt.Errorf("connect to the proxy: %w", err)
	}
	b.later(func() { raw.Close() })
	deadline, _ := ctx.Deadline()
	raw.SetDeadline(deadline)
	c := &conn{raw, bufio.NewReader(raw)}
	if config != nil {
		t := tls.Client(raw, config)
		if err := t.HandshakeContext(ctx); err != nil {
			raw.Close()
			return nil, err
		}
		c = &conn{t, bufio.NewReader(t)}
	}
	if err := c.expect(greeting); err != nil {
		raw.Close()
		return nil, err
	}
	raw.SetDeadline(time.Time{})
	return c, nil
}

func (c *conn) expect(want string) error {
	got, err := c.r.ReadString('\n')
	if err == nil && got != want {
		err = fmt.Errorf("got %q, want %q", got, want)
	}
	return err
}

// echo sends a line and waits for it.
func (c *conn) echo() error {
	c.SetDeadline(time.Now().Add(patience))
	defer c.SetDeadline(time.Time{})
	if _, err := io.WriteString(c, "ping\n"); err != nil {
		return err
	}
	return c.expect("ping\n")
}

// sightOf says what a client saw. An error that it does not know tells of the client itself, not of the proxy.
func sightOf(err error) (sight, error) {
	var op *net.OpError
	switch {
	case err == nil:
		return answer, nil
	case errors.As(err, &op) && op.Op == "remote error":
		return alert, nil
	case errors.Is(err, os.ErrDeadlineExceeded), errors.Is(err, context.DeadlineExceeded):
		return silence, nil
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), isReset(err):
		return end, nil
	}
	return "", err
}

func isReset(err error) bool {
	return strings.Contains(err.Error(), "connection reset") || strings.Contains(err.Error(), "broken pipe")
}

// knock connects as a client and says what that saw.
func (b *bed) knock(addr string, config *tls.Config) (sight, error) {
	c, err := b.open(addr, config)
	if err == nil {
		err = c.echo()
		c.Close()
	}
	return sightOf(err)
}

// settling is for how long a proxy may still connect the service on behalf of a client that it has refused.
const settling = 200 * time.Millisecond

// refused makes sure that a client is not let in, and then that somebody else is. who is the client in a finding.
func (b *bed) refused(who string, config *tls.Config) error {
	before := b.app.seen()
	saw, err := b.knock(b.in.Listen, config)
	if err != nil {
		return fmt.Errorf("%s: %w", who, err)
	}
	if err := b.wait(settling); err != nil {
		return err
	}
	b.saw, b.behind = string(saw), b.app.seen().since(before)
	switch {
	case saw == answer:
		return finding(who + " was let in")
	case saw == silence:
		return finding(who + " was kept waiting")
	case b.behind == "bytes":
		return finding("bytes of " + who + " got through")
	}
	return b.opens(b.in.Listen)
}

// eachVersion refuses a client with TLS 1.2 and with TLS 1.3.
func (b *bed) eachVersion(who string, s *signer) error {
	for _, v := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		if err := b.refused(who, b.client(s, version(v))); err != nil {
			return err
		}
	}
	return nil
}

// opens waits until a friend gets through.
func (b *bed) opens(addr string) error {
	if err := b.admits(addr, friend); err != nil {
		return fmt.Errorf("a good client does not get through: %w", err)
	}
	return nil
}

// admits waits until a service gets through.
func (b *bed) admits(addr, service string) error {
	leaf, err := b.leaf(service)
	if err != nil {
		return err
	}
	return b.within(patience, func(context.Context) error {
		c, err := b.open(addr, b.client(leaf))
		if err != nil {
			return err
		}
		defer c.Close()
		return c.echo()
	})
}

// rejects waits until a service does not get through any more.
func (b *bed) rejects(addr, service string) error {
	leaf, err := b.leaf(service)
	if err != nil {
		return err
	}
	return b.within(patience, func(context.Context) error {
		saw, err := b.knock(addr, b.client(leaf))
		if err == nil && saw == answer {
			err = errors.New(service + " gets through")
		}
		return err
	})
}
