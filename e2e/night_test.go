//go:build servers

package e2e

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"argosy/e2e/stack"
)

// steady connects all the time, one connection after the other for each of some workers, and notes what fails and what
// ends at a server that it must not reach.
type steady struct {
	stop    func()
	wg      sync.WaitGroup
	made    atomic.Int64
	mu      sync.Mutex
	failed  []string
	slowest time.Duration
}

func startSteady(t *testing.T, allowed func(name string) bool, addrs ...string) *steady {
	ctx, cancel := context.WithCancel(t.Context())
	s := &steady{stop: cancel}
	for _, addr := range addrs {
		s.wg.Go(func() {
			for ctx.Err() == nil {
				started := time.Now()
				c, err := dialNamed(context.WithoutCancel(ctx), addr)
				took := time.Since(started)
				if err == nil {
					if !allowed(c.Name) {
						err = fmt.Errorf("reached %s", c.Name)
					}
					c.Close()
				}
				s.made.Add(1)
				s.mu.Lock()
				s.slowest = max(s.slowest, took)
				if err != nil {
					s.failed = append(s.failed, fmt.Sprintf("%s %s: %v", started.Format("05.000"), addr, err))
				}
				s.mu.Unlock()
				select {
				case <-ctx.Done():
				case <-time.After(4 * time.Millisecond):
				}
			}
		})
	}
	t.Cleanup(func() { cancel(); s.wg.Wait() })
	return s
}

// longest is how long the slowest connection took.
func (s *steady) longest() time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.slowest
}

// check fails the test if a connection has failed, or ended where it must not, since it was last called. It returns how
// many have.
func (s *steady) check(t *testing.T) int {
	t.Helper()
	s.mu.Lock()
	f := s.failed
	s.failed = nil
	s.mu.Unlock()
	if len(f) > 0 {
		t.Errorf("%d connections failed, such as\n%s", len(f), strings.Join(f[:min(len(f), 5)], "\n"))
	}
	return len(f)
}

// lines are those that an operator sees in the log.
func lines(a *agent) int {
	n := 0
	for line := range strings.Lines(a.Output()) {
		if !strings.Contains(line, "[DEBUG]") {
			n++
		}
	}
	return n
}

// route is a listener that leads to one name.
func route(name, addr string) string {
	return fmt.Sprintf("listener %q {\n  address     = %q\n  destination = \"/svc/%s\"\n}\n", name, addr, name)
}

// night is an agent under traffic to two services, solo with one instance and web with three, and a third name, news, that
// shows whether a table has arrived. What it asks for comes through a mischief.
type night struct {
	agent *agent
	m     *mischief
	load  *steady
	news  string // the listener's address
	tries int
}

const nightTable = "/c => /#/io.l5d.consul/.local ; /svc => /c ; /svc/news => /c/"

// startNight starts it with a configuration to which it adds listeners.
func startNight(t *testing.T, s *stack.Stack, m *mischief, hcl string) *night {
	t.Helper()
	for _, name := range []string{"solo", "web0", "web1", "web2"} {
		register(t, s, name, strings.TrimRight(name, "012"), startNamed(t, name).Addr, nil)
	}
	putTable(t, s, nightTable+"none")
	solo, web, news := s.Addr(), s.Addr(), s.Addr()
	n := &night{m: m, news: news}
	n.agent = startAgent(t, s, "agent", hcl+route("solo", solo)+route("web", web)+route("news", news))
	within(t, "solo", func(ctx context.Context) error { return reaches(ctx, solo, "solo") })
	within(t, "web", func(ctx context.Context) error { return connectOnce(ctx, web) })
	n.load = startSteady(t, func(name string) bool { return name == "solo" || strings.HasPrefix(name, "web") }, solo, web)
	return n
}

// try lets trouble last for a moment, in which there is a new service and a new table, and sees that no connection
// suffers, that trouble is met with few requests, few lines and little memory, and that the table is in force soon after.
func (n *night) try(t *testing.T, s *stack.Stack, name string, begin, end func()) {
	t.Helper()
	n.tries++
	said, asked, made := lines(n.agent), n.m.Requests.Load(), n.load.made.Load()
	begin()
	pause(t, time.Second)
	asked, said = n.m.Requests.Load()-asked, lines(n.agent)-said
	memory := n.agent.gauge(t, "process_resident_memory_bytes") / 1e6
	id := fmt.Sprint("news", n.tries)
	register(t, s, id, id, startNamed(t, id).Addr, nil)
	putTable(t, s, nightTable+id)
	end()
	took := within(t, name+": the new table", func(ctx context.Context) error { return reaches(ctx, n.news, id) })
	t.Logf("%s: %d connections, %d requests, %d lines, %.0f MB; healed in %s", name, n.load.made.Load()-made, asked, said, memory,
		took.Round(time.Millisecond))
	if asked > 200 || said > 60 || memory > 600 && !stack.Raced() || took > 10*time.Second {
		t.Errorf("%s: too much of something", name)
	}
	n.load.check(t)
}

// TestMischief: whatever answers in Consul's stead, connections to what is known go on.
func TestMischief(t *testing.T) {
	t.Parallel()
	s := stack.New(t, stack.Options{Consul: true})
	m := startMischief(t, s.Consul.URL())
	n := startNight(t, s, m, fmt.Sprintf("consul {\n  address = %q\n}\ndtab {\n  consul {}\n}\nnamer \"io.l5d.consul\" {}\n", m.Addr))
	goroutines := n.agent.gauge(t, "go_goroutines")
	for name, do := range mischiefs() {
		n.try(t, s, name, func() { m.become(do) }, func() { m.become(nil) })
	}
	n.load.stop()
	n.load.wg.Wait()
	within(t, "as many goroutines as before", func(context.Context) error {
		if g := n.agent.gauge(t, "go_goroutines"); g > goroutines+30 {
			return fmt.Errorf("%v goroutines, where there were %v", g, goroutines)
		}
		return nil
	})
}

// TestMischiefOfNamerd is the same for an agent that asks a namerd for everything.
func TestMischiefOfNamerd(t *testing.T) {
	t.Parallel()
	s := stack.New(t, stack.Options{Consul: true})
	api := s.Addr()
	namerd := bindingNamerd(t, s, api)
	m := startMischief(t, "http://"+api)
	n := startNight(t, s, m, fmt.Sprintf("interpreter \"namerd\" {\n  address = \"http://%s\"\n  mode    = \"stream\"\n}\n", m.Addr))
	all := mischiefs()
	for _, name := range []string{"404", "html with index", "endless", "drip"} {
		n.try(t, s, name, func() { m.become(all[name]) }, func() { m.become(nil) })
	}
	signal := func(sig syscall.Signal) func() {
		return func() {
			if err := namerd.Signal(sig); err != nil {
				t.Error(err)
			}
		}
	}
	n.try(t, s, "paused", signal(syscall.SIGSTOP), signal(syscall.SIGCONT))
	n.try(t, s, "killed", namerd.Kill, func() { bindingNamerd(t, s, api) })
}
