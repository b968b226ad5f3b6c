package listen

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"argosy/agent/identity"
	"argosy/agent/outcome"
	"argosy/agent/relay"
	"argosy/agent/relay/relaytest"
	"argosy/dtab"
)

// clientHello is what a TLS client sends first.
func clientHello(t testing.TB, c *tls.Config) []byte {
	t.Helper()
	near, far := net.Pipe()
	defer far.Close()
	go func() {
		tls.Client(near, c).Handshake()
		near.Close()
	}()
	var all []byte
	for want, got := 4, 0; got < want; { // as many records as the message needs
		header := make([]byte, 5)
		if _, err := io.ReadFull(far, header); err != nil {
			t.Fatal(err)
		}
		body := make([]byte, int(header[3])<<8|int(header[4]))
		if _, err := io.ReadFull(far, body); err != nil {
			t.Fatal(err)
		}
		if got == 0 {
			want = 4 + int(body[1])<<16 + int(body[2])<<8 + int(body[3])
		}
		got += len(body)
		all = append(append(all, header...), body...)
	}
	return all
}

// records cuts a handshake message into records of n bytes.
func records(hello []byte, n int) []byte {
	var out []byte
	for body := hello[5:]; len(body) > 0; {
		m := min(n, len(body))
		out = append(out, hello[0], hello[1], hello[2], byte(m>>8), byte(m))
		out = append(out, body[:m]...)
		body = body[m:]
	}
	return out
}

func path(s string) dtab.Path {
	if s == "" {
		return nil
	}
	return dtab.MustParsePath(s)
}

func TestPassThrough(t *testing.T) {
	named := clientHello(t, &tls.Config{ServerName: "Shop.Example.COM"})
	nameless := clientHello(t, &tls.Config{InsecureSkipVerify: true})
	odd := clientHello(t, &tls.Config{ServerName: "a..b", InsecureSkipVerify: true})
	long := clientHello(t, &tls.Config{ServerName: "long.test", NextProtos: strings.Split(strings.Repeat(strings.Repeat("p", 200)+",", 80)+"z", ",")})
	if len(long) < 16_000 {
		t.Fatalf("the long ClientHello has only %d bytes", len(long))
	}
	garbage := []byte("GET / HTTP/1.1\r\nHost: shop\r\n\r\n")
	cases := []struct {
		name     string
		send     []byte
		byByte   bool // a segment per byte
		hangUp   bool // closes after sending
		fallback string
		want     string
		outcome  outcome.Outcome
	}{
		{name: "name", send: named, want: "/tls/shop.example.com"},
		{name: "name, byte by byte", send: named, byByte: true, want: "/tls/shop.example.com"},
		{name: "name, tiny records", send: records(named, 7), want: "/tls/shop.example.com"},
		{name: "name, tiny records, byte by byte", send: records(named, 100), byByte: true, want: "/tls/shop.example.com"},
		{name: "long", send: long, want: "/tls/long.test"},
		{name: "name and more", send: append(bytes.Clone(named), "early data"...), want: "/tls/shop.example.com"},
		{name: "no name", send: nameless, outcome: outcome.NoRoute},
		{name: "no name, default", send: nameless, fallback: "/svc/web", want: "/svc/web"},
		{name: "no host name", send: odd, fallback: "/svc/web", outcome: outcome.NoRoute},
		{name: "garbage", send: garbage, outcome: outcome.TLS},
		{name: "garbage, default", send: garbage, fallback: "/svc/web", want: "/svc/web"},
		{name: "half a hello", send: named[:40], outcome: outcome.TLS},
		{name: "half a hello, default", send: named[:40], fallback: "/svc/web", want: "/svc/web"},
		{name: "half a hello, gone", send: named[:40], hangUp: true, outcome: outcome.TLS},
		{name: "silent", outcome: outcome.TLS},
		{name: "silent, default", fallback: "/svc/web", want: "/svc/web"},
		{name: "gone at once", hangUp: true, fallback: "/svc/web", outcome: outcome.Reset},
		{name: "endless", send: append([]byte{22, 3, 1, 0x40, 0, 1, 0xff, 0xff, 0xff}, make([]byte, 200_000)...), outcome: outcome.TLS},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			far, near := relaytest.Pipe(t, false, false)
			defer far.Close()
			defer near.Close()
			var sending sync.WaitGroup
			defer sending.Wait()
			defer near.Close()
			sending.Go(func() {
				if !c.byByte {
					far.Write(c.send)
				} else {
					for i := range c.send { // each a segment of its own, many of which are read one by one
						far.Write(c.send[i : i+1])
					}
				}
				if c.hangUp {
					far.Close()
				}
			})
			r := &Router{SNI: &SNI{Prefix: path("/tls"), Default: path(c.fallback), Timeout: 20 * time.Second}}
			if len(c.send) < 100 || c.name == "endless" {
				r.SNI.Timeout = 100 * time.Millisecond
			}
			in, err := r.Accept(context.Background(), near, nil)
			if c.outcome != "" {
				if got := outcome.Of(err, "none"); got != c.outcome {
					t.Fatalf("ended as %s: %v", got, err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if in.Name.String() != c.want || in.FromWire != strings.HasPrefix(c.want, "/tls") {
				t.Errorf("got %s, from the wire: %v", in.Name, in.FromWire)
			}
			sending.Wait()
			far.(*net.TCPConn).CloseWrite()
			rest, err := io.ReadAll(in.Conn) // without a deadline left over
			if err != nil || !bytes.Equal(append(in.Early, rest...), c.send) {
				t.Errorf("of %d bytes sent, %d were peeked and %d are left: %v", len(c.send), len(in.Early), len(rest), err)
			}
		})
	}
}

func TestPassThroughEndsWithContext(t *testing.T) {
	_, near := relaytest.Pipe(t, false, false)
	defer near.Close()
	ctx, cancel := context.WithCancel(context.Background())
	time.AfterFunc(50*time.Millisecond, cancel)
	r := &Router{SNI: &SNI{Prefix: path("/tls"), Default: path("/svc/web"), Timeout: time.Hour}}
	if _, err := r.Accept(ctx, near, nil); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
}

func TestTerminate(t *testing.T) {
	server, client := relaytest.Certificate(t)
	refusing := server.Clone()
	refusing.ClientAuth = tls.RequireAnyClientCert
	denying := server.Clone()
	denying.VerifyConnection = func(tls.ConnectionState) error { return fmt.Errorf("%w: web to db", identity.ErrDenied) }
	cases := []struct {
		name    string
		router  Router
		client  func(c net.Conn)
		want    string
		outcome outcome.Outcome
	}{
		{name: "fixed", router: Router{TLS: server, Destination: path("/svc/web")}, want: "/svc/web"},
		{name: "sni", router: Router{TLS: server, SNI: &SNI{Prefix: path("/tls")}}, want: "/tls/peer.test"},
		{name: "no client certificate", router: Router{TLS: refusing}, outcome: outcome.TLS},
		{name: "denied", router: Router{TLS: denying}, outcome: outcome.Denied},
		{name: "garbage", router: Router{TLS: server}, client: func(c net.Conn) { io.WriteString(c, "hello?\r\n") }, outcome: outcome.TLS},
		{name: "silent", router: Router{TLS: server}, client: func(net.Conn) {}, outcome: outcome.TLS},
		{name: "gone", router: Router{TLS: server}, client: func(c net.Conn) { c.Close() }, outcome: outcome.Reset},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			far, near := relaytest.Pipe(t, false, false)
			defer far.Close()
			defer near.Close()
			timeout := 10 * time.Second
			if c.name == "silent" {
				timeout = 100 * time.Millisecond
			}
			ctx, cancel := context.WithTimeout(context.Background(), timeout)
			defer cancel()
			var other sync.WaitGroup
			defer other.Wait()
			defer near.Close()
			other.Go(func() {
				if c.client != nil {
					c.client(far)
					return
				}
				tls.Client(far, client).HandshakeContext(ctx)
			})
			in, err := c.router.Accept(ctx, near, nil)
			if c.outcome != "" {
				if got := outcome.Of(err, "none"); got != c.outcome {
					t.Fatalf("ended as %s: %v", got, err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if in.Name.String() != c.want {
				t.Errorf("got %s", in.Name)
			}
			if carrier, ok := in.Conn.(*tls.Conn).NetConn().(*relay.Carrier); !ok || carrier.Conn != near {
				t.Error("the relay cannot take the connection over")
			}
		})
	}
}

// FuzzPeek: whatever comes, the peek ends, and returns what it has read.
func FuzzPeek(f *testing.F) {
	hello := clientHello(f, &tls.Config{ServerName: "a.test"})
	f.Add(hello)
	f.Add(hello[:60])
	f.Add(records(hello, 3))
	f.Add([]byte("SSH-2.0-x\r\n"))
	f.Add([]byte{22, 3, 1, 0, 0})
	f.Fuzz(func(t *testing.T, b []byte) {
		c := &onlyReads{Reader: bytes.NewReader(b)}
		name, _, read, err := peek(c)
		if !bytes.HasPrefix(b, read) {
			t.Fatalf("read %q of %q", read, b)
		}
		if err != nil && name != "" {
			t.Fatalf("name %q in spite of %v", name, err)
		}
	})
}

// onlyReads is a connection of which only Read may be used.
type onlyReads struct {
	net.Conn
	*bytes.Reader
}

func (o *onlyReads) Read(b []byte) (int, error) { return o.Reader.Read(b) }
