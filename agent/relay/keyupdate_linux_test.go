package relay_test

import (
	"bufio"
	"crypto/tls"
	"io"
	"net"
	"os/exec"
	"testing"
	"time"

	"argosy/agent/outcome"
	"argosy/agent/relay"
	"argosy/agent/relay/relaytest"
)

// TestKeyUpdate: a TLS 1.3 client may change its keys at any time, and ask for ours to be changed. crypto/tls answers but
// cannot ask, so OpenSSL does.
func TestKeyUpdate(t *testing.T) {
	openssl, err := exec.LookPath("openssl")
	if err != nil {
		t.Skip("needs openssl")
	}
	for _, c := range []struct {
		name  string
		relay relay.Relay
	}{{"goroutines", relay.New()}, {"loop", newLoop(t, 1)}} {
		t.Run(c.name, func(t *testing.T) {
			l, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			defer l.Close()
			client := exec.CommandContext(t.Context(), openssl, "s_client", "-quiet", "-no_ign_eof", "-tls1_3", "-connect", l.Addr().String())
			in, err := client.StdinPipe()
			if err != nil {
				t.Fatal(err)
			}
			out, err := client.StdoutPipe()
			if err != nil {
				t.Fatal(err)
			}
			if err := client.Start(); err != nil {
				t.Fatal(err)
			}
			defer client.Wait()
			defer in.Close()
			accepted, err := l.Accept()
			if err != nil {
				t.Fatal(err)
			}
			config, _ := relaytest.Certificate(t)
			near := tls.Server(relay.Carry(accepted), config)
			if err := near.Handshake(); err != nil {
				t.Fatal(err)
			}
			far, server := relaytest.Pipe(t, false, true)
			defer far.Close()
			far.SetDeadline(time.Now().Add(20 * time.Second))
			results := make(chan relay.Result, 1)
			link := c.relay.Join(relay.Pair{Client: near, Server: server}, func(r relay.Result) { results <- r })
			lines := bufio.NewReader(out)
			for _, line := range []string{"before\n", "after\n", "again\n"} {
				if _, err := io.WriteString(in, line); err != nil {
					t.Fatal(err)
				}
				got := make([]byte, len(line))
				if _, err := io.ReadFull(far, got); err != nil || string(got) != line {
					t.Fatalf("the server reads %q, %v", got, err)
				}
				if _, err := far.Write(got); err != nil {
					t.Fatal(err)
				}
				if echo, err := lines.ReadString('\n'); err != nil || echo != line {
					t.Fatalf("the client reads %q, %v", echo, err)
				}
				if _, err := io.WriteString(in, "K\n"); err != nil { // new keys, please
					t.Fatal(err)
				}
				time.Sleep(200 * time.Millisecond) // s_client knows a command only as a read of its own
			}
			link.Cut(outcome.Drained)
			if r := <-results; r.Outcome != outcome.Drained {
				t.Errorf("ended as %s (%v)", r.Outcome, r.Err)
			}
		})
	}
}
