package metric

import (
	"context"
	"errors"
	"fmt"
	"math"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"

	"argosy/scheduler/law"
)

// agent is a metrics page.
type agent struct {
	*httptest.Server
	page atomic.Value
}

func newAgent(t *testing.T, page string) *agent {
	a := &agent{}
	a.page.Store(page)
	a.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch page := a.page.Load().(string); {
		case page == "hang":
			<-r.Context().Done()
		case page == "500":
			http.Error(w, "no", http.StatusInternalServerError)
		case r.URL.Path != "/metrics":
			http.NotFound(w, r)
		default:
			fmt.Fprint(w, page)
		}
	}))
	t.Cleanup(func() { a.CloseClientConnections(); a.Close() })
	return a
}

func (a *agent) address() string { return strings.TrimPrefix(a.URL, "http://") }

func connections(redis, web string) string {
	return "# TYPE argosy_connections_active gauge\nargosy_connections_active{listener=\"redis\",x=\"1\"} " + redis +
		"\nargosy_connections_active{listener=\"web\"} " + web + "\n"
}

// clock is moved by hand.
type clock struct{ now time.Time }

func (c *clock) read() time.Time { return c.now }

func scraper(t *testing.T, c *clock, targets func() ([]string, error)) *Scraper {
	return NewScraper(ScrapeOptions{Targets: targets, Timeout: 300 * time.Millisecond}, c.read, hclog.NewNullLogger())
}

func these(agents ...*agent) func() ([]string, error) {
	return func() (all []string, _ error) {
		for _, a := range agents {
			all = append(all, a.address())
		}
		return all, nil
	}
}

var active = Query{Metric: "argosy_connections_active", Match: map[string]string{"listener": "redis"}}

func TestSumOverTargets(t *testing.T) {
	a, b := newAgent(t, connections("3", "100")), newAgent(t, connections("4.5", "0"))
	c := &clock{time.Now()}
	s := scraper(t, c, these(a, b))
	if got := s.Sample(t.Context(), active); got.Problem != law.NoData {
		t.Errorf("before the first round: %+v", got)
	}
	s.round(t.Context())
	if got := s.Sample(t.Context(), active); got.Value != 7.5 || got.Partial || got.Problem != "" || !got.At.Equal(c.now) {
		t.Errorf("%+v", got)
	}
	if got := s.Sample(t.Context(), Query{Metric: "argosy_connections_active"}); got.Value != 107.5 {
		t.Errorf("without match: %+v", got)
	}
	a.page.Store(connections("NaN", "0"))
	s.round(t.Context())
	if got := s.Sample(t.Context(), active); !math.IsNaN(got.Value) {
		t.Errorf("NaN is hidden: %+v", got)
	}
	if got := s.Sample(t.Context(), Query{Expr: "sum(x)"}); got.Problem != law.QueryFailed {
		t.Errorf("an expression without Prometheus: %+v", got)
	}
}

// A target that does not answer keeps its value for a while, and makes the sum incomplete all the while.
func TestMissingTarget(t *testing.T) {
	for _, trouble := range []string{"500", "hang", "<html>", "argosy_connections_active{listener=\"redis\"} what\n", "gone"} {
		t.Run(trouble, func(t *testing.T) {
			a, b := newAgent(t, connections("3", "0")), newAgent(t, connections("4", "0"))
			c := &clock{time.Now()}
			s := scraper(t, c, these(a, b))
			s.round(t.Context())
			first := c.now
			if trouble == "gone" {
				a.Close()
			} else {
				a.page.Store(trouble)
			}
			c.now = c.now.Add(5 * time.Second)
			s.round(t.Context())
			if got := s.Sample(t.Context(), active); got.Value != 7 || !got.Partial || !got.At.Equal(first) || !strings.Contains(got.Detail, "1 of 2") {
				t.Errorf("after a moment: %+v", got)
			}
			c.now = c.now.Add(keepFor)
			s.round(t.Context())
			if got := s.Sample(t.Context(), active); got.Value != 4 || !got.Partial || !got.At.Equal(c.now) {
				t.Errorf("after a while: %+v", got)
			}
			if trouble != "gone" {
				a.page.Store(connections("5", "0"))
				s.round(t.Context())
				if got := s.Sample(t.Context(), active); got.Value != 9 || got.Partial {
					t.Errorf("back: %+v", got)
				}
			}
		})
	}
}

func TestAgentWithoutTheMetric(t *testing.T) {
	a := newAgent(t, connections("3", "0"))
	for _, page := range []string{
		"# TYPE other gauge\nother 1\n", "# TYPE argosy_connections_active gauge\nargosy_connections_active{listener=\"web\"} 1\n",
		"# TYPE argosy_connections_active counter\nargosy_connections_active{listener=\"redis\"} 1\n",
	} {
		s := scraper(t, &clock{time.Now()}, these(a, newAgent(t, page)))
		s.round(t.Context())
		if got := s.Sample(t.Context(), active); got.Value != 3 || !got.Partial {
			t.Errorf("%s: %+v", page, got)
		}
	}
}

// An agent that has not dialled a cluster yet has no gauge for it; but a name that nobody knows is a mistake.
func TestIdleAgent(t *testing.T) {
	const up = "# TYPE argosy_up gauge\nargosy_up 1\n"
	busy, idle := newAgent(t, up+connections("3", "0")), newAgent(t, up)
	s := scraper(t, &clock{time.Now()}, these(busy, idle))
	s.round(t.Context())
	if got := s.Sample(t.Context(), active); got.Value != 3 || got.Partial || got.Problem != "" {
		t.Errorf("%+v", got)
	}
	for _, q := range []Query{{Metric: "argosy_conections_active"}, {Metric: active.Metric, Match: map[string]string{"listener": "reddis"}}} {
		if got := s.Sample(t.Context(), q); got.Problem != law.NoData || !strings.Contains(got.Detail, "no target has") {
			t.Errorf("%v: %+v", q, got)
		}
	}
}

func TestTargetsComeAndGo(t *testing.T) {
	a, b := newAgent(t, connections("3", "0")), newAgent(t, connections("4", "0"))
	list, listErr := []string{a.address()}, error(nil)
	s := scraper(t, &clock{time.Now()}, func() ([]string, error) { return list, listErr })
	s.round(t.Context())
	list = []string{a.address(), b.address(), b.address()}
	s.round(t.Context())
	if got := s.Sample(t.Context(), active); got.Value != 7 || got.Partial {
		t.Errorf("two: %+v", got)
	}
	list = []string{b.address()}
	s.round(t.Context())
	if got := s.Sample(t.Context(), active); got.Value != 4 || got.Partial {
		t.Errorf("one: %+v", got)
	}
	listErr = errors.New("the file is broken")
	s.round(t.Context())
	if got := s.Sample(t.Context(), active); got.Value != 4 || !got.Partial || !strings.Contains(got.Detail, "broken") {
		t.Errorf("list unknown: %+v", got)
	}
	list, listErr = nil, nil
	s.round(t.Context())
	if got := s.Sample(t.Context(), active); got.Problem != law.NoData || got.Detail != "there are no targets" {
		t.Errorf("none: %+v", got)
	}
}

func TestRunEndsWithItsContext(t *testing.T) {
	a := newAgent(t, "hang")
	s := NewScraper(ScrapeOptions{Targets: these(a), Interval: 10 * time.Millisecond, Timeout: time.Hour}, time.Now, hclog.NewNullLogger())
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { defer close(done); s.Run(ctx) }()
	time.Sleep(20 * time.Millisecond)
	cancel()
	select {
	case <-done:
	case <-time.After(10 * time.Second):
		t.Fatal("still running")
	}
}

func TestTargetsFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "targets")
	if got, err := TargetsFile(path); err != nil || got != nil {
		t.Errorf("no file: %v, %v", got, err)
	}
	for text, want := range map[string][]string{
		"": nil,
		"127.0.0.1:2\n# none\n127.0.0.1:1 # a\n\n127.0.0.1:2":                       {"127.0.0.1:1", "127.0.0.1:2"},
		`[{"targets": ["a:2", "a:1"], "labels": {"x": "y"}}, {"targets": ["b:1"]}]`: {"a:1", "a:2", "b:1"},
		" []": {},
	} {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if got, err := TargetsFile(path); err != nil || !slices.Equal(got, want) {
			t.Errorf("%q: %v, %v", text, got, err)
		}
	}
	os.WriteFile(path, []byte(`[{"targets": `), 0o600)
	if _, err := TargetsFile(path); err == nil {
		t.Error("half a file: no error")
	}
}
