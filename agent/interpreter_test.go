package agent

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"argosy/agent/config"
	"argosy/dtab"
	"argosy/internal/watch"
	"argosy/namer"
	"argosy/namerd/wire"
)

// bindingServer is as much of a namerd as binding takes: one tree for all names, which changes.
type bindingServer struct {
	tree  *watch.Cell[dtab.Tree[namer.Bound]]
	addrs map[string]namer.Addr
}

func (s *bindingServer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	flush := http.NewResponseController(w).Flush
	if strings.HasPrefix(r.URL.Path, "/api/1/addr/") {
		_, _ = w.Write(wire.Addr(s.addrs[r.URL.Query().Get("path")]))
		_ = flush()
		<-r.Context().Done()
		return
	}
	for t := range watch.Values(r.Context(), s.tree) {
		text, err := wire.Tree(t)
		if err != nil {
			return
		}
		_, _ = w.Write(append(text, '\n'))
		if flush() != nil || r.URL.Query().Get("watch") == "" {
			return
		}
	}
}

// leafTo is a tree of one name without its addresses, which come by themselves.
func leafTo(id string) dtab.Tree[namer.Bound] {
	return dtab.LeafOf(namer.Bound{ID: dtab.MustParsePath(id)})
}

// TestRemoteInterpreter: an agent without a table and namers goes where a namerd says, at once and when that changes,
// and stays there without the namerd.
func TestRemoteInterpreter(t *testing.T) {
	one, two := startBackend(t, "one"), startBackend(t, "two")
	endpoints := func(addr string) namer.Addr {
		return namer.Addr{Status: namer.OK, Endpoints: []namer.Endpoint{{Addr: addr, Weight: 1}}}
	}
	s := &bindingServer{
		tree:  watch.New(leafTo("/#/fs/one"), nil),
		addrs: map[string]namer.Addr{"/#/fs/one": endpoints(one.addr), "/#/fs/two": endpoints(two.addr)},
	}
	h := httptest.NewServer(s)
	defer h.Close()
	defer h.CloseClientConnections()

	cfg := baseConfig(nil)
	cfg.Dtab, cfg.Namers = config.Dtab{}, nil
	cfg.Interpreter = &config.Interpreter{Namerd: config.Namerd{Address: h.URL}, Namespace: "default", Mode: "auto", PollInterval: time.Second, MaxStreams: 10}
	cfg.Listeners = []config.Listener{listenerTo("redis", "/svc/redis")}
	p := startAgent(t, cfg)
	if _, who := p.dial("redis"); who != "one" {
		t.Fatalf("%s answers", who)
	}
	began := time.Now()
	s.tree.Set(leafTo("/#/fs/two"))
	eventually(t, "new connections go to two", func() bool {
		c, who := p.dial("redis")
		defer c.Close()
		return who == "two"
	})
	t.Logf("the shift took %v", time.Since(began))

	eventually(t, "the agent is healthy", func() bool { code, _ := p.get("/health"); return code == 200 })
	var routes RoutesInfo
	_, body := p.get("/v1/routes")
	if err := json.Unmarshal([]byte(body), &routes); err != nil {
		t.Fatal(err)
	}
	want := fmt.Sprintf("{%s default auto true 2 }", h.URL)
	if i := routes.Interpreter; i == nil || fmt.Sprint(*i) != want || routes.Destinations[0].Tree != "/#/fs/two" {
		t.Errorf("routes: %+v %s", i, body)
	}

	// This one does not tell how a name comes about, nor all of what another table would make of it.
	if code, body := p.get("/v1/explain?name=/svc/redis"); code != 200 || !strings.Contains(body, "is no explanation") || !strings.Contains(body, two.addr) {
		t.Errorf("explain: %d %s", code, body)
	}
	if code, body := p.post("/v1/plan", "/svc => /#/x"); code != 200 || !strings.Contains(body, `"verdict": "unknown"`) {
		t.Errorf("plan: %d %s", code, body)
	}

	staysWithout(t, p, cfg, h, "two")
}
