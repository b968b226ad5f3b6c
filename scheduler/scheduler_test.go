package scheduler

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/prometheus/client_golang/prometheus"

	"argosy/scheduler/config"
	"argosy/scheduler/discovery"
	"argosy/scheduler/law"
	"argosy/scheduler/policies"
	"argosy/scheduler/target"
	"argosy/scheduler/target/nomad/nomadtest"
	"argosy/scheduler/target/process"
)

// logs collects a log; safe for several goroutines.
type logs struct {
	mu sync.Mutex
	strings.Builder
}

func (l *logs) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.Builder.Write(p)
}
func (l *logs) String() string { l.mu.Lock(); defer l.mu.Unlock(); return l.Builder.String() }

// gauge is an agent whose load a test sets; an empty one answers 500.
type gauge struct {
	*httptest.Server
	mu    sync.Mutex
	value string
}

func newGauge(t *testing.T, value string) *gauge {
	g := &gauge{value: value}
	g.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		g.mu.Lock()
		defer g.mu.Unlock()
		if g.value == "" {
			http.Error(w, "no", http.StatusInternalServerError)
			return
		}
		fmt.Fprintf(w, "# TYPE load gauge\nload %s\n", g.value)
	}))
	t.Cleanup(g.Close)
	return g
}

func (g *gauge) set(value string) { g.mu.Lock(); defer g.mu.Unlock(); g.value = value }

// running is a scheduler that runs for the length of a test.
type fixture struct {
	*Scheduler
	t    *testing.T
	url  string
	logs *logs
	end  func() error
}

func configure(t *testing.T, text string) *config.Config {
	t.Helper()
	path := filepath.Join(t.TempDir(), "s.hcl")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	c, err := config.Load([]string{path})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func run(t *testing.T, text string, deps Deps) *fixture {
	t.Helper()
	f := &fixture{t: t, logs: &logs{}}
	deps.Logger = hclog.New(&hclog.LoggerOptions{Output: f.logs, Level: hclog.Debug})
	deps.Registry = prometheus.NewRegistry()
	s, err := New(configure(t, text), deps)
	if err != nil {
		t.Fatal(err)
	}
	f.Scheduler = s
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- s.Run(ctx) }()
	f.end = sync.OnceValue(func() error { cancel(); return <-ended })
	t.Cleanup(func() {
		if err := f.end(); err != nil {
			t.Error(err)
		}
		if t.Failed() {
			t.Log(f.logs.String())
		}
	})
	f.url = "http://" + s.Address(t.Context())
	return f
}

func (f *fixture) get(path string, v any) int {
	f.t.Helper()
	resp, err := http.Get(f.url + path)
	if err != nil {
		f.t.Fatal(err)
	}
	defer resp.Body.Close()
	body, _ := io.ReadAll(resp.Body)
	if s, ok := v.(*string); ok {
		*s = string(body)
	} else if err := json.Unmarshal(body, v); err != nil {
		f.t.Errorf("%s: %v in %s", path, err, body)
	}
	return resp.StatusCode
}

// decided waits for the newest decision of a policy to be as wanted.
func (f *fixture) decided(policy, what string, ok func(Entry) bool) Entry {
	f.t.Helper()
	ctx, cancel := context.WithTimeout(f.t.Context(), 20*time.Second)
	defer cancel()
	for {
		all, superseded := f.Decisions().Load()
		i := slices.IndexFunc(all, func(e Entry) bool { return e.Policy == policy })
		if i >= 0 && ok(all[i]) {
			return all[i]
		}
		select {
		case <-superseded:
		case <-ctx.Done():
			f.t.Fatalf("%s: not %s: %+v\n%s", policy, what, all, f.logs.String())
		}
	}
}

func held(n int, r law.Reason) func(Entry) bool {
	return func(e Entry) bool { return e.Action == law.Hold && e.Current == n && e.Reason == r }
}

const laptop = `
	evaluation_interval = "100ms"
	http { address = "127.0.0.1:0" }
	scrape { 
		targets = [env("TARGET")]
		interval = "100ms"
	}
	policy "fleet" {
		target "process" { name = "proxy" }
		metric = "load"
		target_value = 10
		max = 4
		cooldown_up = "0s"
		cooldown_down = "300ms"
		max_age = "2s"
	}`

// sleepers is a process group for the scheduler.
func sleepers(t *testing.T) (*process.Group, func(string) target.Target) {
	g := process.New(process.Spec{Name: "proxy", Command: []string{"sleep", "1000"}}, hclog.NewNullLogger())
	if err := g.Start(); err != nil {
		t.Fatal(err)
	}
	if err := g.Scale(1); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { g.Stop(context.Background()) })
	return g, func(name string) target.Target {
		if name != "proxy" {
			return nil
		}
		return process.NewTarget(g)
	}
}

func TestProcessesFollowTheLoad(t *testing.T) {
	load := newGauge(t, "5")
	t.Setenv("TARGET", load.URL)
	g, targets := sleepers(t)
	f := run(t, laptop, Deps{Targets: targets, SD: func() []discovery.Group { return []discovery.Group{{Targets: []string{"x:1"}}} }})

	f.decided("fleet", "content", held(1, law.OnTarget))
	load.set("35")
	f.decided("fleet", "grown", held(4, law.OnTarget))
	if n := g.Count(); n != 4 {
		t.Errorf("%d processes, want 4", n)
	}
	f.decided("fleet", "running", func(e Entry) bool { return e.Running == 4 })
	load.set("")
	f.decided("fleet", "holding without an answer", held(4, law.Stale))
	load.set("NaN")
	f.decided("fleet", "holding on NaN", held(4, law.NotANumber))
	load.set("12")
	f.decided("fleet", "shrunk", held(2, law.OnTarget))
	load.set("400")
	f.decided("fleet", "at max", held(4, law.AtMax))

	var metrics string
	f.get("/metrics", &metrics)
	for _, want := range []string{
		`argosy_scheduler_desired{policy="fleet"} 4`, `argosy_scheduler_target_value{policy="fleet"} 10`,
		`argosy_scheduler_metric_value{policy="fleet"} 400`, `argosy_scheduler_current{policy="fleet"}`,
		`argosy_scheduler_decisions_total{action="up",policy="fleet",reason="above_target"}`,
		`argosy_scheduler_decisions_total{action="down",policy="fleet",reason="below_target"}`,
		`argosy_scheduler_decisions_total{action="hold",policy="fleet",reason="not_a_number"}`,
		`argosy_scheduler_scale_errors_total{policy="fleet"} 0`, `argosy_scheduler_metric_age_seconds{policy="fleet"}`,
	} {
		if !strings.Contains(metrics, want) {
			t.Errorf("no %s in\n%s", want, metrics)
		}
	}
	for _, want := range []string{"[INFO]  count changed: policy=fleet reason=above_target", "[WARN]  count held: policy=fleet reason=not_a_number", "[INFO]  count changed: policy=fleet reason=below_target"} {
		if !strings.Contains(f.logs.String(), want) {
			t.Errorf("not logged: %s", want)
		}
	}

	var decisions []Entry
	if f.get("/v1/decisions?limit=3", &decisions); len(decisions) != 3 || decisions[0].Reason != law.AtMax || decisions[0].Text == "" {
		t.Errorf("%+v", decisions)
	}
	if f.get("/v1/decisions?policy=other", &decisions); len(decisions) != 0 {
		t.Errorf("%+v", decisions)
	}
	var text string
	if code := f.get("/v1/decisions?limit=0", &text); code != http.StatusBadRequest {
		t.Errorf("%d for limit=0", code)
	}
	var groups []discovery.Group
	if f.get("/v1/sd", &groups); len(groups) != 2 || groups[1].Targets[0] != "x:1" {
		t.Errorf("%+v", groups)
	}
	var list struct {
		Policies []struct {
			Name, Target, Query string
			Max                 int
			Decision            *Entry
		}
	}
	if f.get("/v1/policies", &list); len(list.Policies) != 1 || list.Policies[0].Target != "process proxy" || list.Policies[0].Query != "load" || list.Policies[0].Decision == nil {
		t.Errorf("%+v", list)
	}
	if code := f.get("/health", &text); code != http.StatusOK {
		t.Errorf("health %d: %s", code, text)
	}
	if err := f.end(); err != nil {
		t.Error(err)
	}
	if n := g.Count(); n != 4 {
		t.Errorf("ending the scheduler made it %d", n)
	}
}

func TestReload(t *testing.T) {
	load := newGauge(t, "35")
	t.Setenv("TARGET", load.URL)
	_, targets := sleepers(t)
	text := laptop
	f := run(t, text, Deps{Targets: targets})
	f.decided("fleet", "grown", held(4, law.OnTarget))

	for _, bad := range []string{
		strings.Replace(text, "127.0.0.1:0", "127.0.0.1:1", 1),
		strings.Replace(text, `name = "proxy"`, `name = "other"`, 1),
	} {
		if err := f.Reload(configure(t, bad)); err == nil {
			t.Error("a bad configuration was taken")
		}
	}
	f.decided("fleet", "as before", held(4, law.OnTarget))
	if err := f.Reload(configure(t, strings.Replace(text, "max = 4", "max = 3", 1))); err != nil {
		t.Fatal(err)
	}
	f.decided("fleet", "at the new max", held(3, law.AtMax))
	// The clock of the cooldown goes on over a reload.
	m := f.recall(configure(t, text).Policies[0])
	m.mu.Lock()
	forgotten := m.state.LastUp.IsZero()
	m.mu.Unlock()
	if forgotten {
		t.Error("the reload has forgotten the last step")
	}
	if err := f.Reload(configure(t, strings.Replace(text, `policy "fleet"`, `policy "renamed"`, 1))); err != nil {
		t.Fatal(err)
	}
	f.decided("renamed", "there", func(Entry) bool { return true })
	var metrics string
	f.get("/metrics", &metrics)
	if strings.Contains(metrics, `policy="fleet"`) {
		t.Error("metrics of a policy that is gone")
	}
	f.end()
	if err := f.Reload(configure(t, text)); err == nil {
		t.Error("reloaded after the end")
	}
}

func TestTargetsThatDoNotExist(t *testing.T) {
	t.Setenv("TARGET", "127.0.0.1:1")
	for _, targets := range []func(string) target.Target{nil, func(string) target.Target { return nil }} {
		_, err := New(configure(t, laptop), Deps{Logger: hclog.NewNullLogger(), Registry: prometheus.NewRegistry(), Targets: targets})
		if err == nil || !strings.Contains(err.Error(), "policy fleet at") {
			t.Errorf("got %v", err)
		}
	}
}

const cluster = `
	evaluation_interval = "100ms"
	http { address = "127.0.0.1:0" }
	nomad { address = env("NOMAD") }
	jobs {}
	scrape { 
		targets = [env("TARGET")]
		interval = "100ms"
	}
	policy "fleet" {
		target "nomad" { 
			job = "fleet" 
			group = "g"
		}
		metric = "load"
		target_value = 10
		max = 4
		cooldown_up = "0s"
		cooldown_down = "300ms"
		max_age = "2s"
	}`

func TestJobsFollowTheLoad(t *testing.T) {
	load, s := newGauge(t, "35"), nomadtest.New(t)
	t.Setenv("TARGET", load.URL)
	t.Setenv("NOMAD", s.URL)
	s.Register(nomadtest.Job("fleet", "g", 1))
	f := run(t, cluster, Deps{})
	f.decided("fleet", "grown", held(4, law.OnTarget))
	if n := len(s.Calls()); n != 1 {
		t.Errorf("%d calls for one step", n)
	}
	if m := s.Calls()[0]; !strings.Contains(m.Message, "argosy policy fleet: above_target") || m.Meta["reason"] != "above_target" || m.Meta["value"] != 35.0 {
		t.Errorf("%+v", m)
	}
	// During a deployment the wish is kept, and granted afterwards.
	s.Deploy("fleet", "running", 0)
	load.set("12")
	f.decided("fleet", "waiting", held(4, law.Deploying))
	s.Deploy("fleet", "successful", 0)
	f.decided("fleet", "shrunk", held(2, law.OnTarget))

	// A job's own policy joins, a bad one and one for the same target do not.
	own := func(id string, policy map[string]any) {
		j := nomadtest.Job(id, "g", 1)
		if policy != nil {
			j.TaskGroups[0].Scaling = nomadtest.Scaling(1, 3, policy)
		}
		s.Register(j)
	}
	own("web", map[string]any{"scheduler": "argosy", "metric": "load", "target_value": 5})
	own("bad", map[string]any{"scheduler": "argosy", "metric": "load"})
	f.decided("default/web/g", "at work", held(3, law.OnTarget))
	var list struct {
		Policies []struct{ Name string }
		Problems []policies.Problem
	}
	listed := func(policies, problems int) {
		t.Helper()
		for end := time.Now().Add(15 * time.Second); ; time.Sleep(10 * time.Millisecond) {
			if f.get("/v1/policies", &list); len(list.Policies) == policies && len(list.Problems) == problems {
				return
			}
			if time.Now().After(end) {
				t.Fatalf("not %d policies and %d problems: %+v", policies, problems, list)
			}
		}
	}
	listed(2, 1)
	if list.Problems[0].Policy != "default/bad/g" {
		t.Errorf("%+v", list)
	}
	if !strings.Contains(f.logs.String(), "policy is not used: policy=default/bad/g") {
		t.Error("the bad policy is not logged")
	}
	own("web", nil)
	listed(1, 1)
}

// Failing calls become few, and none is needed any more once it works again.
func TestFailingCallsAreRationed(t *testing.T) {
	load, s := newGauge(t, "35"), nomadtest.New(t)
	t.Setenv("TARGET", load.URL)
	t.Setenv("NOMAD", s.URL)
	s.Register(nomadtest.Job("fleet", "g", 1))
	tries := 0
	s.Break(func(r *http.Request) int {
		if r.Method == http.MethodPut {
			tries++
			return http.StatusInternalServerError
		}
		return 0
	})
	f := run(t, strings.Replace(cluster, "jobs {}", "", 1), Deps{})
	f.decided("fleet", "failing", held(1, law.ScaleFailed))
	f.decided("fleet", "backing off", held(1, law.Backoff))
	time.Sleep(time.Second)
	s.Break(nil)
	if tries != freeFailures {
		t.Errorf("%d calls, want %d", tries, freeFailures)
	}
	f.decided("fleet", "grown", held(4, law.OnTarget))
	var metrics string
	f.get("/metrics", &metrics)
	if !strings.Contains(metrics, fmt.Sprintf(`argosy_scheduler_scale_errors_total{policy="fleet"} %d`, freeFailures)) {
		t.Error("the failures are not counted")
	}
}

func TestOneTargetOneMaster(t *testing.T) {
	own := []policies.Policy{{Name: "fleet", Origin: "s.hcl:1:1", Target: policies.Ref{Kind: "nomad", Job: "a"}}}
	theirs := policies.Snapshot{Policies: []policies.Policy{
		{Name: "default/a/g", Target: policies.Ref{Kind: "nomad", Job: "a"}}, {Name: "default/b/g", Target: policies.Ref{Kind: "nomad", Job: "b"}}}}
	wanted, problems := merge(own, theirs)
	if len(wanted) != 2 || wanted[1].Name != "default/b/g" || len(problems) != 1 || !strings.Contains(problems[0].Error, "policy fleet at s.hcl:1:1") {
		t.Errorf("%+v, %+v", wanted, problems)
	}
}
