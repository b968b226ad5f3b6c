//go:build servers

package e2e

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"argosy/e2e/stack"
)

// TestStorm changes everything at once, and faster than it can be followed: an instance comes and goes 50 times a second,
// the table changes 100 times a second, now and then to ten thousand entries or to something that is no table, all
// instances are replaced one by one, and then most are gone at once. No connection may fail or go astray, the log is not
// flooded, and what holds in the end is in force soon.
func TestStorm(t *testing.T) {
	t.Parallel()
	s := stack.New(t, stack.Options{Consul: true})
	stray := startNamed(t, "stray") // in the catalog, but no table leads to it
	register(t, s, "stray", "stray", stray.Addr, nil)
	servers := map[string]*namedServer{}
	for i := range 8 {
		name := fmt.Sprint("web", i)
		servers[name] = startNamed(t, name)
		if i < 4 {
			register(t, s, name, "web", servers[name].Addr, nil)
		}
	}
	const table = "/c => /#/io.l5d.consul/.local ; /svc/redis => /c/web"
	putTable(t, s, table)
	listen := s.Addr()
	a := startAgent(t, s, "agent", redisHCL(s, listen))
	within(t, "web answers", func(ctx context.Context) error { return connectOnce(ctx, listen) })
	load := startSteady(t, func(name string) bool { return strings.HasPrefix(name, "web") }, listen, listen)
	goroutines, memory, said := a.gauge(t, "go_goroutines"), a.gauge(t, "process_resident_memory_bytes"), lines(a)

	var large strings.Builder
	for i := range 10_000 {
		fmt.Fprintf(&large, "/large/%d => /c/stray ; ", i)
	}
	flapping, writing := 0, 0
	ctx, cancel := context.WithTimeout(t.Context(), 4*time.Second)
	defer cancel()
	done := make(chan struct{})
	go func() {
		defer close(done)
		for tick := time.NewTicker(20 * time.Millisecond); ctx.Err() == nil; flapping++ {
			if flapping%2 == 0 {
				register(t, s, "flap", "web", servers["web7"].Addr, nil)
			} else if err := s.Consul.Put(t.Context(), "/v1/agent/service/deregister/flap", nil); err != nil {
				t.Error(err)
			}
			<-tick.C
		}
	}()
	for tick := time.NewTicker(10 * time.Millisecond); ctx.Err() == nil; writing++ {
		text := fmt.Sprintf("/v/%d => /c/stray ; %s", writing, table)
		switch {
		case writing%50 == 17:
			text = large.String() + table
		case writing%10 == 3:
			text = "/svc/redis = /c/stray"
		}
		if err := tryPutTable(t.Context(), s, text); err != nil {
			t.Error(err)
		}
		<-tick.C
	}
	<-done
	load.check(t)
	t.Logf("%d flaps, %d tables: %d lines in the log, %.0f MB", flapping, writing, lines(a)-said, a.gauge(t, "process_resident_memory_bytes")/1e6)
	if n := lines(a) - said; n > 200 {
		t.Errorf("%d lines in the log:\n%s", n, a.Output()[max(0, len(a.Output())-3000):])
	}

	// All are replaced, one by one, each stopped a moment after it has been deregistered.
	putTable(t, s, table)
	if err := s.Consul.Put(t.Context(), "/v1/agent/service/deregister/flap", nil); err != nil && flapping%2 == 1 {
		t.Error(err)
	}
	for i := range 4 {
		name, next := fmt.Sprint("web", i), fmt.Sprint("web", i+4)
		register(t, s, next, "web", servers[next].Addr, nil)
		if err := s.Consul.Put(t.Context(), "/v1/agent/service/deregister/"+name, nil); err != nil {
			t.Fatal(err)
		}
		pause(t, 500*time.Millisecond)
		servers[name].stop()
	}
	within(t, "only the new ones answer", func(context.Context) error {
		for name := range whoAnswers(t, listen, 30) {
			if name < "web4" {
				return fmt.Errorf("%s answers", name)
			}
		}
		return nil
	})
	load.check(t)

	// Most are gone from the catalog at once, and live on.
	for _, name := range []string{"web4", "web5", "web6"} {
		if err := s.Consul.Put(t.Context(), "/v1/agent/service/deregister/"+name, nil); err != nil {
			t.Fatal(err)
		}
	}
	pause(t, time.Second)
	load.check(t)
	load.stop()
	load.wg.Wait()
	pause(t, 2*time.Second)
	t.Logf("%d connections, the slowest %s; goroutines %v, then %v; memory %.0f MB, then %.0f MB", load.made.Load(), load.longest(),
		goroutines, a.gauge(t, "go_goroutines"), memory/1e6, a.gauge(t, "process_resident_memory_bytes")/1e6)
	if g := a.gauge(t, "go_goroutines"); g > goroutines+10 {
		t.Errorf("%v goroutines, where there were %v", g, goroutines)
	}
	if stray.Accepted.Load() > 0 {
		t.Errorf("%d connections went to a server that no table leads to", stray.Accepted.Load())
	}
}
