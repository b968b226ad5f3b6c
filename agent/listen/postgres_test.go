package listen

import (
	"bytes"
	"crypto/tls"
	"encoding/binary"
	"io"
	"net"
	"net/netip"
	"strings"
	"testing"

	"argosy/agent/outcome"
	"argosy/agent/relay/relaytest"
)

// request is a length and a code.
func request(code uint32) string {
	return string(binary.BigEndian.AppendUint32([]byte{0, 0, 0, requestSize}, code))
}

var (
	startup = "\x00\x00\x00\x10\x00\x03\x00\x00user\x00me\x00"
	cancel  = "\x00\x00\x00\x10\x04\xd2\x16\x2e\x00\x00\x00\x01\x00\x00\x00\x02"
)

// TestPostgres: clients that ask for TLS, get it in both kinds of listeners, whatever they ask for before.
func TestPostgres(t *testing.T) {
	server, client := relaytest.Certificate(t)
	for _, asked := range []string{request(sslRequest), request(gssRequest) + request(sslRequest)} {
		for _, terminated := range []bool{true, false} {
			far, near := relaytest.Pipe(t, false, false)
			defer far.Close()
			defer near.Close()
			r := &Router{SNI: &SNI{Prefix: path("/tls")}}
			if terminated {
				r.TLS = server
			}
			done := make(chan error, 1)
			go func() {
				answer := make([]byte, 1)
				for rest := asked; len(rest) > 0; rest = rest[requestSize:] {
					for i := range requestSize {
						io.WriteString(far, rest[i:i+1])
					}
					io.ReadFull(far, answer)
					if want := map[bool]string{true: "S", false: "N"}[rest[:requestSize] == request(sslRequest)]; string(answer) != want {
						t.Errorf("the answer is %q", answer)
					}
				}
				done <- tls.Client(far, client).HandshakeContext(t.Context())
			}()
			in, err := r.Accept(t.Context(), near, nil)
			if err != nil {
				t.Fatal(err)
			}
			if in.Name.String() != "/tls/peer.test" {
				t.Errorf("goes to %s", in.Name)
			}
			switch {
			case terminated:
				if err := <-done; err != nil || in.StartTLS != "" {
					t.Errorf("StartTLS %q, %v", in.StartTLS, err)
				}
			case in.StartTLS != Postgres || in.Early[0] != 22:
				t.Errorf("StartTLS %q, and %q is passed on", in.StartTLS, in.Early)
			}
		}
	}
}

func TestPostgresWithoutTLS(t *testing.T) {
	server, _ := relaytest.Certificate(t)
	for name, c := range map[string]struct {
		router  *Router
		send    string
		hangUp  bool
		answer  string
		outcome outcome.Outcome // "": to the default route
	}{
		"startup":             {router: &Router{SNI: &SNI{Default: path("/svc/db")}}, send: startup},
		"startup after GSS":   {router: &Router{SNI: &SNI{Default: path("/svc/db")}}, send: request(gssRequest) + startup, answer: "N"},
		"GSS twice":           {router: &Router{SNI: &SNI{Default: path("/svc/db")}}, send: request(gssRequest) + request(gssRequest), answer: "N"},
		"cancel":              {router: &Router{SNI: &SNI{Default: path("/svc/db")}}, send: cancel},
		"zeros":               {router: &Router{SNI: &SNI{Default: path("/svc/db")}}, send: strings.Repeat("\x00", 20)},
		"startup, no default": {router: &Router{SNI: &SNI{}}, send: startup, answer: "E", outcome: outcome.TLS},
		"startup to TLS":      {router: &Router{TLS: server}, send: startup, answer: "E", outcome: outcome.TLS},
		"cancel to TLS":       {router: &Router{TLS: server, SNI: &SNI{Default: path("/svc/db")}}, send: cancel, answer: "E", outcome: outcome.TLS},
		"promised and gone":   {router: &Router{SNI: &SNI{Default: path("/svc/db")}}, send: request(sslRequest), hangUp: true, answer: "S", outcome: outcome.Reset},
		"promised, plain":     {router: &Router{SNI: &SNI{Default: path("/svc/db")}}, send: request(sslRequest) + startup, answer: "S", outcome: outcome.TLS},
	} {
		test := func(t *testing.T, proxy *Proxy) {
			t.Parallel()
			far, near := relaytest.Pipe(t, false, false)
			defer far.Close()
			defer near.Close()
			r := *c.router
			r.Destination, r.Proxy = path("/svc/fixed"), proxy
			io.WriteString(far, c.send)
			if c.hangUp {
				far.(*net.TCPConn).CloseWrite()
			}
			in, err := r.Accept(t.Context(), near, nil)
			if got := outcome.Of(err, "none"); err != nil && got != c.outcome || err == nil && c.outcome != "" {
				t.Fatalf("ended as %s: %v", got, err)
			}
			if c.answer != "" {
				b := make([]byte, 1)
				if io.ReadFull(far, b); string(b) != c.answer {
					t.Errorf("the answer is %q", b)
				}
				if c.answer == "E" {
					near.Close()
					if said, err := io.ReadAll(far); err != nil || !strings.Contains(string(said), "TLS only") {
						t.Errorf("said %q, and then %v", said, err)
					}
				}
			}
			if err != nil {
				return
			}
			far.(*net.TCPConn).CloseWrite()
			rest, _ := io.ReadAll(in.Conn)
			want := c.send
			if c.answer == "N" {
				want = want[requestSize:]
			}
			if got := string(in.Early) + string(rest); in.Name.String() != "/svc/db" || in.StartTLS != "" || got != want {
				t.Errorf("to %s go %q", in.Name, got)
			}
		}
		t.Run(name, func(t *testing.T) { test(t, nil) })
		t.Run(name+", no PROXY header", func(t *testing.T) {
			test(t, &Proxy{From: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}, Optional: true})
		})
	}
}

func TestRefusalReads(t *testing.T) {
	b := refusal("no")
	if b[0] != 'E' || int(binary.BigEndian.Uint32(b[1:])) != len(b)-1 || !bytes.HasSuffix(b, []byte("Mno\x00\x00")) {
		t.Errorf("got %q", b)
	}
}

// FuzzGreet: whatever comes, no byte is lost or made up, and nothing else is answered than S and N.
func FuzzGreet(f *testing.F) {
	for _, s := range []string{startup, cancel, request(sslRequest) + "\x16\x03", request(gssRequest) + request(sslRequest), "\x16\x03\x01", "\x00", ""} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		c := &conversation{in: bytes.NewReader(b)}
		s, early, err := greet(c)
		rest, _ := io.ReadAll(c.in)
		var requests []byte
		for _, answer := range c.out.String() {
			requests = append(requests, request(map[rune]uint32{'S': sslRequest, 'N': gssRequest}[answer])...)
		}
		if got := append(append(requests, early...), rest...); !bytes.Equal(got, b) {
			t.Fatalf("of %q, answered with %q, is left %q and %q", b, c.out.String(), early, rest)
		}
		if (s == wantsTLS) != strings.HasSuffix(c.out.String(), "S") || c.out.Len() > 2 || (s == wantsTLS && err != nil) {
			t.Fatalf("answered with %q: %v, %v", c.out.String(), s, err)
		}
	})
}

type conversation struct {
	in  *bytes.Reader
	out bytes.Buffer
}

func (c *conversation) Read(b []byte) (int, error)  { return c.in.Read(b) }
func (c *conversation) Write(b []byte) (int, error) { return c.out.Write(b) }

// TestALPN: protocols are looked at before server names, in both kinds of listeners.
func TestALPN(t *testing.T) {
	server, client := relaytest.Certificate(t)
	server = server.Clone()
	server.NextProtos = []string{"h2", "postgresql"}
	routes := []ALPNRoute{{"postgresql", path("/svc/db")}, {"h2", path("/svc/web")}}
	for _, terminated := range []bool{true, false} {
		for _, c := range []struct {
			offers []string
			name   string // "": its own
			want   string
		}{
			{nil, "", "/tls/peer.test"},
			{[]string{"postgresql"}, "", "/svc/db"},
			{[]string{"h2"}, "", "/svc/web"},
			{[]string{"h2", "http/1.1"}, "under_score.test", "/svc/web"},
		} {
			far, near := relaytest.Pipe(t, false, false)
			defer far.Close()
			defer near.Close()
			r := &Router{SNI: &SNI{Prefix: path("/tls"), ALPN: routes}}
			if terminated {
				r.TLS = server
			}
			config := client.Clone()
			config.NextProtos = c.offers
			if c.name != "" {
				config.ServerName, config.InsecureSkipVerify = c.name, true
			}
			go tls.Client(far, config).HandshakeContext(t.Context())
			in, err := r.Accept(t.Context(), near, nil)
			if err != nil {
				t.Fatal(err)
			}
			if in.Name.String() != c.want || in.FromWire != strings.HasPrefix(c.want, "/tls") || in.ServerName == "" {
				t.Errorf("%q goes to %s; server name %q, from the wire: %v", c.offers, in.Name, in.ServerName, in.FromWire)
			}
		}
	}
}
