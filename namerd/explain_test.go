package namerd_test

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"argosy/dtab"
	"argosy/internal/explanation"
	"argosy/namer"
	"argosy/namer/static"
	"argosy/namerd"
	"argosy/namerd/names"
	"argosy/namerd/store"
)

// namesServer serves tables with a namer at /#/s that knows a and b.
func namesServer(t *testing.T, tables map[string]dtab.Dtab) string {
	t.Helper()
	services, err := static.New(map[string][]string{"a": {"10.0.0.1:1"}, "b": {"10.0.0.2:1", "10.0.0.3:1"}})
	if err != nil {
		t.Fatal(err)
	}
	s := store.NewMemory(tables)
	n := names.New(s, namer.Options{Mounts: []namer.Mount{{Prefix: dtab.MustParsePath("/#/s"), Namer: services}}}, nil)
	api := namerd.NewServer(s, namerd.Options{Names: n})
	server := httptest.NewServer(api.Handler())
	t.Cleanup(func() {
		api.Close()
		n.Close()
		server.Close()
	})
	return server.URL
}

func TestExplain(t *testing.T) {
	t.Parallel()
	table, err := dtab.Parse("/svc => /#/s ; /svc/w => 3 * /svc/a & /svc/b ; /loop => /loop")
	if err != nil {
		t.Fatal(err)
	}
	base := namesServer(t, map[string]dtab.Dtab{"default": table})
	get := func(ns, path, local string) (int, string) {
		t.Helper()
		r, err := http.Get(base + "/api/1/explain/" + ns + "?path=" + url.QueryEscape(path) + "&dtab=" + url.QueryEscape(local))
		if err != nil {
			t.Fatal(err)
		}
		defer r.Body.Close()
		body, err := io.ReadAll(r.Body)
		if err != nil {
			t.Fatal(err)
		}
		return r.StatusCode, string(body)
	}
	for _, c := range []struct {
		ns, path, local string
		status          int
		says            []string
	}{
		{"default", "/svc/w", "", 200, []string{`"kind":"union"`, `"share":0.75`, `"total":3`, `{"table":"stored","number":2,"prefix":"/svc/w","dst":"3.00*/svc/a & /svc/b"}`}},
		{"default", "/svc/w", "/svc/w => /svc/b", 200, []string{`"kind":"alt"`, `{"table":"request","number":1,"prefix":"/svc/w","dst":"/svc/b"}`, `"total":4`}},
		{"default", "/loop", "", 200, []string{`"kind":"exception"`, `Max recursion level reached.`, `"total":-1`}},
		{"nobody", "/svc/w", "", 200, []string{`"kind":"neg"`, `"trouble":"there is no namespace nobody: its table is empty"`}},
		{"default", "invalid", "", 400, []string{"Invalid path: invalid / '/' expected"}},
		{"default", "", "", 400, []string{"Invalid path: "}},
		{"default", "/a", "/a =>", 400, []string{"Invalid dtab: simple expected"}},
	} {
		status, body := get(c.ns, c.path, c.local)
		if status != c.status {
			t.Errorf("%s: status %d: %s", c.path, status, body)
		}
		for _, s := range c.says {
			if !strings.Contains(body, s) {
				t.Errorf("%s: no %s in %s", c.path, s, body)
			}
		}
		var x explanation.Explanation
		if err := json.Unmarshal([]byte(body), &x); status == 200 && (err != nil || x.Name != c.path || x.Namespace != c.ns) {
			t.Errorf("%s: reads as %+v, %v", c.path, x, err)
		}
	}
	plain := namerd.NewServer(store.NewMemory(nil), namerd.Options{})
	defer plain.Close()
	w := httptest.NewRecorder()
	plain.Handler().ServeHTTP(w, httptest.NewRequest("GET", "/api/1/explain/default?path=/a", nil))
	if w.Code != http.StatusNotImplemented {
		t.Errorf("without namers: %d", w.Code)
	}
}
