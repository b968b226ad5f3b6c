package dial

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"syscall"
	"testing"
	"time"

	"argosy/agent/balance"
	"argosy/agent/identity"
	"argosy/agent/outcome"
	"argosy/dtab"
	"argosy/internal/devca"
	"argosy/namer"
)

// serve accepts on loopback and hands every connection to handle, which closes it.
func serve(t *testing.T, handle func(net.Conn)) (addr string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var all sync.WaitGroup
	all.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			all.Go(func() {
				defer c.Close()
				c.SetDeadline(time.Now().Add(10 * time.Second))
				handle(c)
			})
		}
	})
	t.Cleanup(func() {
		l.Close()
		all.Wait()
	})
	return l.Addr().String()
}

// refused is an address on loopback where nobody listens.
func refused(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

func hello(c net.Conn) { io.WriteString(c, "hello") }

func check(t *testing.T, err error, o outcome.Outcome, reason string) {
	t.Helper()
	if outcome.Of(err, "none") != o || reason != "" && Reason(err) != reason {
		t.Errorf("%v: outcome %s and reason %s, want %s and %s", err, outcome.Of(err, "none"), Reason(err), o, reason)
	}
	if !slices.Contains(Reasons(), Reason(err)) {
		t.Errorf("%s is not among the reasons", Reason(err))
	}
}

func TestDialPlain(t *testing.T) {
	ep := namer.Endpoint{Addr: serve(t, hello)}
	c, err := Default().Dial(context.Background(), Request{}, ep)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if _, bare := c.(*net.TCPConn); !bare {
		t.Errorf("a plain connection is a %T, which cannot be spliced", c)
	}
	if b, err := io.ReadAll(c); string(b) != "hello" {
		t.Errorf("%q, %v", b, err)
	}
	_, err = Default().Dial(context.Background(), Request{}, namer.Endpoint{Addr: refused(t)})
	check(t, err, outcome.Dial, "refused")
}

func TestDialUnix(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	c, err := Default().Dial(context.Background(), Request{}, namer.Endpoint{Addr: path})
	if err != nil {
		t.Fatal(err)
	}
	c.Close()
}

// world is a development CA with an identity for each service.
type world struct {
	t  *testing.T
	ca *devca.CA
}

func newWorld(t *testing.T) *world {
	t.Helper()
	ca, err := devca.New(time.Now)
	if err != nil {
		t.Fatal(err)
	}
	return &world{t, ca}
}

func (w *world) identity(service string, hosts ...string) *identity.Files {
	w.t.Helper()
	f, err := w.ca.Write(w.t.TempDir(), service, hosts...)
	if err != nil {
		w.t.Fatal(err)
	}
	i, err := identity.NewFiles(f.Cert, f.Key, f.CA)
	if err != nil {
		w.t.Fatal(err)
	}
	return i
}

func (w *world) serveTLS(c *tls.Config) string {
	return serve(w.t, func(conn net.Conn) {
		s := tls.Server(conn, c)
		if s.Handshake() == nil {
			hello(s)
			s.Close()
		}
	})
}

func TestDialTLS(t *testing.T) {
	w := newWorld(t)
	web, db := w.identity("web"), w.identity("db", "db.test")
	stranger := newWorld(t).identity("web")
	server := db.Server()
	old := server.Clone()
	old.MaxVersion = tls.VersionTLS12
	named := func(name string) func(namer.Endpoint) (*tls.Config, error) {
		return func(namer.Endpoint) (*tls.Config, error) { return web.ClientNamed(name) }
	}
	as := func(i *identity.Files) func(namer.Endpoint) (*tls.Config, error) { return ByIdentity(i.Client) }
	silent := serve(t, func(c net.Conn) { io.Copy(io.Discard, c) })
	garbage := serve(t, func(c net.Conn) { io.WriteString(c, "220 mail.test ESMTP\r\n"); io.Copy(io.Discard, c) })
	cases := []struct {
		name    string
		addr    string
		service string
		tls     func(namer.Endpoint) (*tls.Config, error)
		outcome outcome.Outcome
		reason  string
	}{
		{"named", w.serveTLS(server), "", named("db.test"), "", ""},
		{"named, another host", w.serveTLS(server), "", named("other.test"), outcome.TLS, "tls"},
		{"service", w.serveTLS(server), "db", as(web), "", ""},
		{"service, another one answers", w.serveTLS(server), "cache", as(web), outcome.TLS, "tls"},
		{"service, endpoint without Connect", w.serveTLS(server), "", as(web), outcome.TLS, "tls"},
		{"untrusted server", w.serveTLS(server), "db", as(stranger), outcome.TLS, "tls"},
		{"TLS 1.2", w.serveTLS(old), "db", as(web), "", ""},
		{"silent", silent, "db", as(web), outcome.TLS, "tls"},
		{"garbage", garbage, "db", as(web), outcome.TLS, "tls"},
		{"refused", refused(t), "db", as(web), outcome.Dial, "refused"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			p := &Policy{Timeout: 5 * time.Second, TLS: c.tls}
			if c.name == "silent" {
				p.Timeout = 200 * time.Millisecond
			}
			ep := namer.Endpoint{Addr: c.addr}
			if c.service != "" {
				ep.Connect = namer.ConnectID{Service: c.service, Datacenter: "dc1"}
			}
			conn, err := p.Dial(context.Background(), Request{}, ep)
			if c.outcome != "" {
				check(t, err, c.outcome, c.reason)
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			if b, err := io.ReadAll(conn); string(b) != "hello" {
				t.Errorf("%q, %v", b, err)
			}
		})
	}
}

// TestDenied: with TLS 1.2 the refusal of a client certificate arrives within the handshake.
func TestDenied(t *testing.T) {
	w := newWorld(t)
	server := w.identity("db").Server()
	server.MaxVersion = tls.VersionTLS12
	server.VerifyConnection = func(tls.ConnectionState) error { return errors.New("no") }
	ca := x509.NewCertPool()
	ca.AppendCertsFromPEM(w.ca.PEM())
	web := w.identity("web")
	p := &Policy{Timeout: 5 * time.Second, TLS: ByIdentity(web.Client)}
	ep := namer.Endpoint{Addr: w.serveTLS(server), Connect: namer.ConnectID{Service: "db", Datacenter: "dc1"}}
	_, err := p.Dial(context.Background(), Request{}, ep)
	check(t, err, outcome.Denied, "denied")
}

func picker(t *testing.T, addrs ...string) (*balance.Balancer, func(func(string) bool) (*balance.Lease, error)) {
	b := balance.New(balance.Options{})
	var es []namer.Endpoint
	for _, a := range addrs {
		es = append(es, namer.Endpoint{Addr: a, Weight: 1, Connect: namer.ConnectID{Service: "db", Datacenter: "dc1"}})
	}
	b.Update([]namer.Cluster{{
		ID: dtab.MustParsePath("/#/a"), Share: 1, Addr: namer.Addr{Status: namer.OK, Endpoints: es},
	}})
	return b, func(tried func(string) bool) (*balance.Lease, error) { return b.Pick(balance.Request{Tried: tried}) }
}

func open(b *balance.Balancer) (n int) {
	for _, e := range b.State()[0].Endpoints {
		n += e.Open
	}
	return n
}

func always(p *Policy) func(*balance.Lease) *Policy { return func(*balance.Lease) *Policy { return p } }

func TestConnectElsewhere(t *testing.T) {
	good := serve(t, hello)
	b, pick := picker(t, refused(t), good, refused(t))
	for range 20 {
		var attempts []Attempt
		c, lease, err := Connect(context.Background(), Request{}, pick, always(Default()), func(a Attempt) { attempts = append(attempts, a) })
		if err != nil {
			t.Fatal(err)
		}
		c.Close()
		if lease.Endpoint.Addr != good {
			t.Errorf("connected %s", lease.Endpoint.Addr)
		}
		seen := map[string]bool{}
		for i, a := range attempts {
			if seen[a.Lease.Endpoint.Addr] || (a.Err == nil) != (i == len(attempts)-1) {
				t.Errorf("attempt %d: %s, %v", i, a.Lease.Endpoint.Addr, a.Err)
			}
			seen[a.Lease.Endpoint.Addr] = true
		}
		if n := open(b); n != 1 {
			t.Errorf("%d leases", n)
		}
		lease.Done()
	}
	if n := open(b); n != 0 {
		t.Errorf("%d leases are left", n)
	}
}

func TestConnectGivesUp(t *testing.T) {
	var many []string
	for range 10 {
		many = append(many, refused(t))
	}
	for retries := range 4 {
		b, pick := picker(t, many...)
		attempts := 0
		_, _, err := Connect(context.Background(), Request{}, pick, always(&Policy{Retries: retries}), func(Attempt) { attempts++ })
		check(t, err, outcome.Dial, "refused")
		if attempts != retries+1 || open(b) != 0 {
			t.Errorf("%d retries: %d attempts, %d leases left", retries, attempts, open(b))
		}
	}
	_, pick := picker(t, many[:2]...)
	attempts := 0
	_, _, err := Connect(context.Background(), Request{}, pick, always(&Policy{Retries: 5}), func(Attempt) { attempts++ })
	check(t, err, outcome.Dial, "refused")
	if attempts != 2 {
		t.Errorf("%d attempts with two endpoints", attempts)
	}
	_, pick = picker(t)
	if _, _, err := Connect(context.Background(), Request{}, pick, always(Default()), nil); !errors.Is(err, balance.ErrEmpty) {
		t.Errorf("without endpoints: %v", err)
	}
}

// TestConnectDenied: a refusal is the same at every endpoint, so it is not asked for twice, and who refuses us is well.
func TestConnectDenied(t *testing.T) {
	w := newWorld(t)
	server := w.identity("db").Server()
	server.MaxVersion = tls.VersionTLS12
	server.VerifyConnection = func(tls.ConnectionState) error { return errors.New("no") }
	b, pick := picker(t, w.serveTLS(server), w.serveTLS(server))
	attempts := 0
	p := &Policy{Retries: 5, TLS: ByIdentity(w.identity("web").Client)}
	_, _, err := Connect(context.Background(), Request{}, pick, always(p), func(Attempt) { attempts++ })
	check(t, err, outcome.Denied, "denied")
	if attempts != 1 {
		t.Errorf("%d attempts", attempts)
	}
	for _, e := range b.State()[0].Endpoints {
		if e.State != balance.Active || e.Open != 0 {
			t.Errorf("after a refusal: %+v", e)
		}
	}
}

// TestConnectBlames: an endpoint is avoided for what it has done, not for what we lack or for a client that has used up
// the time.
func TestConnectBlames(t *testing.T) {
	w := newWorld(t)
	silent := serve(t, func(c net.Conn) { io.Copy(io.Discard, c) })
	handshake := &Policy{Timeout: time.Minute, TLS: ByIdentity(w.identity("web").Client)}
	for _, test := range []struct {
		what   string
		addr   string
		policy *Policy
		left   time.Duration // of the connection's time
		want   balance.EndpointState
	}{
		{"refuses", refused(t), Default(), time.Minute, balance.Ejected},
		{"does not answer", silent, &Policy{Timeout: 20 * time.Millisecond, TLS: handshake.TLS}, time.Minute, balance.Ejected},
		{"does not answer in the connection's time", silent, handshake, 2 * fairChance, balance.Ejected},
		{"had no time to answer", silent, handshake, fairChance / 10, balance.Active},
		{"could not be asked", silent, &Policy{TLS: func(namer.Endpoint) (*tls.Config, error) {
			return nil, os.NewSyscallError("socket", syscall.EMFILE)
		}}, time.Minute, balance.Active},
		{"is not to blame for our certificate", silent, &Policy{TLS: func(namer.Endpoint) (*tls.Config, error) {
			return nil, identity.ErrNotReady
		}}, time.Minute, balance.Active},
		{"is not offered", silent, &Policy{TLS: func(ep namer.Endpoint) (*tls.Config, error) {
			return ByIdentity(nil)(namer.Endpoint{Addr: ep.Addr})
		}}, time.Minute, balance.Ejected},
	} {
		b, pick := picker(t, test.addr)
		ctx, cancel := context.WithTimeout(context.Background(), test.left)
		if _, _, err := Connect(ctx, Request{}, pick, always(test.policy), nil); err == nil {
			t.Errorf("%s: connected", test.what)
		}
		cancel()
		if s := b.State()[0].Endpoints[0]; s.Open != 0 || s.State != test.want {
			t.Errorf("%s: %+v, want %s", test.what, s, test.want)
		}
	}
}

func TestConnectEndsWithContext(t *testing.T) {
	silent := serve(t, func(c net.Conn) { io.Copy(io.Discard, c) })
	w := newWorld(t)
	p := &Policy{Timeout: time.Minute, Retries: 5, TLS: ByIdentity(w.identity("web").Client)}
	b, pick := picker(t, silent)
	ctx, cancel := context.WithCancel(context.Background())
	time.AfterFunc(50*time.Millisecond, cancel)
	if _, _, err := Connect(ctx, Request{}, pick, always(p), nil); err == nil {
		t.Error("connected")
	}
	if s := b.State()[0].Endpoints[0]; s.Open != 0 || s.State != balance.Active {
		t.Errorf("the endpoint got the blame: %+v", s)
	}
	if Reason(fmt.Errorf("x: %w", context.DeadlineExceeded)) != "timeout" {
		t.Error("a deadline is not a timeout")
	}
}
