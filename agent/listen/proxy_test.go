package listen

import (
	"bytes"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"argosy/agent/outcome"
	"argosy/agent/proxyproto"
	"argosy/agent/relay/relaytest"
)

const header1 = "PROXY TCP4 192.0.2.1 192.0.2.2 56324 443\r\n"

func TestProxyHeader(t *testing.T) {
	local, err := (&proxyproto.Header{Version: 2, Local: true}).Append(nil)
	if err != nil {
		t.Fatal(err)
	}
	here, elsewhere := netip.MustParsePrefix("127.0.0.0/8"), netip.MustParsePrefix("10.0.0.0/8")
	cases := []struct {
		name     string
		send     string
		hangUp   bool
		from     netip.Prefix
		optional bool
		client   string // "": the one that connected
		rest     string
		outcome  outcome.Outcome
	}{
		{name: "trusted", send: header1 + "bytes", from: here, client: "192.0.2.1:56324", rest: "bytes"},
		{name: "health check", send: string(local) + "bytes", from: here, rest: "bytes"},
		{name: "from elsewhere", send: header1 + "bytes", from: elsewhere, rest: header1 + "bytes"},
		{name: "twice", send: header1 + header1, from: here, client: "192.0.2.1:56324", rest: header1},
		{name: "none", send: "bytes that are none", from: here, outcome: outcome.Denied},
		{name: "optional", send: "bytes that are none", from: here, optional: true, rest: "bytes that are none"},
		{name: "optional and there", send: header1, from: here, optional: true, client: "192.0.2.1:56324"},
		{name: "broken", send: "PROXY nonsense\r\n", from: here, optional: true, outcome: outcome.Denied},
		{name: "half", send: header1[:20], from: here, outcome: outcome.Denied},
		{name: "silent", from: here, outcome: outcome.Denied},
		{name: "probe", hangUp: true, from: here, outcome: outcome.Reset},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			far, near := relaytest.Pipe(t, false, false)
			defer far.Close()
			defer near.Close()
			r := &Router{Destination: path("/svc/web"), Proxy: &Proxy{From: []netip.Prefix{c.from}, Optional: c.optional}, Handshake: 20 * time.Second}
			if c.outcome == outcome.Denied && !strings.Contains(c.send, "n") {
				r.Handshake = 100 * time.Millisecond
			}
			io.WriteString(far, c.send)
			if c.hangUp {
				far.Close()
			}
			known := 0
			in, err := r.Accept(t.Context(), near, func(in *Inbound) error { known++; return nil })
			if c.outcome != "" {
				if got := outcome.Of(err, "none"); got != c.outcome || known != 0 {
					t.Fatalf("ended as %s, known %d: %v", got, known, err)
				}
				return
			}
			if err != nil || known != 1 {
				t.Fatalf("known %d: %v", known, err)
			}
			want := c.client
			if want == "" {
				want = far.LocalAddr().String()
			}
			if in.Client.String() != want {
				t.Errorf("the client is %s", in.Client)
			}
			far.(*net.TCPConn).CloseWrite()
			rest, err := io.ReadAll(in.Conn)
			if got := string(in.Early) + string(rest); err != nil || got != c.rest {
				t.Errorf("left is %q: %v", got, err)
			}
		})
	}
}

// TestProxyHeaderAndTLS: what comes first does not get in the way of what comes next.
func TestProxyHeaderAndTLS(t *testing.T) {
	server, client := relaytest.Certificate(t)
	for name, before := range map[string]string{"header": header1, "no header": ""} {
		for _, terminated := range []bool{true, false} {
			t.Run(name, func(t *testing.T) {
				far, near := relaytest.Pipe(t, false, false)
				defer far.Close()
				defer near.Close()
				r := &Router{SNI: &SNI{Prefix: path("/tls"), Timeout: 20 * time.Second}, Proxy: &Proxy{From: []netip.Prefix{netip.MustParsePrefix("127.0.0.1/32")}, Optional: true}}
				if terminated {
					r.TLS = server
				}
				done := make(chan error, 1)
				go func() {
					io.WriteString(far, before)
					done <- tls.Client(far, client).HandshakeContext(t.Context())
				}()
				in, err := r.Accept(t.Context(), near, nil)
				if err != nil {
					t.Fatal(err)
				}
				if in.Name.String() != "/tls/peer.test" || (before != "") != (in.Client.Addr().String() == "192.0.2.1") {
					t.Errorf("%s from %s", in.Name, in.Client)
				}
				if terminated {
					if err := <-done; err != nil {
						t.Error(err)
					}
				} else if !bytes.HasPrefix(in.Early, []byte{22, 3}) {
					t.Errorf("passed on is %q", in.Early)
				}
			})
		}
	}
}

func TestAcceptStopsAtKnown(t *testing.T) {
	far, near := relaytest.Pipe(t, false, false)
	defer far.Close()
	defer near.Close()
	full := errors.New("too many of them")
	r := &Router{SNI: &SNI{Prefix: path("/tls")}}
	if _, err := r.Accept(t.Context(), near, func(*Inbound) error { return full }); err != full {
		t.Errorf("got %v", err)
	}
}

func TestTrusts(t *testing.T) {
	p := &Proxy{From: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("fd00::/8")}}
	for addr, want := range map[string]bool{"10.1.2.3": true, "::ffff:10.1.2.3": true, "11.0.0.1": false, "fd12::1%eth0": true, "::1": false} {
		if p.Trusts(netip.MustParseAddr(addr)) != want {
			t.Errorf("%s: not %v", addr, want)
		}
	}
	if (*Proxy)(nil).Trusts(netip.Addr{}) || !p.Trusts(netip.Addr{}) {
		t.Error("Unix sockets")
	}
}
