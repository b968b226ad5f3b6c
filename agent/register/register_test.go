package register

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hashicorp/consul/api"
	"github.com/hashicorp/go-hclog"
)

func quick(client *api.Client, logger hclog.Logger) *Registrar {
	return quickly(client, Options{Logger: logger})
}

func quickly(client *api.Client, o Options) *Registrar {
	r := New(client, o)
	r.timing = timing{request: 2 * time.Second, beat: 2 * time.Second, recheck: time.Second, grace: 500 * time.Millisecond, min: 10 * time.Millisecond,
		max: 50 * time.Millisecond, poll: 5 * time.Millisecond, nomad: 500 * time.Millisecond}
	return r
}

func eventually(t *testing.T, ask func() bool) {
	t.Helper()
	deadline := time.Now().Add(20 * time.Second)
	for !ask() {
		if time.Now().After(deadline) {
			t.Fatal("it did not happen")
		}
		time.Sleep(2 * time.Millisecond)
	}
}

// start runs r in the background, until the returned function is called or the test ends.
func start(t *testing.T, r *Registrar, services ...Service) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- r.Run(ctx, services) }()
	stop = sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(stop)
	return stop
}

func TestKeepsServicesRegistered(t *testing.T) {
	f, client := newFakeAgent(t)
	r := quick(client, hclog.NewNullLogger())
	web := Service{ID: "web-1", Name: "web", Address: "127.0.0.9", Port: 80, Tags: []string{"a"}, Meta: map[string]string{"version": "1"},
		Check: HTTP, CheckURL: "http://127.0.0.1:1/ready"}
	db := Service{ID: "db-1", Name: "db", Port: 81, Native: true}
	start(t, r, web, db)
	eventually(t, r.Registered)
	got := f.has("web-1")
	if c := got.Checks[0]; c.HTTP != web.CheckURL || c.Status != "passing" || c.Interval != "5s" || c.Timeout != "2s" || c.DeregisterCriticalServiceAfter != "10m0s" {
		t.Errorf("check: %+v", c)
	}
	if got.Connect != nil || f.has("db-1").Connect == nil || !f.has("db-1").Connect.Native || f.has("db-1").Checks != nil {
		t.Errorf("got %+v and %+v", got, f.has("db-1"))
	}
	if got := f.log(); got != "+web-1 +db-1" {
		t.Errorf("wrote %s", got)
	}

	// Lost, replaced, and lost in an outage.
	f.change(func() { delete(f.services, "web-1") })
	eventually(t, func() bool { return f.has("web-1") != nil })
	f.change(func() { f.services["web-1"] = &api.AgentServiceRegistration{ID: "web-1", Name: "web", Port: 9} })
	eventually(t, func() bool { return f.has("web-1").Port == 80 })
	f.change(func() { delete(f.services, "db-1") }) // not the one that is watched: found at the next look
	eventually(t, func() bool { return f.has("db-1") != nil })
	f.change(func() { f.down = true; clear(f.services) })
	eventually(t, func() bool { return !r.Registered() })
	f.change(func() { f.down = false })
	eventually(t, func() bool { return f.has("web-1") != nil && f.has("db-1") != nil && r.Registered() })

	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	if err := r.Deregister(ctx); err != nil {
		t.Fatal(err)
	}
	if f.has("web-1") != nil || f.has("db-1") != nil || r.Registered() {
		t.Error("still registered")
	}
	before := f.log()
	if err := r.Deregister(ctx); err != nil || f.log() != before {
		t.Errorf("the second time: %v, wrote %s", err, strings.TrimPrefix(f.log(), before))
	}
}

// A Consul that is told to stop answers what it holds back as if nothing had changed. It may come back without our services.
func TestLostWhileConsulRestarts(t *testing.T) {
	f, client := newFakeAgent(t)
	r := quick(client, hclog.NewNullLogger())
	r.timing.recheck = 5 * time.Minute
	start(t, r, Service{ID: "web-1", Name: "web", Port: 80})
	eventually(t, r.Registered)
	f.change(func() { f.stopping = true })
	eventually(t, func() bool {
		f.mu.Lock()
		defer f.mu.Unlock()
		return f.answered > 0
	})
	f.change(func() { f.stopping = false; clear(f.services) })
	eventually(t, func() bool { return f.has("web-1") != nil })
}

func TestAnotherRunTakesOutWhatIsNotWanted(t *testing.T) {
	f, client := newFakeAgent(t)
	r := quick(client, hclog.NewNullLogger())
	stop := start(t, r, Service{ID: "a", Name: "web", Port: 1}, Service{ID: "b", Name: "web", Port: 2})
	eventually(t, r.Registered)
	stop()
	if f.has("a") == nil {
		t.Fatal("gone with the end of Run")
	}
	stop = start(t, r, Service{ID: "b", Name: "web", Port: 3}, Service{ID: "c", Name: "web", Port: 4})
	eventually(t, func() bool { return f.has("c") != nil })
	if f.has("a") != nil || f.has("b").Port != 3 || f.has("c") == nil {
		t.Errorf("wrote %s", f.log())
	}
	stop()
	if got := f.log(); got != "+a +b -a +b +c" {
		t.Errorf("wrote %s", got)
	}
}

// A registration that is under way when we leave must not be what remains.
func TestDeregisterIsTheLastWord(t *testing.T) {
	f, client := newFakeAgent(t)
	slow := make(chan struct{})
	f.change(func() { f.slow = slow })
	r := quick(client, hclog.NewNullLogger())
	stop := start(t, r, Service{ID: "a", Name: "web", Port: 1})
	eventually(t, func() bool { return len(r.known(nil)) == 1 })
	time.AfterFunc(50*time.Millisecond, func() { close(slow) })
	if err := r.Deregister(t.Context()); err != nil {
		t.Fatal(err)
	}
	stop()
	time.Sleep(100 * time.Millisecond)
	if f.has("a") != nil {
		t.Errorf("wrote %s", f.log())
	}
}

func TestDeregisterIsBounded(t *testing.T) {
	f, client := newFakeAgent(t)
	r := quick(client, hclog.NewNullLogger())
	start(t, r, Service{ID: "a", Name: "web", Port: 1})
	eventually(t, r.Registered)
	f.change(func() { f.down = true })
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	began := time.Now()
	if err := r.Deregister(ctx); err == nil || time.Since(began) > 5*time.Second {
		t.Errorf("%v after %v", err, time.Since(began))
	}
	f.change(func() { f.down = false })
	if err := r.Deregister(t.Context()); err != nil || f.has("a") != nil {
		t.Errorf("afterwards: %v", err)
	}
}

func TestNothingToDeregister(t *testing.T) {
	f, client := newFakeAgent(t)
	if err := quick(client, hclog.NewNullLogger()).Deregister(t.Context()); err != nil || f.log() != "" {
		t.Errorf("%v, wrote %s", err, f.log())
	}
}

func TestWhatCannotBeRegistered(t *testing.T) {
	f, client := newFakeAgent(t)
	r := quick(client, hclog.NewNullLogger())
	for _, s := range [][]Service{
		{{ID: "", Name: "web"}}, {{ID: "a", Name: ""}}, {{ID: "_nomad-task-x", Name: "web"}}, {{ID: "a/b", Name: "web"}},
		{{ID: "a", Name: "web"}, {ID: "a", Name: "web"}}, {{ID: "a", Name: "web", Port: 70000}},
	} {
		if err := r.Run(t.Context(), s); err == nil {
			t.Errorf("%+v was accepted", s)
		}
	}
	if f.log() != "" {
		t.Errorf("wrote %s", f.log())
	}
}

func TestWarnsOfNomad(t *testing.T) {
	for _, c := range []struct {
		alloc, service string
		want           bool
	}{{"alloc1", "web", true}, {"alloc2", "web", false}, {"alloc1", "db", false}, {"", "web", false}} {
		f, client := newFakeAgent(t)
		f.nomad = nomadHasWeb
		var log sink
		r := quickly(client, Options{Logger: hclog.New(&hclog.LoggerOptions{Output: &log}), Alloc: c.alloc})
		stop := start(t, r, Service{ID: "x", Name: c.service, Port: 1}, Service{ID: "y", Name: "other", Port: 2})
		eventually(t, r.Registered)
		if c.want {
			eventually(t, func() bool { return strings.Contains(log.String(), "Nomad has registered") })
		}
		stop()
		if n := strings.Count(log.String(), "Nomad has registered"); n > 1 || (n == 1) != c.want {
			t.Errorf("%+v: %d warnings", c, n)
		}
	}
}

// nomadHasWeb is a node on which Nomad has registered web for the allocation alloc1.
const nomadHasWeb = `{"_nomad-task-alloc1-group-g-web-http": {"ID": "_nomad-task-alloc1-group-g-web-http", "Service": "web", "Port": 80}}`

type sink struct {
	mu sync.Mutex
	b  []byte
}

func (s *sink) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.b = append(s.b, p...)
	return len(p), nil
}

func (s *sink) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return string(slices.Clone(s.b))
}

func TestDeregisterEndsWithItsContext(t *testing.T) {
	f, client := newFakeAgent(t)
	never := make(chan struct{})
	t.Cleanup(func() { close(never) })
	f.change(func() { f.slow = never })
	r := quick(client, hclog.NewNullLogger())
	start(t, r, Service{ID: "a", Name: "web", Port: 1})
	eventually(t, func() bool { return len(r.known(nil)) == 1 })
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := r.Deregister(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
}
