package consul

import (
	"context"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/consul/api"

	"argosy/internal/blockq"
)

// crowd is members at their loops: each asks when it is its turn, and when it can wait at Consul it does.
type crowd struct {
	seats *Seats

	mu      sync.Mutex
	waiting []string            // who waits at Consul
	plain   map[string]int      // how often each has asked plainly
	most    int                 // who waited at Consul at the same time
	changes map[string]chan int // to end a wait with a change
}

func newCrowd(seats int) *crowd {
	c := &crowd{seats: NewSeats(nil, func() int { return seats }), plain: map[string]int{}, changes: map[string]chan int{}}
	done := make(chan struct{})
	close(done)
	c.seats.callers[""] = &caller{cancel: func() {}, done: done} // none is to start: there is no Consul
	return c
}

// run is one loop until ctx ends. Its instances have checks, so that it is not blind.
func (c *crowd) run(ctx context.Context, service string) {
	m := c.seats.join("", service)
	defer m.leave()
	c.mu.Lock()
	change := make(chan int)
	c.changes[service] = change
	c.mu.Unlock()
	entry := inst("a", "", 1, "passing")
	entry.Checks[0].ServiceID = "a"
	for blockable := false; ctx.Err() == nil; blockable = true {
		turn, err := m.turn(ctx, blockable)
		if err != nil {
			return
		}
		changed := c.ask(ctx, service, turn, change)
		if turn.Done != nil {
			turn.Done()
		}
		m.heard([]*api.ServiceEntry{entry}, changed)
	}
}

func (c *crowd) ask(ctx context.Context, service string, turn blockq.Turn, change chan int) (changed bool) {
	if turn.Wait == 0 {
		c.mu.Lock()
		c.plain[service]++
		c.mu.Unlock()
		time.Sleep(time.Millisecond)
		return false
	}
	c.mu.Lock()
	c.waiting = append(c.waiting, service)
	c.most = max(c.most, len(c.waiting))
	c.mu.Unlock()
	select {
	case <-time.After(turn.Wait):
	case <-change:
		changed = true
	case <-ctx.Done():
	}
	c.mu.Lock()
	c.waiting = slices.DeleteFunc(c.waiting, func(s string) bool { return s == service })
	c.mu.Unlock()
	return changed
}

func (c *crowd) now() (waiting []string, plain map[string]int) {
	synctest.Wait()
	c.mu.Lock()
	defer c.mu.Unlock()
	waiting = slices.Sorted(slices.Values(c.waiting))
	plain = map[string]int{}
	for k, v := range c.plain {
		plain[k] = v
	}
	return waiting, plain
}

func TestSeatsAreBoundedAndShared(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := newCrowd(3)
		ctx, cancel := context.WithCancel(t.Context())
		var wg sync.WaitGroup
		names := []string{"a", "b", "c", "d", "e", "f", "g", "h"}
		for _, s := range names {
			wg.Go(func() { c.run(ctx, s) })
		}
		seen := map[string]bool{}
		for range 60 {
			time.Sleep(10 * time.Second)
			waiting, _ := c.now()
			if len(waiting) > 3 {
				t.Fatalf("%v wait", waiting)
			}
			for _, s := range waiting {
				seen[s] = true
			}
		}
		_, plain := c.now()
		for _, s := range names {
			if !seen[s] || plain[s] == 0 {
				t.Errorf("%s had a seat: %v, and asked %d times without", s, seen[s], plain[s])
			}
			if plain[s] > 10 {
				t.Errorf("%s asked %d times in ten minutes", s, plain[s])
			}
		}
		cancel()
		wg.Wait()
		if c.most != 3 || c.seats.taken != 0 || len(c.seats.members) != 0 || len(c.seats.sites) != 0 || c.seats.blind != 0 {
			t.Errorf("%d seats at most, at last %+v", c.most, c.seats)
		}
	})
}

// What has changed keeps its seat, and what is woken asks once.
func TestSeatsGoToWhatChanges(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := newCrowd(2)
		ctx, cancel := context.WithCancel(t.Context())
		var wg sync.WaitGroup
		for _, s := range []string{"a", "b", "c", "d"} {
			wg.Go(func() { c.run(ctx, s) })
			time.Sleep(time.Second) // a and b come first
		}
		c.mu.Lock()
		a := c.changes["a"]
		c.mu.Unlock()
		a <- 1
		for range 8 {
			time.Sleep(time.Minute)
			if waiting, _ := c.now(); !slices.Contains(waiting, "a") || len(waiting) != 2 {
				t.Errorf("%v wait, without what has changed", waiting)
			}
		}
		waiting, before := c.now()
		c.seats.wake("", func(m *member) bool { return true })
		time.Sleep(10 * time.Millisecond)
		_, after := c.now()
		for _, s := range []string{"a", "b", "c", "d"} {
			want := before[s] + 1
			if slices.Contains(waiting, s) {
				want = before[s]
			}
			if after[s] != want {
				t.Errorf("%s asked %d times, not %d, after it was woken", s, after[s], want)
			}
		}
		cancel()
		wg.Wait()
	})
}

func TestCallerWakesWhoseChecksChange(t *testing.T) {
	t.Parallel()
	s := NewSeats(nil, nil)
	web, db, mesh, far := s.join("", "web"), s.join("", "db"), s.join("", "mesh"), s.join("dc2", "web")
	on := func(node string) []*api.ServiceEntry {
		return []*api.ServiceEntry{{Node: &api.Node{Node: node}, Checks: api.HealthChecks{{ServiceID: "x"}}}}
	}
	web.heard(on("n1"), true)
	db.heard(on("n2"), true)
	mesh.heard(on("n3"), true)
	woken := func() (all []string) {
		for name, m := range map[string]*member{"web": web, "db": db, "mesh": mesh, "far": far} {
			select {
			case <-m.woken:
				all = append(all, name)
			default:
			}
		}
		slices.Sort(all)
		return all
	}
	c := &caller{seats: s}
	checks := []check{{"n1", "c1", "Web", 5}, {"n2", "c2", "db", 5}, {"n2", "serfHealth", "", 5}, {"n3", "c3", "mesh-sidecar-proxy", 5}}
	for _, step := range []struct {
		name   string
		change func()
		want   []string
	}{
		{"the first answer: anything may have changed", func() {}, []string{"db", "mesh", "web"}},
		{"nothing", func() {}, nil},
		{"a check", func() { checks[0].ModifyIndex++ }, []string{"web"}},
		{"a node's check", func() { checks[2].ModifyIndex++ }, []string{"db"}},
		{"a sidecar's check", func() { checks[3].ModifyIndex++ }, []string{"mesh"}},
		{"a new check", func() { checks = append(checks, check{"n4", "c4", "web", 9}) }, []string{"web"}},
		{"a check is gone", func() { checks = slices.Delete(checks, 1, 2) }, []string{"db"}},
	} {
		step.change()
		c.compare(checks)
		if got := woken(); !slices.Equal(got, step.want) {
			t.Errorf("%s: woke %v, want %v", step.name, got, step.want)
		}
	}
}

// A datacenter that hangs does not hold up the others.
func TestSitesAreApart(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := NewSeats(nil, nil)
		ctx, cancel := context.WithCancel(t.Context())
		var wg sync.WaitGroup
		for range 3 * plainRemote {
			wg.Go(func() {
				m := s.join("dead", "x")
				defer m.leave()
				if turn, err := m.turn(ctx, false); err == nil {
					<-ctx.Done() // it hangs
					turn.Done()
				}
			})
		}
		synctest.Wait()
		m := s.join("", "x")
		defer m.leave()
		soon, stop := context.WithTimeout(ctx, time.Second)
		defer stop()
		if turn, err := m.turn(soon, false); err != nil {
			t.Error(err)
		} else {
			turn.Done()
		}
		cancel()
		wg.Wait()
	})
}

// While a datacenter cannot be asked, very many watches do not all try all the time; and when it can, all do at once.
func TestManyWatchesOfADeadConsul(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		const many = 1000
		c := newCrowd(2)
		ctx, cancel := context.WithCancel(t.Context())
		var wg sync.WaitGroup
		var dead atomic.Bool
		dead.Store(true)
		var asked, known atomic.Int64
		for range many {
			wg.Go(func() {
				m := c.seats.join("", "x")
				defer m.leave()
				for first := true; ctx.Err() == nil; {
					turn, err := m.turn(ctx, !first)
					if err != nil {
						return
					}
					asked.Add(1)
					if turn.Wait > 0 {
						<-ctx.Done()
					} else {
						time.Sleep(time.Millisecond)
					}
					if turn.Done != nil {
						turn.Done()
					}
					if dead.Load() {
						m.failed()
						time.Sleep(5 * time.Second) // as the loop does
						continue
					}
					if first {
						known.Add(1)
					}
					first = false
					m.heard(nil, false)
				}
			})
		}
		time.Sleep(time.Minute)
		before := asked.Load()
		time.Sleep(time.Minute)
		if n := asked.Load() - before; n < 10*60 || n > 3*trialRate*60 {
			t.Errorf("%d requests in a minute", n)
		}
		dead.Store(false)
		time.Sleep(6 * time.Second)
		if n := known.Load(); n != many {
			t.Errorf("%d of %d know when it is back", n, many)
		}
		cancel()
		wg.Wait()
	})
}
