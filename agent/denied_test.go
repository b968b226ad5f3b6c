package agent

import (
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"argosy/agent/config"
	"argosy/agent/identity"
	"argosy/dtab"
)

// TestDeniedByTheServer: a server's refusal has the same outcome whether it ends the handshake or comes after it, on either
// relay and also for a client that is quick with its bytes. It is asked for at one endpoint only, which is not blamed, and
// fills no log.
func TestDeniedByTheServer(t *testing.T) {
	w := newWorld(t)
	files := w.files("entry")
	for _, engine := range []string{"auto", "goroutines"} {
		for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
			t.Run(engine+", "+tls.VersionName(version), func(t *testing.T) {
				server := w.identity("db", "db.test").Server()
				server.MaxVersion = version
				var asked atomic.Int64
				server.VerifyConnection = func(tls.ConnectionState) error {
					asked.Add(1)
					return identity.ErrDenied
				}
				cfg := baseConfig(map[string][]string{"db": {startTLSBackend(t, "one", server), startTLSBackend(t, "two", server)}})
				cfg.Relay.Engine = engine
				cfg.Listeners = []config.Listener{listenerTo("db", "/svc/db")}
				cfg.Clients = []config.Client{{
					Prefix: dtab.MustParsePrefix("/svc/db"), ConnectTimeout: 5 * time.Second, Retries: 2, RetryBudget: 1,
					Ejection: config.Ejection{Failures: 1, Resets: 1, Time: time.Minute, MaxTime: time.Minute, MaxShare: 1},
					TLS:      &config.ClientTLS{ServerName: "db.test", CAFile: files.CA, CertFile: files.Cert, KeyFile: files.Key},
				}}
				p := startAgent(t, cfg)
				const connections = 10
				for range connections {
					c, err := net.Dial("tcp", p.address("db"))
					if errors.Is(err, syscall.ECONNRESET) {
						continue // so fast that connect could tell
					}
					if err != nil {
						t.Fatal(err)
					}
					c.SetDeadline(time.Now().Add(patience))
					io.WriteString(c, "quick")
					if n, err := c.Read(make([]byte, 1)); n > 0 || err == nil || errors.Is(err, io.EOF) {
						t.Errorf("the client reads %d bytes, %v: want a reset", n, err)
					}
					c.Close()
				}
				p.expectClosed("db", "denied", connections)
				p.expectMetric(`argosy_dial_failures_total{cluster="/#/static/db",destination="/svc/db",reason="denied"}`, connections)
				if n := asked.Load(); n != connections {
					t.Errorf("%d servers were asked for %d connections", n, connections)
				}
				if n := p.metric(`argosy_endpoints_ejected{cluster="/#/static/db",destination="/svc/db"}`); n > 0 {
					t.Errorf("%v endpoints are ejected", n)
				}
				warned := 0
				for line := range strings.Lines(p.log.String()) {
					if strings.Contains(line, "[WARN]") && strings.Contains(line, "denied by the server") {
						warned++
					}
				}
				if warned != 1 {
					t.Errorf("%d warnings", warned)
				}
			})
		}
	}
}

// TestServersOwnTrouble: an alert that is not about us is no refusal.
func TestServersOwnTrouble(t *testing.T) {
	w := newWorld(t)
	server := w.identity("db", "db.test").Server()
	server.GetCertificate = func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return nil, errors.New("none") }
	cfg := baseConfig(map[string][]string{"db": {startTLSBackend(t, "db", server)}})
	cfg.Listeners = []config.Listener{listenerTo("db", "/svc/db")}
	cfg.Clients = []config.Client{{
		Prefix: dtab.MustParsePrefix("/svc/db"), ConnectTimeout: 5 * time.Second,
		TLS: &config.ClientTLS{ServerName: "db.test", CAFile: w.files("entry").CA},
	}}
	p := startAgent(t, cfg)
	p.refusal("db")
	p.expectClosed("db", "tls", 1)
}

func TestDenialSaysWhatToDo(t *testing.T) {
	for _, c := range []struct{ we, they, alert, want string }{
		{"web", "db", "bad certificate", "denied by db: allow it with `consul intention create -replace web db`"},
		{"web", "db", "access denied", "denied by db: allow it with `consul intention create -replace web db`"},
		{"web", "db", "unknown certificate authority", "denied by db, which does not accept the certificate of web"},
		{"", "", "bad certificate", "denied by the server"},
	} {
		err := fmt.Errorf("remote error: %s", c.alert)
		if got := denial(c.we, c.they, c.alert, err); !strings.HasPrefix(got.Error(), c.want) || !errors.Is(got, err) {
			t.Errorf("%s: %v", c.alert, got)
		}
	}
}
