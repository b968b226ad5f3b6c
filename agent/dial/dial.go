// Package dial opens connections to endpoints: with a timeout, with TLS or Connect where configured, and elsewhere when
// an endpoint does not answer.
//
//	conn, lease, err := dial.Connect(ctx, dial.Request{}, pick, policyOf, note)
//
// Every error carries the outcome that the connection ends with: dial, tls or denied.
package dial

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"os"
	"strings"
	"syscall"
	"time"

	"argosy/agent/outcome"
	"argosy/agent/relay"
	"argosy/agent/socket"
	"argosy/namer"
)

// Defaults of a policy.
const (
	DefaultTimeout    = time.Second
	DefaultRetries    = 2
	DefaultRetryShare = 0.2
)

// Policy says how to connect the endpoints of some clusters. It is not changed after its first use.
type Policy struct {
	Timeout time.Duration // for one endpoint, all that is said before the client's bytes included; DefaultTimeout unless set
	Retries int           // further endpoints tried after one has failed
	// RetryShare is how many retries there may be for each new connection, where a Request has a Budget.
	RetryShare float64

	Socket        socket.Options
	FastOpen      bool   // see socket.FastOpenConnect
	ProxyProtocol string // the header that endpoints get first: ProxyV1, ProxyV2, or ""

	// TLS returns the configuration for one endpoint; nil for plain TCP. Its error ends the attempt with outcome tls.
	TLS      func(namer.Endpoint) (*tls.Config, error)
	StartTLS string // how TLS is asked for first: Postgres, or ""
}

// Request is what one connection asks for. The zero Request asks for nothing.
type Request struct {
	Info     Info
	StartTLS string  // the client has been told in this protocol that there is TLS, and its own TLS will be passed on
	Budget   *Budget // of the destination; nil: every retry is allowed
}

// Default is the policy where none is configured: plain TCP.
func Default() *Policy {
	return &Policy{
		Timeout: DefaultTimeout, Retries: DefaultRetries, RetryShare: DefaultRetryShare,
		Socket: socket.Options{NoDelay: true, KeepAlive: socket.DefaultKeepAlive},
	}
}

// Prepare sets up the descriptor of a TCP socket before it is connected.
func (p *Policy) Prepare(fd int) error {
	if p.FastOpen {
		if err := socket.FastOpenConnect(fd); err != nil {
			return err
		}
	}
	return p.Socket.Set(fd)
}

// Dial connects one endpoint. The connection is a *net.TCPConn, a *net.UnixConn, or a *tls.Conn after its handshake.
// With TLS 1.3 a server may still refuse us after that, see relay.Result.
func (p *Policy) Dial(ctx context.Context, r Request, ep namer.Endpoint) (net.Conn, error) {
	timeout := p.Timeout
	if timeout <= 0 {
		timeout = DefaultTimeout
	}
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()

	var config *tls.Config
	if p.TLS != nil {
		var err error
		if config, err = p.TLS(ep); errors.Is(err, errNotOffered) {
			return nil, outcome.Errorf(outcome.TLS, "%s: %w", ep.Addr, err)
		} else if err != nil {
			return nil, outcome.Errorf(outcome.TLS, "%s: %w: %w", ep.Addr, errOurs, err)
		}
	}
	c, err := p.open(ctx, ep)
	if err != nil {
		return nil, outcome.Errorf(outcome.Dial, "%s: %w", ep.Addr, bare(err))
	}
	server, err := p.greet(ctx, r, ep, c, config)
	if err != nil {
		c.Close()
		return nil, err
	}
	return server, nil
}

// open makes the bare connection.
func (p *Policy) open(ctx context.Context, ep namer.Endpoint) (net.Conn, error) {
	d := net.Dialer{KeepAlive: -1} // by Prepare
	if strings.HasPrefix(ep.Addr, "/") {
		return d.DialContext(ctx, "unix", ep.Addr)
	}
	d.Control = func(_, _ string, raw syscall.RawConn) error {
		var failed error
		if err := raw.Control(func(fd uintptr) { failed = p.Prepare(int(fd)) }); err != nil {
			return err
		}
		return failed
	}
	c, err := d.DialContext(ctx, "tcp", ep.Addr)
	if tcp, ok := c.(*net.TCPConn); ok && !p.Socket.NoDelay {
		tcp.SetNoDelay(false) // package net has set it
	}
	return c, err
}

// greet says all that an endpoint is told before the client's bytes, in this order: the PROXY header, that TLS is wanted,
// and TLS.
func (p *Policy) greet(ctx context.Context, r Request, ep namer.Endpoint, c net.Conn, config *tls.Config) (net.Conn, error) {
	preface := p.Preface(r.Info)
	protocol := r.StartTLS
	if config != nil {
		protocol = p.StartTLS
	}
	if len(preface) > 0 || protocol != "" {
		err := within(ctx, c, func() error {
			if _, err := c.Write(preface); err != nil {
				return outcome.Errorf(outcome.Dial, "%s: PROXY header: %w", ep.Addr, bare(err))
			}
			if protocol == "" {
				return nil
			}
			if err := startTLS(c, protocol); err != nil {
				return outcome.Errorf(outcome.TLS, "%s: %w", ep.Addr, err)
			}
			return nil
		})
		if err != nil {
			return nil, err
		}
	}
	if config == nil {
		return c, nil
	}
	t := tls.Client(relay.Carry(c), config)
	if err := within(ctx, c, t.Handshake); err != nil { // HandshakeContext would start a goroutine
		return nil, classifyHandshake(ctx, ep, err)
	}
	return t, nil
}

// within ends what do does with c when ctx ends.
func within(ctx context.Context, c net.Conn, do func() error) error {
	ended := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		c.SetDeadline(time.Unix(1, 0))
		close(ended)
	})
	err := do()
	if !stop() {
		<-ended // or it would set its deadline later
		if err == nil {
			err = outcome.Wrap(outcome.Dial, ctx.Err())
		}
	}
	return err
}

// bare is the reason inside an error of net, which repeats the address.
func bare(err error) error {
	var op *net.OpError
	if errors.As(err, &op) && op.Err != nil {
		return op.Err
	}
	return err
}

// classifyHandshake tells apart that TLS failed, that the server does not want us, and that it never answered.
func classifyHandshake(ctx context.Context, ep namer.Endpoint, err error) error {
	if _, refused := outcome.Refusal(err); refused {
		return outcome.Errorf(outcome.Denied, "%s: refused by the server: %w", ep.Addr, err)
	}
	switch {
	case ctx.Err() != nil || errors.Is(err, os.ErrDeadlineExceeded):
		return outcome.Errorf(outcome.TLS, "%s: TLS handshake: %w", ep.Addr, context.DeadlineExceeded)
	}
	return outcome.Errorf(outcome.TLS, "%s: TLS handshake: %w%s", ep.Addr, err, hint(err))
}

// hint says what can be done about a failed handshake, where that can be guessed.
func hint(err error) string {
	var header tls.RecordHeaderError
	if errors.As(err, &header) {
		return ": the endpoint does not speak TLS; is it one that the catalog takes for Connect-native?"
	}
	if errors.Is(err, io.EOF) || errors.Is(err, syscall.ECONNRESET) {
		return ": the endpoint has closed the connection without saying why; its own log may"
	}
	switch alert, _ := outcome.Alert(err); alert {
	case "protocol version not supported", "handshake failure", "insufficient security level":
		return ": the endpoint wants other versions or cipher suites of TLS; look at min_version, and at the mesh config entry under Connect"
	case "internal error":
		return ": the endpoint has trouble of its own, such as no certificate yet; its log says more"
	case "no application protocol":
		return ": the endpoint wants a protocol that is not in alpn"
	case "unrecognized name":
		return ": the endpoint does not know the server name"
	}
	return ""
}

// Reason is a short word for why connecting failed, for a metric's label: refused, timeout, unreachable, tls, starttls,
// denied or other.
func Reason(err error) string {
	switch o := outcome.Of(err, outcome.Dial); {
	case o == outcome.Denied:
		return "denied"
	case errors.Is(err, errStartTLS):
		return "starttls"
	case o == outcome.TLS:
		return "tls"
	}
	var timeout interface{ Timeout() bool }
	switch {
	case errors.Is(err, syscall.ECONNREFUSED):
		return "refused"
	case errors.Is(err, context.DeadlineExceeded), errors.As(err, &timeout) && timeout.Timeout():
		return "timeout"
	case errors.Is(err, syscall.EHOSTUNREACH), errors.Is(err, syscall.ENETUNREACH):
		return "unreachable"
	}
	return "other"
}

// Reasons are all that Reason can return.
func Reasons() []string {
	return []string{"refused", "timeout", "unreachable", "tls", "starttls", "denied", "other"}
}

var (
	errOurs       = errors.New("no TLS identity for it")
	errNotOffered = errors.New("the catalog does not offer Connect for it: the namer needs connect = true, and the endpoint a registration with Connect")
)

// ByIdentity returns the TLS part of a policy for Connect services: the endpoint has to prove the service that was asked
// for.
func ByIdentity(client func(namer.ConnectID) (*tls.Config, error)) func(namer.Endpoint) (*tls.Config, error) {
	return func(ep namer.Endpoint) (*tls.Config, error) {
		if ep.Connect == (namer.ConnectID{}) {
			return nil, errNotOffered
		}
		return client(ep.Connect)
	}
}
