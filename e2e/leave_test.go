//go:build servers

package e2e

import (
	"context"
	"errors"
	"net"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"argosy/e2e/stack"
)

// sighted is when a watcher of the catalog has first seen what.
type sighted struct {
	mu sync.Mutex
	at map[string]time.Time
}

// watchService notes when a service with one instance is first passing, critical and gone, until the context ends.
func watchService(ctx context.Context, s *stack.Stack, service string) *sighted {
	w := &sighted{at: map[string]time.Time{}}
	go func() {
		for ctx.Err() == nil {
			var entries []struct {
				Checks []struct{ ServiceID, Status string }
			}
			if s.Consul.Get(ctx, "/v1/health/service/"+service, &entries) == nil {
				state := "gone"
				for _, e := range entries {
					state = "passing"
					for _, c := range e.Checks {
						if c.Status == "critical" {
							state = "critical"
						}
					}
				}
				w.note(state)
			}
			select {
			case <-time.After(5 * time.Millisecond):
			case <-ctx.Done():
			}
		}
	}()
	return w
}

func (w *sighted) note(what string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if _, seen := w.at[what]; !seen {
		w.at[what] = time.Now()
	}
}

func (w *sighted) when(what string) (time.Time, bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	at, ok := w.at[what]
	return at, ok
}

// seen is nil when it has been.
func (w *sighted) seen(what string) error {
	if _, ok := w.when(what); !ok {
		return errors.New("not seen yet")
	}
	return nil
}

// TestLeavingOrder: critical, then nothing is accepted, then out of the catalog, with each signal that Nomad's drivers send.
func TestLeavingOrder(t *testing.T) {
	t.Parallel()
	for _, sig := range []syscall.Signal{syscall.SIGINT, syscall.SIGTERM} {
		t.Run(sig.String(), func(t *testing.T) {
			s := stack.New(t, stack.Options{Consul: true})
			server := startNamed(t, "web1")
			register(t, s, "web1", "web", server.Addr, nil)
			putDtab(t, s, "default", "/svc => /#/io.l5d.consul/.local")
			listen := s.Addr()
			a := startAgent(t, s, "agent", fleetHCL(s, listen)) // propagation 1s, drain 5s
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			within(t, "it is registered", func(ctx context.Context) error { return passing(ctx, s, "proxy", 1) })
			open, err := dialNamed(t.Context(), listen)
			if err != nil {
				t.Fatal(err)
			}
			defer open.Close()
			w := watchService(ctx, s, "proxy")
			within(t, "it passes", func(context.Context) error { return w.seen("passing") })

			signalled := time.Now()
			a.signal(t, sig)
			within(t, "it is critical", func(context.Context) error { return w.seen("critical") })
			if err := reaches(t.Context(), listen, "web1"); err != nil {
				t.Errorf("critical, and it accepts no more: %v", err)
			}
			var progress string
			within(t, "it accepts no more", func(ctx context.Context) error {
				c, err := net.Dial("tcp", listen)
				if err == nil {
					c.Close()
					return errors.New("it still accepts")
				}
				return nil
			})
			closed := time.Now()
			if _, progress, err = get(t.Context(), "http://"+a.Admin+"/drain"); err != nil ||
				!strings.Contains(progress, `"connections": 1`) || !strings.Contains(progress, `"accepting": false`) {
				t.Errorf("/drain says %s, %v", progress, err)
			}
			if err := open.echo("still served"); err != nil {
				t.Error(err)
			}
			if err := w.seen("gone"); err == nil {
				t.Error("it is out of the catalog while it has connections")
			}
			open.Close()
			within(t, "it is gone", func(context.Context) error { return w.seen("gone") })
			a.ends(t, 0)
			critical, _ := w.when("critical")
			gone, _ := w.when("gone")
			if !critical.Before(closed) || !closed.Before(gone) {
				t.Errorf("critical %v, closed %v, gone %v after the signal", critical.Sub(signalled), closed.Sub(signalled), gone.Sub(signalled))
			}
			t.Logf("after the signal: critical %v, closed %v, gone %v", critical.Sub(signalled).Round(time.Millisecond),
				closed.Sub(signalled).Round(time.Millisecond), gone.Sub(signalled).Round(time.Millisecond))
		})
	}
}

// TestSecondSignalEnds: also then nothing is left in the catalog.
func TestSecondSignalEnds(t *testing.T) {
	t.Parallel()
	s := stack.New(t, stack.Options{Consul: true})
	putDtab(t, s, "default", "/svc => /#/io.l5d.consul/.local")
	server := startNamed(t, "web1")
	register(t, s, "web1", "web", server.Addr, nil)
	listen := s.Addr()
	a := startAgent(t, s, "agent", strings.NewReplacer(`"1s"`, `"10m"`, `"5s"`, `"10m"`).Replace(fleetHCL(s, listen)))
	within(t, "it is registered", func(ctx context.Context) error { return passing(ctx, s, "proxy", 1) })
	open, err := dialNamed(t.Context(), listen)
	if err != nil {
		t.Fatal(err)
	}
	defer open.Close()
	a.signal(t, syscall.SIGTERM)
	within(t, "it is critical", func(ctx context.Context) error { return passing(ctx, s, "proxy", 0) })
	a.signal(t, syscall.SIGTERM)
	a.ends(t, 0)
	var entries []any
	if err := s.Consul.Get(t.Context(), "/v1/catalog/service/proxy", &entries); err != nil || len(entries) != 0 {
		t.Errorf("left in the catalog: %v, %v", entries, err)
	}
}

// TestKilledAgentIsCritical: who is gone without a word is not used any more when its TTL is over.
func TestKilledAgentIsCritical(t *testing.T) {
	t.Parallel()
	s := stack.New(t, stack.Options{Consul: true})
	putDtab(t, s, "default", "/svc => /#/io.l5d.consul/.local")
	a := startAgent(t, s, "agent", fleetHCL(s, s.Addr()))
	within(t, "it is registered", func(ctx context.Context) error { return passing(ctx, s, "proxy", 1) })
	a.Kill()
	killed := time.Now()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second+patience)
	defer cancel()
	if err := stack.Eventually(ctx, 100*time.Millisecond, func(ctx context.Context) error { return passing(ctx, s, "proxy", 0) }); err != nil {
		t.Fatal(err)
	}
	t.Logf("critical %v after it was killed", time.Since(killed).Round(100*time.Millisecond))
}
