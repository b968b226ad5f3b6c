package look

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/alicebob/miniredis/v2"

	"argosy/demo/story"
)

func serve(t *testing.T, pages map[string]string) (address string) {
	t.Helper()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		text, ok := pages[r.URL.Path]
		if !ok {
			http.NotFound(w, r)
			return
		}
		fmt.Fprint(w, text)
	}))
	t.Cleanup(s.Close)
	return strings.TrimPrefix(s.URL, "http://")
}

func TestWhatEverybodySays(t *testing.T) {
	l := New()
	defer l.Close()

	one := serve(t, map[string]string{"/stats": `{"requests":10,"failed":1,"backends":{"redis1":{"open":2,"opened":5,"requests":9}}}`})
	two := serve(t, map[string]string{"/stats": `{"requests":5,"retried":2,"backends":{"redis1":{"open":1,"opened":1,"requests":1},"redis2":{"open":3,"opened":3,"requests":4}}}`})
	var o story.Observation
	if err := l.Webs(t.Context(), []string{one, two}, &o); err != nil {
		t.Fatal(err)
	}
	if o.Web.Requests != 15 || o.Web.Failed != 1 || o.Web.Retried != 2 ||
		o.Backends["redis1"].Connections != 3 || o.Backends["redis1"].Requests != 10 || o.Backends["redis2"].Opened != 3 {
		t.Errorf("got %+v", o)
	}
	if err := l.Webs(t.Context(), []string{serve(t, nil)}, &o); err == nil {
		t.Error("no error for a web server without /stats")
	}

	agent := serve(t, map[string]string{"/metrics": `# TYPE argosy_connections_active gauge
argosy_connections_active{listener="a"} 3
argosy_connections_active{listener="b"} 4
# TYPE argosy_connections_opened_total counter
argosy_connections_opened_total{listener="a"} 30
# TYPE process_start_time_seconds gauge
process_start_time_seconds 1700000000.5
`})
	var i story.Instance
	l.Agent(t.Context(), agent, &i)
	if i.Connections != 7 || i.Opened != 30 || i.Started.UnixMilli() != 1700000000500 || i.Problem != "" {
		t.Errorf("got %+v", i)
	}
	var gone story.Instance
	l.Agent(t.Context(), "127.0.0.1:1", &gone)
	if gone.Problem == "" {
		t.Error("no problem although nobody answers")
	}
}

func TestRedisIsAskedAgainAfterARestart(t *testing.T) {
	l := New()
	defer l.Close()
	m := miniredis.RunT(t)
	var b story.Backend
	l.Redis(t.Context(), m.Addr(), &b)
	if b.Commands < 1 || b.Received < 1 {
		t.Errorf("got %+v", b)
	}
	address := m.Addr()
	m.Close()
	if l.Redis(t.Context(), address, &b); b.Commands != -1 {
		t.Errorf("got %+v from nobody", b)
	}
	if err := m.StartAddr(address); err != nil {
		t.Fatal(err)
	}
	if l.Redis(t.Context(), address, &b); b.Commands < 1 {
		t.Errorf("got %+v after the restart", b)
	}
}
