package register

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/consul/api"
	"github.com/hashicorp/go-hclog"
	"github.com/prometheus/client_golang/prometheus"
)

func webBy(registration string) Service {
	s := ttlService("web-1")
	s.Listener, s.Registration = "in", registration
	return s
}

// TestWhoRegisters: what Nomad has registered for this allocation is left to it.
func TestWhoRegisters(t *testing.T) {
	for _, c := range []struct {
		what, registration, alloc, has string
		writes, state                  string
	}{
		{"Nomad's", Auto, "alloc1", nomadHasWeb, "", "external"},
		{"another allocation's", Auto, "alloc2", nomadHasWeb, "+web-1", "passing"},
		{"not in Nomad", Auto, "", nomadHasWeb, "+web-1", "passing"},
		{"another service", Auto, "alloc1", strings.ReplaceAll(nomadHasWeb, `"Service": "web"`, `"Service": "db"`), "+web-1", "passing"},
		{"in any case", Self, "alloc1", nomadHasWeb, "+web-1", "passing"},
		{"unless said", "", "alloc1", nomadHasWeb, "+web-1", "passing"},
		{"never", External, "alloc1", nomadHasWeb, "", "external"},
		{"never, and it is missing", External, "alloc2", nomadHasWeb, "", "missing"},
		{"never, by address", External, "", nomadHasWeb, "", "external"},
		{"never, by another port", External, "", strings.ReplaceAll(nomadHasWeb, "80", "81"), "", "missing"},
	} {
		t.Run(c.what, func(t *testing.T) {
			f, client := newFakeAgent(t)
			f.nomad = c.has
			reg := prometheus.NewRegistry()
			r := quickly(client, Options{Registry: reg, Alloc: c.alloc})
			start(t, r, webBy(c.registration))
			eventually(t, func() bool { return value(t, reg, "argosy_registration_state", "in "+c.state) == 1 })
			if f.log() != c.writes {
				t.Errorf("wrote %q", f.log())
			}
			if err := r.Withdraw(t.Context(), "draining"); err != nil {
				t.Error(err)
			}
			if err := r.Deregister(t.Context()); err != nil {
				t.Error(err)
			}
			if c.writes == "" && f.log() != "" {
				t.Errorf("wrote %q to what is not ours", f.log())
			}
		})
	}
}

// Nomad registers the services of a task a moment after it has started the task.
func TestNomadIsGivenTime(t *testing.T) {
	f, client := newFakeAgent(t)
	f.change(func() { f.down = true })
	reg := prometheus.NewRegistry()
	r := quickly(client, Options{Registry: reg, Alloc: "alloc1"})
	r.timing.nomad = time.Minute
	start(t, r, webBy(Auto))
	time.Sleep(50 * time.Millisecond)
	f.change(func() { f.down = false })
	time.Sleep(50 * time.Millisecond)
	f.change(func() { f.nomad = nomadHasWeb })
	eventually(t, func() bool { return value(t, reg, "argosy_registration_state", "in external") == 1 })
	if f.log() != "" {
		t.Errorf("wrote %s", f.log())
	}
	f.change(func() { f.nomad = "{}" })
	eventually(t, func() bool { return value(t, reg, "argosy_registration_state", "in missing") == 1 })
	if f.log() != "" { // Nomad may be about to stop us
		t.Errorf("wrote %s", f.log())
	}
}

// With one name for two ports, Nomad's is the one with its port.
func TestServicesOfOneName(t *testing.T) {
	f, client := newFakeAgent(t)
	f.nomad = nomadHasWeb
	r := quickly(client, Options{Alloc: "alloc1", Logger: hclog.NewNullLogger()})
	one, two := webBy(Auto), webBy(Auto)
	two.ID, two.Port, two.Listener = "web-2", 81, "more"
	start(t, r, one, two)
	eventually(t, r.Registered)
	if f.log() != "+web-2" {
		t.Errorf("wrote %s", f.log())
	}
	// What is ours already stays so without a pause.
	r.timing.nomad = time.Hour
	own, others := r.divide(t.Context(), []Service{two})
	if len(own) != 1 || len(others) != 0 {
		t.Errorf("%v %v", own, others)
	}
}

func TestRegistrationInConsulsWords(t *testing.T) {
	s := Service{ID: "a", Name: "web", Port: 80, Check: TTL, CheckTCP: "127.0.0.1:80"}
	reg := registration(s, false)
	if len(reg.Checks) != 2 || reg.Check != nil {
		t.Fatalf("%+v", reg.Checks)
	}
	for i, want := range []api.AgentServiceCheck{
		{CheckID: "service:a:ttl", Name: "can serve", TTL: "30s", Status: "critical", DeregisterCriticalServiceAfter: "10m0s"},
		{CheckID: "service:a:tcp", Name: "accepts connections", TCP: "127.0.0.1:80", Interval: "5s", Timeout: "2s", Status: "critical"},
	} {
		got := *reg.Checks[i]
		if got.CheckID != want.CheckID || got.Name != want.Name || got.TTL != want.TTL || got.TCP != want.TCP || got.Status != want.Status ||
			got.Interval != want.Interval || got.Timeout != want.Timeout || got.DeregisterCriticalServiceAfter != want.DeregisterCriticalServiceAfter {
			t.Errorf("got %+v, want %+v", got, want)
		}
	}
	if !slices.ContainsFunc(registration(s, true).Checks, func(c *api.AgentServiceCheck) bool { return c.Status == "passing" }) {
		t.Error("not passing")
	}
	s.Check, s.CheckTCP = None, ""
	if reg := registration(s, true); len(reg.Checks) != 0 {
		t.Errorf("%+v", reg.Checks)
	}
	s.CheckTCP, s.Native = "127.0.0.1:80", true
	if check([]Service{s}) == nil {
		t.Error("a TCP check of a Connect port is accepted")
	}
}
