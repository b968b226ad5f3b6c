package fleet

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"argosy/dtab"
)

// fake answers as an agent does, with counters that a test sets.
type fake struct {
	*httptest.Server
	opened, failed, refused atomic.Int64
	down                    atomic.Bool
}

func startFake(t *testing.T) *fake {
	f := &fake{}
	f.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case f.down.Load():
			w.WriteHeader(http.StatusBadGateway)
		case r.URL.Path == "/v1/routes":
			fmt.Fprintf(w, `{"destinations":[{"name":%q,"refused":%d,"clusters":[{"cluster":"/#/a","opened":%d,"failed":%d,"endpoints":[{"open":2},{"open":1}]}]}]}`,
				r.URL.Query().Get("name"), f.refused.Load(), f.opened.Load(), f.failed.Load())
		case r.URL.Path == "/v1/plan":
			w.WriteHeader(http.StatusBadRequest)
			fmt.Fprint(w, `{"error":"the table: no"}`)
		default:
			fmt.Fprint(w, "hello")
		}
	}))
	t.Cleanup(f.Close)
	return f
}

func TestTraffic(t *testing.T) {
	t.Parallel()
	one, two := startFake(t), startFake(t)
	f, err := New([]string{one.URL + "/", two.URL, one.URL}, Options{})
	if err != nil || f.Size() != 2 {
		t.Fatal(f.Size(), err)
	}
	defer f.Close()
	one.opened.Store(100)
	two.opened.Store(50)
	traffic := f.Traffic("/svc/redis")
	if err := traffic.Begin(t.Context()); err != nil {
		t.Fatal(err)
	}
	look := func(want string) {
		t.Helper()
		s, err := traffic.Look(t.Context())
		if got := fmt.Sprintf("%+v", s); err != nil || got != want {
			t.Errorf("seen %s, %v, want %s", got, err, want)
		}
	}
	look("{Clusters:[{Cluster:/#/a Opened:0 Failed:0 Open:6}] Refused:0 Agents:2}")
	one.opened.Add(3)
	two.failed.Add(2)
	two.refused.Add(1)
	look("{Clusters:[{Cluster:/#/a Opened:3 Failed:2 Open:6}] Refused:1 Agents:2}")
	two.down.Store(true) // what it does meanwhile counts when it is back
	two.opened.Add(5)
	look("{Clusters:[{Cluster:/#/a Opened:3 Failed:2 Open:3}] Refused:1 Agents:1}")
	two.down.Store(false)
	one.opened.Store(1) // it has been started anew
	look("{Clusters:[{Cluster:/#/a Opened:9 Failed:2 Open:6}] Refused:1 Agents:2}")
	if err := traffic.Begin(t.Context()); err != nil {
		t.Fatal(err)
	}
	look("{Clusters:[{Cluster:/#/a Opened:0 Failed:0 Open:6}] Refused:0 Agents:2}")
	one.down.Store(true)
	two.down.Store(true)
	if _, err := traffic.Look(t.Context()); err == nil || !strings.Contains(err.Error(), "none of the agents answers: agent at "+one.URL+": answers 502") {
		t.Errorf("error %v", err)
	}
}

func TestAgentsThatRefuse(t *testing.T) {
	t.Parallel()
	one := startFake(t)
	gone := httptest.NewServer(nil)
	gone.Close()
	f, err := New([]string{one.URL, gone.URL}, Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	p := f.Plan(t.Context(), "default", dtab.Dtab{}, time.Second)
	if len(p.Agents) != 2 || p.Agents[0].Error != "the table: no" || !strings.HasPrefix(p.Agents[1].Error, "cannot be reached: ") || p.Counted() != 0 {
		t.Errorf("plan %+v", p.Agents)
	}
	if _, err := f.Explain(t.Context(), "/a", "", ""); err == nil || !strings.Contains(err.Error(), ErrNotAgent.Error()) {
		t.Errorf("error %v", err)
	}
	for _, bad := range []string{"", "ftp://x", "http://", "http://x?y", "::"} {
		if _, err := New([]string{bad}, Options{}); err == nil {
			t.Errorf("%q is taken", bad)
		}
	}
}

func TestWorst(t *testing.T) {
	t.Parallel()
	s := Seen{Clusters: []Counts{{"a", 97, 3, 0}, {"b", 1, 2, 0}, {"c", 1, 3, 0}}}
	if c, share := s.Worst(3); c.Cluster != "c" || share != 0.75 {
		t.Errorf("worst %+v %v", c, share)
	}
	if c, share := s.Worst(4); c.Cluster != "" || share != 0 {
		t.Errorf("worst %+v %v", c, share)
	}
}
