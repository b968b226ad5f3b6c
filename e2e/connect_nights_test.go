//go:build servers

package e2e

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"syscall"
	"testing"
	"time"

	"argosy/e2e/stack"
)

// only answers some requests, by a part of their path, and lets the rest through.
func (m *mischief) only(part string, do http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if strings.Contains(r.URL.Path, part) {
			do(w, r)
		} else {
			m.honest(w, r)
		}
	}
}

// slow answers after a while.
func (m *mischief) slow(by time.Duration) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		select {
		case <-r.Context().Done():
		case <-time.After(by):
			m.honest(w, r)
		}
	}
}

// busy asks to be left alone.
func busy(after string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if after != "" {
			w.Header().Set("Retry-After", after)
		}
		http.Error(w, "Your IP is issuing too many concurrent connections, please rate limit your calls", http.StatusTooManyRequests)
	}
}

// TestConnectMischief: whatever answers in Consul's stead, Connect goes on as it was.
func TestConnectMischief(t *testing.T) {
	t.Parallel()
	s := stack.New(t, stack.Options{Consul: true})
	d := startDays(t, s, daysOptions{})
	const json = "application/json"
	cases := mischiefs()
	for _, name := range []string{"404", "html with index", "drip"} { // tried for names alone; they are no worse here
		delete(cases, name)
	}
	cases["429"] = busy("")
	cases["429 with Retry-After"] = busy("1")
	cases["500"] = answer(500, "", "text/plain", "No cluster leader")
	cases["{}"] = answer(200, "9", json, "{}")
	cases["403 to match"] = d.m.only("/intentions/match", answer(403, "", "text/plain", "Permission denied"))
	cases["no intentions, index 1"] = d.m.only("/intentions/match", answer(200, "1", json, `{"proxy":null}`))
	cases["authorize says nothing"] = d.m.only("/connect/authorize", answer(200, "", json, "{}"))
	cases["roots that do not parse"] = d.m.only("/ca/roots", answer(200, "9", json, `{"TrustDomain":"x.consul","Roots":[null]}`))
	cases["leaf that does not parse"] = d.m.only("/ca/leaf", answer(200, "9", json, `{"CertPEM":"x","PrivateKeyPEM":"y"}`))
	for name, do := range cases {
		d.try(t, name, 800*time.Millisecond, func() { d.m.become(do) }, func() { d.m.become(nil) })
	}
	d.try(t, "empty, index 1, once", time.Second, func() {
		d.m.become(cases["empty, index 1"])
		pause(t, 50*time.Millisecond)
		d.m.become(nil)
	}, func() {})
}

// TestConnectWire: the way to Consul is cut, or swallows what is sent, or resets, or is slow; and 50 times in a row.
func TestConnectWire(t *testing.T) {
	t.Parallel()
	s := stack.New(t, stack.Options{Consul: true})
	d := startDays(t, s, daysOptions{})
	for _, state := range []wireState{refuses, swallow, resets} {
		d.try(t, string(state), 3*time.Second, func() { d.wires(t, state) }, func() { d.wires(t, passes) })
	}
	d.try(t, "answers after 10 s", 12*time.Second, func() { d.m.become(d.m.slow(10 * time.Second)) }, func() { d.m.become(nil) })

	d.load.stop()
	d.load.wg.Wait()
	d.canary.stop()
	d.canary.wg.Wait()
	pause(t, time.Second)
	agents := []*agent{d.dials, d.accepts}
	var goroutines, descriptors [2]float64
	count := func() (g, fds [2]float64) {
		for i, a := range agents {
			g[i], fds[i] = a.gauge(t, "go_goroutines"), a.gauge(t, "process_open_fds")
		}
		return g, fds
	}
	goroutines, descriptors = count()
	const outages = 50
	states := []wireState{refuses, resets, swallow}
	for i := range outages {
		d.wires(t, states[i%len(states)])
		pause(t, 100*time.Millisecond)
		d.wires(t, passes)
		pause(t, 100*time.Millisecond)
	}
	took := d.followed(t, "50 outages")
	d.held.check(t, "50 outages")
	var g, fds [2]float64
	within(t, "as many goroutines and descriptors as before", func(context.Context) error {
		g, fds = count()
		for i, a := range agents {
			if g[i] > goroutines[i]+15 || fds[i] > descriptors[i]+15 {
				return fmt.Errorf("%s: goroutines %v, then %v; descriptors %v, then %v", a.Name, goroutines[i], g[i], descriptors[i], fds[i])
			}
		}
		return nil
	})
	t.Logf("%d outages: followed after %s; of the agent that dials, and of the one that accepts: goroutines %v, then %v; descriptors %v, then %v", outages, took,
		goroutines, g, descriptors, fds)
}

// TestConnectConsulRestarted stops Consul, which keeps its data, kindly and otherwise. A process that is to take over from an
// agent meanwhile leaves it alone. An agent that is restarted knows all names from its snapshots, but its certificate was only in
// memory, so it serves when Consul is back.
func TestConnectConsulRestarted(t *testing.T) {
	t.Parallel()
	s := stack.New(t, stack.Options{ConsulKeeps: true})
	d := startDays(t, s, daysOptions{})
	listen, other := s.Addr(), s.Addr()
	hcl := dialsHCL(d.dialsWires[0].Addr, "", listen, other, s.Path("snapshots")) + fmt.Sprintf("handover {\n  socket = %q\n}\n", s.Path("handover"))
	late := startAgent(t, s, "late", hcl)
	within(t, "the third agent serves", func(ctx context.Context) error { return connectOnce(ctx, listen) })
	back := func() {
		if err := s.Consul.Restart(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	d.try(t, "SIGTERM", 3*time.Second, func() {
		if err := s.Consul.Stop(); err != nil {
			t.Error(err)
		}
		d.dials.signal(t, syscall.SIGHUP) // a reload does not lose the identity
		next := launchAgent(t, s, "next", hcl)
		within(t, "it waits for an identity", func(context.Context) error {
			if !strings.Contains(next.Output(), "the process before this one goes on meanwhile") {
				return errors.New("it does not say so")
			}
			return nil
		})
		next.signal(t, syscall.SIGTERM)
		next.ends(t, 0)
		if err := connectOnce(t.Context(), listen); err != nil {
			t.Errorf("the process that was to be replaced: %v", err)
		}
	}, back)
	d.try(t, "SIGKILL", 3*time.Second, func() {
		s.Consul.Kill()
		late.signal(t, syscall.SIGTERM)
		late.ends(t, 0)
		late = launchAgent(t, s, "late", hcl)
		within(t, "it says what it lacks", func(ctx context.Context) error {
			_, body, err := get(ctx, "http://"+late.Admin+"/health")
			if err == nil && (!strings.Contains(body, "no certificate from Consul yet") || strings.Contains(body, "table")) {
				err = fmt.Errorf("health: %s", body)
			}
			return err
		})
		if err := denied(t.Context(), listen); err != nil {
			t.Errorf("without an identity: %v", err)
		}
	}, back)
	took := within(t, "the third agent serves", func(ctx context.Context) error { return connectOnce(ctx, listen) })
	t.Logf("an agent started without Consul served %s after the changes were followed", took.Round(time.Millisecond))
}

// TestConnectConsulLost takes all data from Consul, twice: it comes back with another trust domain and another authority, and
// without intentions. One agent hears of it long before the other. Those who were denied stay denied. One of the agents has
// its certificates from the servers.
func TestConnectConsulLost(t *testing.T) {
	t.Parallel()
	s := stack.New(t, stack.Options{Consul: true})
	d := startDays(t, s, daysOptions{fromServers: true})
	// moves is nil when an agent, with so many identities, has moved so many times.
	moves := func(a *agent, identities, times int) error {
		if n := strings.Count(a.Output(), "consul is another cluster now"); n < identities*times {
			return fmt.Errorf("%s: %d identities have moved, not %d", a.Name, n, identities*times)
		}
		return nil
	}
	dials := func(times int) error { return moves(d.dials, 2, times) }
	accepts := func(times int) error { return moves(d.accepts, 1, times) }
	for i, loss := range []struct {
		name         string
		stop         func()
		later        []*wire
		first, other func(times int) error
	}{
		{"lost by SIGKILL, and the one that dials hears of it first", s.Consul.Kill, []*wire{d.acceptsWire}, dials, accepts},
		{"lost by SIGTERM, and the one that accepts hears of it first", func() { s.Consul.Stop() }, d.dialsWires, accepts, dials},
	} {
		var first, other, registered time.Duration
		d.try(t, loss.name, time.Second, func() {
			loss.stop()
			for _, w := range loss.later {
				w.become(t, refuses)
			}
			pause(t, time.Second)
			if err := s.Consul.Restart(t.Context()); err != nil {
				t.Fatal(err)
			}
			first = within(t, "the first is of the new cluster", func(context.Context) error { return loss.first(i + 1) })
			pause(t, 3*time.Second)
			if loss.other(i+1) == nil {
				t.Error("the other one has moved, too")
			}
			for _, w := range loss.later {
				w.become(t, passes)
			}
			other = within(t, "the other is of the new cluster", func(context.Context) error { return loss.other(i + 1) })
			registered = within(t, "the agent has registered again", func(ctx context.Context) error { return passing(ctx, s, "proxy", 1) })
			pause(t, 2*time.Second)
		}, func() { d.enrol(t) })
		t.Logf("%s: the first had moved after %s, the other %s after it could ask, registered %s later", loss.name, first.Round(time.Millisecond),
			other.Round(time.Millisecond), registered.Round(time.Millisecond))
	}
}

// TestConnectLeaderless takes one of two servers away: the other one has no leader, and says so late or not at all.
func TestConnectLeaderless(t *testing.T) {
	t.Parallel()
	s := stack.New(t, stack.Options{ConsulKeeps: true, ConsulHCL: "autopilot {\n  server_stabilization_time = \"200ms\"\n}\n"})
	second, err := s.JoinConsul(t.Context(), "second")
	if err != nil {
		t.Fatal(err)
	}
	d := startDays(t, s, daysOptions{})
	d.try(t, "no leader", 12*time.Second, second.Kill, func() {
		if err := second.Restart(t.Context()); err != nil {
			t.Fatal(err)
		}
	})
}
