package suite

import (
	"crypto/tls"
	"crypto/x509"
	"io"
	"net"
	"sync"
	"testing"
	"time"

	"argosy/agent/relay"
	"argosy/internal/devca"
)

// proxy is a proxy in this process. How it moves the bytes is its tester's business.
type proxy struct {
	listener net.Listener
	backend  string
	in, out  *tls.Config
	serve    func(client, server net.Conn) // closes both

	mu     sync.Mutex
	closed bool
	conns  []net.Conn
	all    sync.WaitGroup
}

// startProxy starts a proxy between two free ports. It is stopped at the test's end, after the suite.
func startProxy(t *testing.T, in, out *tls.Config, serve func(client, server net.Conn)) *proxy {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	return runProxy(t, &proxy{listener: l, backend: freeAddress(t), in: in, out: out, serve: serve})
}

func runProxy(t *testing.T, p *proxy) *proxy {
	p.all.Go(p.accept)
	t.Cleanup(p.stop)
	return p
}

func freeAddress(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

func (p *proxy) stop() {
	p.listener.Close()
	p.mu.Lock()
	p.closed = true
	for _, c := range p.conns {
		c.Close()
	}
	p.mu.Unlock()
	p.all.Wait()
}

func (p *proxy) keep(c net.Conn) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		c.Close()
	}
	p.conns = append(p.conns, c)
}

func (p *proxy) accept() {
	for {
		c, err := p.listener.Accept()
		if err != nil {
			return
		}
		p.keep(c)
		p.all.Go(func() { p.handle(c) })
	}
}

// secure gives the proxy TLS, also while it runs.
func (p *proxy) secure(in, out *tls.Config) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if in != nil {
		p.in = in
	}
	if out != nil {
		p.out = out
	}
}

func (p *proxy) secured() (in, out *tls.Config) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.in, p.out
}

func (p *proxy) handle(c net.Conn) {
	client := c
	in, out := p.secured()
	if in != nil {
		t := tls.Server(&watched{Conn: c}, in)
		if t.Handshake() != nil {
			c.Close()
			return
		}
		client = t
	}
	network, address, _ := endpoint(p.backend)
	s, err := net.DialTimeout(network, address, time.Second)
	if err != nil {
		abort(client)
		return
	}
	p.keep(s)
	server := s
	if out != nil {
		t := tls.Client(&watched{Conn: s}, out)
		if t.Handshake() != nil {
			s.Close()
			abort(client)
			return
		}
		server = t
	}
	p.serve(client, server)
}

// certificates are a server's configuration and a client's that fits.
func certificates(t *testing.T) (server, client *tls.Config) {
	t.Helper()
	ca, err := devca.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := ca.Issue("backend", "backend.test")
	if err != nil {
		t.Fatal(err)
	}
	cert, err := tls.X509KeyPair(leaf.Cert, leaf.Key)
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(ca.PEM())
	return &tls.Config{Certificates: []tls.Certificate{cert}}, &tls.Config{RootCAs: roots, ServerName: "backend.test"}
}

// joined moves bytes with a relay of the product.
func joined(r relay.Relay) func(client, server net.Conn) {
	return func(client, server net.Conn) {
		done := make(chan struct{})
		r.Join(relay.Pair{Client: client, Server: server}, func(relay.Result) { close(done) })
		<-done
	}
}

// A flawed proxy moves bytes with a goroutine each way, and does what it is told wrong.
type flawed struct {
	noHalfClose bool                                    // the end of one output ends all
	endsReset   bool                                    // a reset is passed on as an orderly end
	hoards      bool                                    // everything is read at once, and kept
	trustsCuts  bool                                    // TLS that is cut off is an orderly end
	lax         bool                                    // TLS is ended without close_notify
	keepsOpen   bool                                    // the end of an output is not passed on
	change      func(piece []byte, before int64) []byte // of the bytes
}

func (f flawed) serve(client, server net.Conn) {
	var all sync.WaitGroup
	all.Go(func() { f.move(client, server) })
	all.Go(func() { f.move(server, client) })
	all.Wait()
	client.Close()
	server.Close()
}

func (f flawed) move(from, to net.Conn) {
	err := f.copy(from, to)
	switch {
	case err != nil && !f.endsReset:
		abort(from)
		abort(to)
	case f.noHalfClose:
		from.Close()
		to.Close()
	case f.keepsOpen:
	case f.lax:
		to.(*tls.Conn).NetConn().(*watched).Conn.(*net.TCPConn).CloseWrite()
	default:
		to.(interface{ CloseWrite() error }).CloseWrite()
	}
}

func (f flawed) copy(from, to net.Conn) error {
	if f.hoards {
		return hoard(from, to)
	}
	buffer, before := make([]byte, 32<<10), int64(0)
	for {
		n, err := from.Read(buffer)
		piece := buffer[:n]
		if f.change != nil {
			piece = f.change(piece, before)
		}
		before += int64(n)
		if len(piece) > 0 {
			if _, err := to.Write(piece); err != nil {
				return err
			}
		}
		if err == io.EOF && (!wasCut(from) || f.trustsCuts) {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

// wasCut reports whether TLS has ended without close_notify.
func wasCut(c net.Conn) bool {
	t, ok := c.(*tls.Conn)
	return ok && t.NetConn().(*watched).ended.Load()
}

// abort breaks a connection off with a reset.
func abort(c net.Conn) {
	if t, ok := c.(*tls.Conn); ok {
		c = t.NetConn().(*watched).Conn
	}
	if t, ok := c.(*net.TCPConn); ok {
		t.SetLinger(0)
	}
	c.Close()
}

// hoard reads whatever comes, and has another goroutine write it.
func hoard(from, to net.Conn) error {
	var mu sync.Mutex
	var held [][]byte
	wake, written := make(chan struct{}, 1), make(chan struct{})
	go func() {
		defer close(written)
		for range wake {
			mu.Lock()
			pieces := held
			held = nil
			mu.Unlock()
			for _, piece := range pieces {
				if _, err := to.Write(piece); err != nil {
					for range wake { // to its end
					}
					return
				}
			}
		}
	}()
	for {
		piece := make([]byte, 256<<10)
		n, err := from.Read(piece)
		mu.Lock()
		held = append(held, piece[:n])
		mu.Unlock()
		select {
		case wake <- struct{}{}:
		default:
		}
		if err != nil {
			if err != io.EOF { // nobody is to wait for what cannot be written
				to.SetDeadline(time.Now())
			}
			close(wake)
			<-written
			if err == io.EOF {
				return nil
			}
			return err
		}
	}
}
