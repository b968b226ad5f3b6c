package remote

import (
	"encoding/pem"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/hashicorp/go-hclog"

	"argosy/namer"
)

// Polling has linkerd-tcp's rules.
func TestPolls(t *testing.T) {
	s := startScripted(t, (*httptest.Server).Start)
	in := open(t, s, Options{Mode: Poll})
	s.answer("resolve", "/svc/redis", 500, "")
	r := in.Bind(t.Context(), path("/svc/redis"))
	s.want(r, "failed: namerd at URL answers 500 Internal Server Error")
	for _, c := range []struct {
		status     int
		body, want string
	}{
		{200, `{"type":"neg"}`, "~"},
		{200, addrJSON("10.0.0.1:1", "10.0.0.2:2"), "{/svc/redis ok 10.0.0.1:1 10.0.0.2:2}"},
		{200, `{"type":"neg"}`, "{/svc/redis ok 10.0.0.1:1 10.0.0.2:2 stale}: namerd says that the name is nothing"},
		{200, `{"type":"pending"}`, "{/svc/redis ok 10.0.0.1:1 10.0.0.2:2 stale}: namerd does not know yet"},
		{200, `{"type":"failed","cause":"x"}`, "{/svc/redis ok 10.0.0.1:1 10.0.0.2:2 stale}: namerd: x"},
		{500, "", "{/svc/redis ok 10.0.0.1:1 10.0.0.2:2 stale}: namerd at URL answers 500 Internal Server Error"},
		{200, addrJSON("10.0.0.3:3"), "{/svc/redis ok 10.0.0.3:3}"},
		{200, addrJSON(), "{/svc/redis ok}"},
		{200, `{"type":"neg"}`, "{/svc/redis ok stale}: namerd says that the name is nothing"},
	} {
		s.answer("resolve", "/svc/redis", c.status, c.body)
		s.want(r, c.want)
	}
	if got := s.asked("GET")[0]; got != "GET /api/1/resolve/default?path=%2Fsvc%2Fredis " {
		t.Errorf("asks %q", got)
	}
	if got := s.asked("GET /api/1/bind"); len(got) > 0 {
		t.Errorf("asks %q", got)
	}
}

// Where streams are refused or silent, auto mode polls, until they work.
func TestFallsBackToPolls(t *testing.T) {
	for what, refuse := range map[string]func(http.ResponseWriter){
		"refused": func(w http.ResponseWriter) { w.WriteHeader(http.StatusBadGateway) },
		"silent":  nil,
	} {
		t.Run(what, func(t *testing.T) {
			s := startScripted(t, (*httptest.Server).Start)
			s.refuseStreams(refuse)
			s.answer("resolve", "/svc/redis", 200, addrJSON("10.0.0.1:1"))
			in := open(t, s, Options{})
			r := in.Bind(t.Context(), path("/svc/redis"))
			b := s.want(r, "{/svc/redis ok 10.0.0.1:1}")
			if len(b.Clusters) != 1 || b.Clusters[0].Share != 1 {
				t.Errorf("clusters %+v", b.Clusters)
			}
			s.answer("resolve", "/svc/redis", 200, addrJSON("10.0.0.2:2"))
			s.want(r, "{/svc/redis ok 10.0.0.2:2}")

			s.refuseStreams(nil)
			tree := s.stream("bind", "/svc/redis")
			tree.send(leafJSON("/#/fs/redis", "/", addrJSON("10.0.0.3:3")))
			s.want(r, "{/#/fs/redis ok 10.0.0.3:3}")
			// The stream of the addresses is silent, and these are polled.
			s.stream("addr", "/#/fs/redis")
			s.answer("addr", "/#/fs/redis", 200, addrJSON("10.0.0.4:4"))
			s.want(r, "{/#/fs/redis ok 10.0.0.4:4}")
			polls := len(s.asked("GET /api/1/resolve"))
			s.never(r, func(b namer.Binding) bool { return b.Err != nil })
			if n := len(s.asked("GET /api/1/resolve")); n > polls+1 {
				t.Errorf("%d polls beside a stream that works", n-polls)
			}
		})
	}
}

// With TLS all streams share a connection.
func TestTLS(t *testing.T) {
	s := startScripted(t, func(h *httptest.Server) {
		h.EnableHTTP2 = true
		h.StartTLS()
	})
	dir := t.TempDir()
	ca, token := filepath.Join(dir, "ca.pem"), filepath.Join(dir, "token")
	block := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.http.Certificate().Raw})
	for file, text := range map[string][]byte{ca: block, token: []byte("very-secret\n")} {
		if err := os.WriteFile(file, text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	in := open(t, s, Options{CAFile: ca, TokenFile: token, Mode: Stream})
	for _, name := range []string{"/svc/a", "/svc/b", "/svc/c"} {
		r := in.Bind(t.Context(), path(name))
		s.stream("bind", name).send(leafJSON("/#/fs/redis", "/", addrJSON("10.0.0.1:1")))
		s.want(r, "{/#/fs/redis ok 10.0.0.1:1}")
	}
	if s.protocol != "HTTP/2.0" {
		t.Errorf("speaks %s", s.protocol)
	}
	if got := s.asked("GET /api/1/bind"); got[0] != "GET /api/1/bind/default?path=%2Fsvc%2Fa&watch=1&dtab= Bearer very-secret" {
		t.Errorf("asks %q", got[0])
	}
	s.stream("addr", "/#/fs/redis")
	// A server that is not trusted gets nothing, the token least of all.
	asked := len(s.asked(""))
	r := open(t, s, Options{TokenFile: token, Mode: Stream}).Bind(t.Context(), path("/svc/a"))
	s.wantMatch(r, "not trusted", func(b namer.Binding) bool { return b.Status == namer.Pending && b.Err != nil })
	if n := len(s.asked("")); n != asked {
		t.Errorf("%d requests to a server that is not trusted", n-asked)
	}
}

// A poll that is answered late does not undo what a stream has said meanwhile.
func TestLatePoll(t *testing.T) {
	s := startScripted(t, (*httptest.Server).Start)
	asked, answer := make(chan struct{}, 1), make(chan struct{})
	s.mu.Lock()
	s.plain["resolve /svc/redis"] = func(w http.ResponseWriter) {
		asked <- struct{}{}
		<-answer
		_, _ = w.Write([]byte(addrJSON("10.0.0.1:1")))
	}
	s.mu.Unlock()
	r := open(t, s, Options{}).Bind(t.Context(), path("/svc/redis"))
	tree := s.stream("bind", "/svc/redis")
	<-asked
	tree.send(leafJSON("/#/fs/redis", "/", addrJSON("10.0.0.2:2")))
	s.answer("addr", "/#/fs/redis", 200, addrJSON("10.0.0.2:2"))
	b := s.want(r, "{/#/fs/redis ok 10.0.0.2:2}")
	close(answer)
	s.never(r, func(now namer.Binding) bool { return now.Clusters[0].ID.String() != b.Clusters[0].ID.String() })
}

// The log tells that streams do not work once, and not again with every poll that does.
func TestLogsTroubleOnce(t *testing.T) {
	s := startScripted(t, (*httptest.Server).Start)
	s.refuseStreams(func(w http.ResponseWriter) { w.WriteHeader(http.StatusBadGateway) })
	s.answer("resolve", "/svc/redis", 200, addrJSON("10.0.0.1:1"))
	s.answer("resolve", "/svc/web", 200, addrJSON("10.0.0.2:2"))
	var log strings.Builder
	in := open(t, s, Options{Logger: hclog.New(&hclog.LoggerOptions{Output: &log})})
	in.Bind(t.Context(), path("/svc/web"))
	s.want(in.Bind(t.Context(), path("/svc/redis")), "{/svc/redis ok 10.0.0.1:1}")
	eventually(t, "many polls", func() bool { return len(s.asked("GET /api/1/resolve")) > 20 })
	if known, err := in.Known(); !known || err == nil || !strings.Contains(err.Error(), "502") {
		t.Errorf("known %v, %v", known, err)
	}
	s.refuseStreams(nil)
	s.stream("bind", "/svc/redis")
	eventually(t, "all well", func() bool { _, err := in.Known(); return err == nil })
	in.Close()
	lines := strings.Split(strings.TrimSpace(log.String()), "\n")
	if len(lines) != 2 || !strings.Contains(lines[0], "namerd has no streams for us") || !strings.Contains(lines[1], "namerd answers again") {
		t.Errorf("log:\n%s", log.String())
	}
}
