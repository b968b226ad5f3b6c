package register

import (
	"context"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/prometheus/client_golang/prometheus"
)

func ttlService(id string) Service {
	return Service{Listener: id, ID: id, Name: "web", Port: 80, Check: TTL, TTL: 90 * time.Millisecond}
}

// value is a metric's, 0 if there is none such.
func value(t *testing.T, reg *prometheus.Registry, name, labels string) float64 {
	t.Helper()
	families, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		if f.GetName() != name {
			continue
		}
		for _, m := range f.GetMetric() {
			var all []string
			for _, l := range m.GetLabel() {
				all = append(all, l.GetValue())
			}
			if strings.Join(all, " ") == labels {
				return m.GetGauge().GetValue() + m.GetCounter().GetValue()
			}
		}
	}
	return 0
}

func TestBeats(t *testing.T) {
	f, client := newFakeAgent(t)
	var ready atomic.Bool
	reg := prometheus.NewRegistry()
	r := quickly(client, Options{Registry: reg, Health: func() Health { return Health{Passing: ready.Load(), Output: "because"} }})
	start(t, r, ttlService("a"))
	time.Sleep(50 * time.Millisecond)
	if f.log() != "" {
		t.Errorf("registered before it was ready: %s", f.log())
	}
	ready.Store(true)
	eventually(t, func() bool { return f.beaten("a passing") >= 3 })
	if c := f.has("a").Checks[0]; c.TTL != "90ms" || c.Status != "passing" || c.CheckID != "service:a:ttl" || c.DeregisterCriticalServiceAfter != "10m0s" {
		t.Errorf("check: %+v", c)
	}
	if value(t, reg, "argosy_registration_state", "a passing") != 1 || value(t, reg, "argosy_registration_state", "a critical") != 0 ||
		value(t, reg, "argosy_registration_beat_timestamp_seconds", "a") < 1e9 {
		t.Error("the metrics do not say that it passes")
	}
	ready.Store(false)
	eventually(t, func() bool {
		return f.beaten("a critical") >= 1 && value(t, reg, "argosy_registration_state", "a critical") == 1
	})
	if f.has("a") == nil {
		t.Error("gone")
	}
	ready.Store(true)
	n := f.beaten("a passing")
	eventually(t, func() bool { return f.beaten("a passing") > n })
}

// Whether it can serve is told at once, not only when the TTL asks for it.
func TestChangesAreToldAtOnce(t *testing.T) {
	f, client := newFakeAgent(t)
	var ready atomic.Bool
	ready.Store(true)
	r := quickly(client, Options{Health: func() Health { return Health{Passing: ready.Load()} }})
	s := ttlService("a")
	s.TTL = time.Hour
	start(t, r, s)
	eventually(t, func() bool { return f.beaten("a passing") == 1 })
	ready.Store(false)
	eventually(t, func() bool { return f.beaten("a critical") == 1 })
	ready.Store(true)
	eventually(t, func() bool { return f.beaten("a passing") == 2 })
}

// A check that Consul does not know is put back at once, long before the next look.
func TestLostCheckIsRegisteredAgain(t *testing.T) {
	f, client := newFakeAgent(t)
	r := quick(client, hclog.NewNullLogger())
	r.timing.recheck = time.Hour
	start(t, r, ttlService("a"), ttlService("b"))
	eventually(t, func() bool { return f.beaten("b passing") > 0 })
	f.change(func() { delete(f.services, "b") }) // not the one that is watched
	eventually(t, func() bool { return f.has("b") != nil })
	n := f.beaten("b passing")
	eventually(t, func() bool { return f.beaten("b passing") > n })
	// The service is there, and the check is not.
	f.change(func() { bare := *f.services["b"]; bare.Checks = nil; f.services["b"] = &bare })
	eventually(t, func() bool { return len(f.has("b").Checks) == 1 })
}

// A request that hangs holds up no other service.
func TestBeatsAreApart(t *testing.T) {
	f, client := newFakeAgent(t)
	reg := prometheus.NewRegistry()
	r := quickly(client, Options{Registry: reg})
	r.timing.beat = 300 * time.Millisecond
	f.deaf = map[string]bool{"a": true}
	start(t, r, ttlService("a"), ttlService("b"))
	eventually(t, func() bool { return f.beaten("b passing") >= 10 })
	if n := value(t, reg, "argosy_registration_errors_total", "beat"); n > 5 { // one after the other it would be ten
		t.Errorf("%v beats of a failed meanwhile", n)
	}
	eventually(t, func() bool { return value(t, reg, "argosy_registration_errors_total", "beat") > 0 })
	f.change(func() { f.deaf = nil })
	eventually(t, func() bool { return f.beaten("a passing") > 0 })
}

func TestNewTokenRegistersAgain(t *testing.T) {
	f, client := newFakeAgent(t)
	var tokens atomic.Uint64
	r := quickly(client, Options{Tokens: tokens.Load})
	r.timing.recheck = time.Hour
	start(t, r, ttlService("a"))
	eventually(t, func() bool { return f.beaten("a passing") > 0 })
	tokens.Store(1)
	eventually(t, func() bool { return f.log() == "+a +a" })
	n := f.beaten("a passing")
	eventually(t, func() bool { return f.beaten("a passing") > n+3 })
	if f.log() != "+a +a" {
		t.Errorf("wrote %s", f.log())
	}
}

func TestWithdraw(t *testing.T) {
	f, client := newFakeAgent(t)
	reg := prometheus.NewRegistry()
	r := quickly(client, Options{Registry: reg})
	asked, plain, other := ttlService("b"), ttlService("c"), ttlService("d")
	asked.Check, plain.Check = HTTP, None
	start(t, r, ttlService("a"), asked, plain, other)
	eventually(t, r.Registered)
	eventually(t, func() bool { return f.beaten("a passing") > 0 })
	r.Forget([]string{"d"})
	if err := r.Withdraw(t.Context(), "draining"); err != nil {
		t.Fatal(err)
	}
	if f.beaten("a critical") != 1 || f.beaten("d critical") != 0 || value(t, reg, "argosy_registration_state", "a critical") != 1 {
		t.Errorf("beats %v", f.beats)
	}
	for _, id := range []string{"!b", "!c"} {
		if !strings.Contains(f.log(), id) {
			t.Errorf("no maintenance: %s", f.log())
		}
	}
	n := f.beaten("a passing")
	time.Sleep(100 * time.Millisecond)
	if f.beaten("a passing") != n {
		t.Error("it beats after it has withdrawn")
	}
	if f.has("a") == nil || f.has("b") == nil {
		t.Error("gone before Deregister")
	}
	if err := r.Deregister(t.Context()); err != nil || f.has("a") != nil || f.has("b") != nil || f.has("d") == nil {
		t.Errorf("%v, wrote %s", err, f.log())
	}
}

func TestWithdrawIsBounded(t *testing.T) {
	f, client := newFakeAgent(t)
	r := quick(client, hclog.NewNullLogger())
	start(t, r, ttlService("a"))
	eventually(t, func() bool { return f.beaten("a passing") > 0 })
	f.change(func() { f.deaf = map[string]bool{"a": true} })
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	began := time.Now()
	if err := r.Withdraw(ctx, "draining"); err == nil || time.Since(began) > 5*time.Second {
		t.Errorf("%v after %v", err, time.Since(began))
	}
}

// Another Run, after a reload, tells also that the agent is not ready.
func TestServicesOfAnAgentThatIsNotReady(t *testing.T) {
	f, client := newFakeAgent(t)
	var ready atomic.Bool
	ready.Store(true)
	r := quickly(client, Options{Health: func() Health { return Health{Passing: ready.Load()} }})
	stop := start(t, r, ttlService("a"))
	eventually(t, r.Registered)
	stop()
	ready.Store(false)
	start(t, r, ttlService("a"), ttlService("b"))
	eventually(t, func() bool { return f.beaten("b critical") > 0 })
	if got := fmt.Sprint(f.has("b").Checks[0].Status, " ", f.beaten("b passing")); got != "critical 0" {
		t.Error(got)
	}
}
