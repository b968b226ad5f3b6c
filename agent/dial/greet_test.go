package dial

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"argosy/agent/outcome"
	"argosy/agent/socket"
	"argosy/namer"
)

// postgres answers an SSLRequest with answer, and then goes on.
func postgres(answer string, then func(net.Conn)) func(net.Conn) {
	return func(c net.Conn) {
		b := make([]byte, len(sslRequest))
		if _, err := io.ReadFull(c, b); err != nil || string(b) != sslRequest {
			return
		}
		io.WriteString(c, answer)
		then(c)
	}
}

func TestStartTLS(t *testing.T) {
	w := newWorld(t)
	server := w.identity("db", "db.test").Server()
	speaks := func(c net.Conn) {
		s := tls.Server(c, server)
		if s.Handshake() == nil {
			hello(s)
			s.Close()
		}
	}
	silent := func(c net.Conn) { io.Copy(io.Discard, c) }
	web := w.identity("web")
	originate := &Policy{Timeout: 10 * time.Second, StartTLS: Postgres, TLS: func(namer.Endpoint) (*tls.Config, error) { return web.ClientNamed("db.test") }}
	for _, test := range []struct {
		name   string
		serve  func(net.Conn)
		policy *Policy
		r      Request
		ok     bool
		says   string
	}{
		{"originated", postgres("S", speaks), originate, Request{}, true, ""},
		{"originated for a client that has asked, too", postgres("S", speaks), originate, Request{StartTLS: Postgres}, true, ""},
		{"passed on", postgres("S", hello), &Policy{Timeout: 10 * time.Second}, Request{StartTLS: Postgres}, true, ""},
		{"not asked for", hello, &Policy{Timeout: 10 * time.Second, StartTLS: Postgres}, Request{}, true, ""},
		{"not offered", postgres("N", silent), originate, Request{}, false, "does not offer it"},
		{"an error", postgres("E", silent), originate, Request{}, false, "not Postgres's"},
		{"bytes in the clear behind the answer", postgres("Sx", speaks), originate, Request{}, false, ""},
		{"another protocol", hello, originate, Request{}, false, "not Postgres's"},
		{"gone", postgres("", func(net.Conn) {}), originate, Request{}, false, "EOF"},
		{"silent", silent, &Policy{Timeout: 200 * time.Millisecond, StartTLS: Postgres, TLS: originate.TLS}, Request{}, false, "timeout"},
	} {
		c, err := test.policy.Dial(context.Background(), test.r, namer.Endpoint{Addr: serve(t, test.serve)})
		if err == nil {
			var b []byte
			b, err = io.ReadAll(c)
			if c.Close(); err == nil && string(b) != "hello" {
				err = fmt.Errorf("got %q", b)
			}
		}
		switch {
		case test.ok && err != nil, !test.ok && (err == nil || !strings.Contains(err.Error(), test.says)):
			t.Errorf("%s: %v", test.name, err)
		case !test.ok && test.says != "":
			check(t, err, outcome.TLS, "starttls")
		}
	}
}

// The order is PROXY header, SSLRequest, TLS: each would be garbage in another.
func TestGreetingsInOrder(t *testing.T) {
	w := newWorld(t)
	server := w.identity("db", "db.test").Server()
	info := between("192.0.2.1:1000", "192.0.2.2:443")
	header := string((&Policy{ProxyProtocol: ProxyV2}).Preface(info))
	addr := serve(t, func(c net.Conn) {
		b := make([]byte, len(header))
		if _, err := io.ReadFull(c, b); err != nil || string(b) != header {
			return
		}
		postgres("S", func(c net.Conn) {
			s := tls.Server(c, server)
			if s.Handshake() == nil {
				hello(s)
				s.Close()
			}
		})(c)
	})
	web := w.identity("web")
	p := &Policy{
		Timeout: 10 * time.Second, ProxyProtocol: ProxyV2, StartTLS: Postgres,
		TLS: func(namer.Endpoint) (*tls.Config, error) { return web.ClientNamed("db.test") },
	}
	c, err := p.Dial(context.Background(), Request{Info: info}, namer.Endpoint{Addr: addr})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if b, err := io.ReadAll(c); string(b) != "hello" {
		t.Errorf("%q, %v", b, err)
	}
}

// A connection that ends while the server is asked for TLS does not wait for it.
func TestStartTLSEndsWithContext(t *testing.T) {
	addr := serve(t, func(c net.Conn) { io.Copy(io.Discard, c) })
	ctx, cancel := context.WithCancel(context.Background())
	time.AfterFunc(50*time.Millisecond, cancel)
	_, err := (&Policy{Timeout: time.Minute}).Dial(ctx, Request{StartTLS: Postgres}, namer.Endpoint{Addr: addr})
	if !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("it ended by the server, or not at all: %v", err)
	}
}

func TestSocketOptions(t *testing.T) {
	addr := serve(t, hello)
	for _, p := range []*Policy{
		{Socket: socket.Options{NoDelay: true, KeepAlive: 7 * time.Second, UserTimeout: 3 * time.Second}},
		{Socket: socket.Options{}}, {FastOpen: true},
	} {
		c, err := p.Dial(context.Background(), Request{}, namer.Endpoint{Addr: addr})
		if err != nil {
			t.Fatal(err)
		}
		raw, err := c.(*net.TCPConn).SyscallConn()
		if err != nil {
			t.Fatal(err)
		}
		raw.Control(func(fd uintptr) {
			for _, option := range []struct {
				name        string
				level, what int
				want        bool
			}{
				{"TCP_NODELAY", syscall.IPPROTO_TCP, syscall.TCP_NODELAY, p.Socket.NoDelay},
				{"SO_KEEPALIVE", syscall.SOL_SOCKET, syscall.SO_KEEPALIVE, p.Socket.KeepAlive > 0},
			} {
				if v, err := syscall.GetsockoptInt(int(fd), option.level, option.what); err != nil || (v != 0) != option.want {
					t.Errorf("%+v: %s is %d, %v", p.Socket, option.name, v, err)
				}
			}
		})
		if b, err := io.ReadAll(c); string(b) != "hello" {
			t.Errorf("%q, %v", b, err)
		}
		c.Close()
	}
}
