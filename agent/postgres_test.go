package agent

import (
	"crypto/tls"
	"io"
	"net"
	"testing"
	"time"

	"argosy/agent/config"
	"argosy/dtab"
)

// pgRequest is Postgres's SSLRequest.
const pgRequest = "\x00\x00\x00\x08\x04\xd2\x16\x2f"

// startPostgres is startBackend behind TLS that has to be asked for.
func startPostgres(t *testing.T, name string, c *tls.Config) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			raw, err := l.Accept()
			if err != nil {
				return
			}
			raw.SetDeadline(time.Now().Add(patience))
			b := make([]byte, len(pgRequest))
			if io.ReadFull(raw, b); string(b) == pgRequest {
				io.WriteString(raw, "S")
				c := tls.Server(raw, c)
				io.WriteString(c, name+"\n")
				io.Copy(c, c)
			}
			raw.Close()
		}
	}()
	t.Cleanup(func() {
		l.Close()
		<-done
	})
	return l.Addr().String()
}

// TestPostgresThrough: a client asks the agent for TLS, the agent asks the endpoint, and TLS is between the two.
func TestPostgresThrough(t *testing.T) {
	w := newWorld(t)
	files := w.files("db", "db.test")
	cert, err := tls.LoadX509KeyPair(files.Cert, files.Key)
	if err != nil {
		t.Fatal(err)
	}
	addr := startPostgres(t, "postgres", &tls.Config{Certificates: []tls.Certificate{cert}})
	cfg := baseConfig(map[string][]string{"db": {addr}, "web": {startBackend(t, "web").addr}})
	table := mustDtab("/svc => /#/static ; /sni/db.test => /svc/db")
	cfg.Dtab.Static = &table
	cfg.Listeners = []config.Listener{{
		Name: "edge", Network: "tcp", Address: "127.0.0.1:0", ConnectTimeout: 5 * time.Second,
		SNI: &config.SNI{Prefix: dtab.MustParsePath("/sni"), Default: dtab.MustParsePath("/svc/web"), Timeout: patience},
	}}
	p := startAgent(t, cfg)
	raw, err := net.Dial("tcp", p.address("edge"))
	if err != nil {
		t.Fatal(err)
	}
	defer raw.Close()
	raw.SetDeadline(time.Now().Add(patience))
	io.WriteString(raw, pgRequest)
	b := make([]byte, 1)
	if io.ReadFull(raw, b); string(b) != "S" {
		t.Fatalf("the agent answers %q", b)
	}
	c := tls.Client(raw, &tls.Config{ServerName: "db.test", InsecureSkipVerify: true})
	if who := greeting(t, c); who != "postgres" {
		t.Errorf("%s answers", who)
	}
	echo(t, c, "select 1")
}
