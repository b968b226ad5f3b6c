package balance

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"argosy/agent/config"
	"argosy/dtab"
	"argosy/namer"
)

// pickAt takes leases until one is on addr; then it gives back the others.
func pickAt(t *testing.T, b *Balancer, addr string) *Lease {
	t.Helper()
	for range 1000 {
		l := pick(t, b)
		if l.Endpoint.Addr == addr {
			return l
		}
		l.Connected()
		defer l.Done()
	}
	t.Fatalf("%s is never picked", addr)
	return nil
}

func at(b *Balancer, addr string) EndpointInfo {
	for _, c := range b.State() {
		for _, e := range c.Endpoints {
			if e.Address == addr {
				return e
			}
		}
	}
	return EndpointInfo{}
}

func TestEjectionAndProbe(t *testing.T) {
	b, clk := newWith(t, func(c *config.Client) {
		c.Ejection.Failures, c.Ejection.Time, c.Ejection.MaxTime = 3, time.Second, 3*time.Second
	})
	es := endpoints("10.0.0.1", 1, 1, 1)
	b.Update(one(es))
	bad := es[0].Addr
	for i := range 3 {
		if s := at(b, bad).State; s != Active {
			t.Fatalf("%s after %d failures of 3", s, i)
		}
		pickAt(t, b, bad).Fail()
	}
	for i, d := range []time.Duration{time.Second, 2 * time.Second, 3 * time.Second, 3 * time.Second} {
		e := at(b, bad)
		if e.State != Ejected || e.Reason != DialFailures || e.Until.Sub(clk.t) != d {
			t.Fatalf("ejection %d: %+v, want %v", i, e, d)
		}
		clk.t = clk.t.Add(d - time.Millisecond)
		for range 100 {
			l := pick(t, b)
			if l.Endpoint.Addr == bad {
				t.Fatal("an ejected endpoint was picked")
			}
			l.Done()
		}
		clk.t = clk.t.Add(time.Millisecond)
		if s := at(b, bad).State; s != Probing {
			t.Fatalf("%s after its time", s)
		}
		probe := pickAt(t, b, bad)
		for range 100 {
			l := pick(t, b)
			if l.Endpoint.Addr == bad {
				t.Fatal("a second connection before the probe has succeeded")
			}
			l.Done()
		}
		probe.Fail()
	}
	clk.t = clk.t.Add(3 * time.Second)
	pickAt(t, b, bad).Done() // says nothing: the next one is the probe
	pickAt(t, b, bad).Connected()
	if s := at(b, bad).State; s != Active {
		t.Errorf("%s after a probe that succeeded", s)
	}
	for range 3 {
		pickAt(t, b, bad).Fail()
	}
	if e := at(b, bad); e.Until.Sub(clk.t) != time.Second {
		t.Errorf("the time is not short again: %+v", e)
	}
}

func TestResetsEject(t *testing.T) {
	b, clk := newWith(t, func(c *config.Client) { c.Ejection.Resets = 3 })
	es := endpoints("10.0.0.1", 1, 1)
	b.Update(one(es))
	bad := es[0].Addr
	end := func(e Ending) {
		l := pickAt(t, b, bad)
		l.Connected()
		l.End(e)
	}
	reset := Ending{Reset: true}
	end(reset)
	end(reset)
	end(Ending{Reset: true, Answered: true}) // it works: not in a row any more
	end(reset)
	end(Ending{}) // the client went: says nothing
	end(reset)
	if s := at(b, bad).State; s != Active {
		t.Fatalf("%s too early", s)
	}
	end(reset)
	if e := at(b, bad); e.State != Ejected || e.Reason != Resets {
		t.Fatalf("three resets in a row: %+v", e)
	}
	clk.t = clk.t.Add(time.Second)
	end(reset) // the probe
	if e := at(b, bad); e.State != Ejected || e.Until.Sub(clk.t) != 2*time.Second {
		t.Fatalf("the probe was reset: %+v", e)
	}
	clk.t = clk.t.Add(2 * time.Second)
	probe := pickAt(t, b, bad)
	probe.Connected()
	if s := at(b, bad).State; s != Probing {
		t.Errorf("%s: to be connected is no proof", s)
	}
	probe.End(Ending{Answered: true})
	if s := at(b, bad).State; s != Active {
		t.Errorf("%s after an answer", s)
	}
	for range 3 {
		end(reset)
	}
	clk.t = clk.t.Add(time.Second)
	pickAt(t, b, bad).Connected()
	clk.t = clk.t.Add(time.Second)
	pickAt(t, b, bad) // the probe has stood long enough, although nothing is known of its end
	if s := at(b, bad).State; s != Active {
		t.Errorf("%s after a probe that stands", s)
	}
}

func TestEjectionIsCapped(t *testing.T) {
	for _, test := range []struct {
		n    int
		most float64
		want int
	}{{10, 0.5, 5}, {10, 0.05, 1}, {3, 0.99, 2}, {1, 0.5, 0}, {1, 1, 1}, {4, 1, 4}} {
		noted := -1
		client := policy(func(c *config.Client) { c.Ejection.MaxShare = test.most })
		b := New(Options{Policy: client, Ejected: func(_ string, n int, _ Reason) { noted = n }})
		es := endpoints("10.0.0.1", ones(test.n)...)
		b.Update(one(es))
		tried := map[string]bool{}
		for range test.n {
			l, err := b.Pick(Request{Tried: func(a string) bool { return tried[a] }})
			if err != nil {
				t.Fatal(err)
			}
			tried[l.Endpoint.Addr] = true
			l.Fail()
		}
		ejected := 0
		for _, e := range es {
			if at(b, e.Addr).State == Ejected {
				ejected++
			}
		}
		if ejected != test.want || noted != max(ejected, noted) && ejected > 0 {
			t.Errorf("%d of %d ejected with a share of %v, want %d; %d told", ejected, test.n, test.most, test.want, noted)
		}
		pick(t, b)    // whatever happens, one can connect
		b.Update(nil) // those that go are not ejected any more
		if test.want > 0 && noted != 0 {
			t.Errorf("%d are told to be ejected when none is left", noted)
		}
	}
}

func TestLimitQueues(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := New(Options{Policy: policy(func(c *config.Client) { c.MaxConnections, c.AtLimit = 2, config.Queue })})
		b.Update(one(endpoints("10.0.0.1", 1)))
		open := []*Lease{pick(t, b), pick(t, b)}
		if _, err := b.Pick(Request{}); !errors.Is(err, ErrWait) {
			t.Fatalf("at the limit: %v", err)
		}
		var mu sync.Mutex
		var order []int
		var leases []*Lease
		var all sync.WaitGroup
		defer all.Wait()
		for i := range 5 {
			all.Go(func() {
				ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
				defer cancel()
				if i == 2 { // gives up
					cancel()
				}
				l, err := b.Wait(ctx, Request{})
				mu.Lock()
				defer mu.Unlock()
				if (err != nil) != (i == 2) || err != nil && !errors.Is(err, ErrFull) {
					t.Errorf("%d: %v", i, err)
					return
				}
				if l != nil {
					order, leases = append(order, i), append(leases, l)
				}
			})
			synctest.Wait()
		}
		if s := b.State()[0]; s.Waiting != 4 || s.Open != 2 {
			t.Errorf("%d wait and %d are open", s.Waiting, s.Open)
		}
		for i := range 4 {
			if i < 2 {
				open[i].Done()
			} else {
				leases[i-2].Fail()
			}
			if _, err := b.Pick(Request{}); !errors.Is(err, ErrWait) {
				t.Errorf("a newcomer got in before those who wait: %v", err)
			}
			synctest.Wait()
			if s := b.State()[0]; s.Open != 2 {
				t.Errorf("%d are open", s.Open)
			}
		}
		if fmt.Sprint(order) != "[0 1 3 4]" {
			t.Errorf("served in the order %v", order)
		}
		// In vain, and then the cluster goes, and another one comes that has places.
		all.Go(func() {
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			defer cancel()
			if _, err := b.Wait(ctx, Request{}); !errors.Is(err, ErrFull) {
				t.Errorf("nobody left, and %v", err)
			}
		})
		time.Sleep(2 * time.Second)
		if s := b.State()[0]; s.Waiting != 0 {
			t.Errorf("%d wait still", s.Waiting)
		}
		all.Go(func() {
			if l, err := b.Wait(t.Context(), Request{}); err != nil || l.Key != "/#/b" {
				t.Errorf("elsewhere: %v", err)
			}
		})
		synctest.Wait()
		b.Update([]namer.Cluster{bound("/#/b", 1, endpoints("10.0.0.2", 1))})
	})
}

// fleet is a service whose clients connect anew when their connection is ended.
type fleet struct {
	b *Balancer

	mu      sync.Mutex
	stopped int
	open    map[*client]bool
}

type client struct {
	fleet *fleet
	lease *Lease
	quiet time.Duration
}

func (c *client) Quiet() time.Duration { return c.quiet }

// Stop is a connection's end and, as clients take a moment, no new one yet.
func (c *client) Stop() {
	c.fleet.mu.Lock()
	defer c.fleet.mu.Unlock()
	c.fleet.stopped++
	delete(c.fleet.open, c)
	c.lease.End(Ending{Answered: true})
}

func (f *fleet) connect(t *testing.T, quiet time.Duration) *client {
	t.Helper()
	l := pick(t, f.b)
	c := &client{f, l, quiet}
	f.open[c] = true
	l.Connected()
	l.Own(c)
	return c
}

// tend runs Tend as an agent does, for so long.
func (f *fleet) tend(d time.Duration, after func()) {
	for end := time.Now().Add(d); time.Now().Before(end); {
		if f.b.Tend() {
			time.Sleep(100 * time.Millisecond)
		} else {
			time.Sleep(time.Second)
		}
		after()
	}
}

// TestRebalance: from 4 endpoints to 8, with clients that come back at once and with clients that never do.
func TestRebalance(t *testing.T) {
	for _, back := range []bool{true, false} {
		synctest.Test(t, func(t *testing.T) {
			f := &fleet{open: map[*client]bool{}, b: New(Options{Policy: policy(func(c *config.Client) {
				c.Balance.Policy = config.LeastLoaded
				c.Rebalance = &config.Rebalance{Rate: 20, Quiet: 10 * time.Second}
			})})}
			es := endpoints("10.0.0.1", ones(8)...)
			f.b.Update(one(es[:4]))
			busy := map[*client]bool{}
			for i := range 400 {
				quiet := time.Minute
				if i < 100 { // 25 on each
					quiet = time.Second
				}
				if c := f.connect(t, quiet); i < 100 {
					busy[c] = true
				}
			}
			f.tend(10*time.Second, func() {})
			if f.stopped != 0 {
				t.Fatalf("%d ended although nothing has come", f.stopped)
			}
			f.b.Update(one(es))
			second := 0
			f.tend(time.Second, func() { second = f.stopped })
			if second < 10 || second > 25 {
				t.Errorf("%d ended in the first second, want 20", second)
			}
			f.tend(time.Minute, func() {
				for back && len(f.open) < 400 {
					f.connect(t, 0)
				}
			})
			if f.stopped != 200 {
				t.Errorf("back %v: %d ended, want 200", back, f.stopped)
			}
			for c := range busy {
				if !f.open[c] {
					t.Fatal("a busy connection was ended")
				}
			}
			for _, e := range f.b.State()[0].Endpoints {
				if back && (e.Open < 49 || e.Open > 51) {
					t.Errorf("%d open, want 50", e.Open)
				}
			}
		})
	}
}

// TestRebalanceWaitsForQuiet: connections that are busy are not moved, until they are quiet.
func TestRebalanceWaitsForQuiet(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fleet{open: map[*client]bool{}, b: New(Options{Policy: policy(func(c *config.Client) {
			c.Rebalance = &config.Rebalance{Rate: 100, Quiet: 10 * time.Second}
		})})}
		es := endpoints("10.0.0.1", 1, 3)
		f.b.Update(one(es[:1]))
		var all []*client
		for range 100 {
			all = append(all, f.connect(t, 0))
		}
		f.b.Update(one(es))
		f.tend(time.Minute, func() {})
		if f.stopped != 0 {
			t.Errorf("%d busy connections ended", f.stopped)
		}
		for i, c := range all {
			c.quiet = time.Minute + time.Duration(i)*time.Second
		}
		f.tend(time.Minute, func() {})
		if f.stopped != 75 {
			t.Errorf("%d ended, want 75", f.stopped)
		}
		for i, c := range all {
			if f.open[c] != (i < 25) {
				t.Fatalf("not the quietest first: %d is open: %v", i, f.open[c])
			}
		}
	})
}

func TestRemoved(t *testing.T) {
	es := endpoints("10.0.0.1", 1, 1)
	stale := one(es[1:])
	stale[0].Addr.Stale = true
	for _, test := range []struct {
		name   string
		action string
		after  []namer.Cluster // the update that takes the first endpoint away
		want   int
	}{
		{"drain", config.ActionDrain, one(es[1:]), 0},
		{"cut", config.ActionCut, one(es[1:]), 50},
		{"stale", config.ActionCut, stale, 0},
		{"sudden emptiness", config.ActionCut, one(nil), 0},
		{"another cluster", config.ActionCut, []namer.Cluster{bound("/#/b", 1, es)}, 0},
		{"catalog in trouble", config.ActionCut, []namer.Cluster{{ID: dtab.MustParsePath("/#/a"), Share: 1, Addr: namer.Addr{Status: namer.Failed}}}, 0},
		{"nothing changed", config.ActionCut, one(es), 0},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := &fleet{open: map[*client]bool{}, b: New(Options{Policy: policy(func(c *config.Client) {
					c.Balance.Policy = config.LeastLoaded
					c.Removed = config.Removed{Action: test.action, After: 10 * time.Second, Rate: 5}
				})})}
				f.b.Update(one(es))
				for range 100 {
					f.connect(t, time.Hour)
				}
				f.b.Update(test.after)
				f.tend(9*time.Second, func() {})
				if f.stopped != 0 {
					t.Errorf("%d cut too early", f.stopped)
				}
				f.tend(3*time.Second, func() {})
				if f.stopped > 5*3+1 || test.want > 0 && f.stopped < 5 {
					t.Errorf("%d cut after 2 seconds at 5 per second", f.stopped)
				}
				f.tend(time.Minute, func() {})
				if f.stopped != test.want {
					t.Errorf("%d cut, want %d", f.stopped, test.want)
				}
			})
		})
	}
}

// TestRemovedComesBack: the cutting stops when the endpoint is there again.
func TestRemovedComesBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fleet{open: map[*client]bool{}, b: New(Options{Policy: policy(func(c *config.Client) {
			c.Removed = config.Removed{Action: config.ActionCut, Rate: 10}
		})})}
		es := endpoints("10.0.0.1", 1, 1)
		f.b.Update(one(es))
		for range 200 {
			f.connect(t, 0)
		}
		f.b.Update(one(es[1:]))
		f.tend(2*time.Second, func() {})
		n := f.stopped
		f.b.Update(one(es))
		f.tend(time.Minute, func() {})
		if n < 10 || n > 30 || f.stopped != n {
			t.Errorf("%d cut in two seconds at 10 per second, and %d after the endpoint came back", n, f.stopped-n)
		}
	})
}
