package listen

import (
	"context"
	"errors"
	"math/rand/v2"
	"net"
	"net/netip"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"argosy/agent/relay/relaytest"
)

var (
	alice = netip.MustParseAddr("192.0.2.1")
	bob   = netip.MustParseAddr("2001:db8::2")
)

func admit(t *testing.T, l *Limiter, source netip.Addr, want Limit) {
	t.Helper()
	if ok, why := l.Admit(source); why != want || ok != (want == "") {
		t.Errorf("%v: ok %v, limit %q, expected %q", source, ok, why, want)
	}
}

func TestLimiterCounts(t *testing.T) {
	var l Limiter
	for range 10 {
		admit(t, &l, alice, "")
	}
	l.SetLimits(Limits{Connections: 11, PerSource: 10})
	admit(t, &l, netip.MustParseAddr("::ffff:192.0.2.1"), LimitSource) // counted since before there was a limit
	admit(t, &l, bob, "")
	admit(t, &l, bob, LimitConnections)
	l.SetLimits(Limits{Connections: 5})
	for range 6 {
		l.Leave(alice)
	}
	admit(t, &l, alice, LimitConnections)
	l.Leave(alice)
	admit(t, &l, netip.Addr{}, "")
	if l.Open() != 5 {
		t.Errorf("%d open", l.Open())
	}
	for range 3 {
		l.Leave(alice)
	}
	l.Leave(bob)
	l.Leave(netip.Addr{})
	if l.Open() != 0 || len(l.sources) != 0 {
		t.Errorf("%d open, %d sources are still known", l.Open(), len(l.sources))
	}
}

func TestLimiterMoves(t *testing.T) {
	var l Limiter
	l.SetLimits(Limits{PerSource: 1})
	admit(t, &l, alice, "")
	admit(t, &l, bob, "")
	if ok, why := l.Move(alice, bob); ok || why != LimitSource {
		t.Errorf("moved: %v, %q", ok, why)
	}
	admit(t, &l, alice, LimitSource)
	l.Leave(bob)
	if ok, _ := l.Move(alice, bob); !ok {
		t.Error("not moved")
	}
	admit(t, &l, alice, "")
	admit(t, &l, bob, LimitSource)
}

func TestLimiterRate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var l Limiter
		l.SetLimits(Limits{Rate: 10, Burst: 3})
		for range 3 {
			admit(t, &l, alice, "")
		}
		admit(t, &l, alice, LimitRate)
		l.SetLimits(Limits{Rate: 10, Burst: 5}) // does not fill the bucket
		admit(t, &l, alice, LimitRate)
		time.Sleep(250 * time.Millisecond)
		admit(t, &l, alice, "")
		admit(t, &l, alice, "")
		admit(t, &l, alice, LimitRate)
		// A connection that is refused for another reason takes nothing from the bucket.
		time.Sleep(100 * time.Millisecond)
		l.SetLimits(Limits{Rate: 10, Burst: 5, PerSource: 5})
		admit(t, &l, alice, LimitSource)
		admit(t, &l, bob, "")
	})
}

func TestQueueByRate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var l Limiter
		l.SetLimits(Limits{Rate: 10, Burst: 1, QueueLength: 3, QueueTimeout: 250 * time.Millisecond})
		admit(t, &l, alice, "")
		start := time.Now()
		var waiting sync.WaitGroup
		for i := range 4 {
			waiting.Go(func() {
				why, err := l.Wait(t.Context(), alice)
				took := time.Since(start)
				want, after := Limit(""), time.Duration(i+1)*100*time.Millisecond
				switch i {
				case 2: // its turn would come too late
					want, after = LimitRate, 250*time.Millisecond
				case 3:
					want, after = LimitQueue, 0
				}
				if why != want || err != nil || took < after || took > after+time.Millisecond {
					t.Errorf("%d: limit %q, %v, after %v", i, why, err, took)
				}
			})
			synctest.Wait()
		}
		time.Sleep(100 * time.Millisecond)
		admit(t, &l, bob, LimitRate) // overtakes nobody
		waiting.Wait()
		if l.Open() != 3 || l.Waiting() != 0 {
			t.Errorf("%d open, %d waiting", l.Open(), l.Waiting())
		}
	})
}

// TestQueueOrder: the oldest that can come in comes in; who waits for his own connections holds up nobody.
func TestQueueOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var l Limiter
		l.SetLimits(Limits{Connections: 2, PerSource: 1, QueueLength: 10, QueueTimeout: time.Hour})
		admit(t, &l, alice, "")
		admit(t, &l, bob, "")
		carol, dave := netip.MustParseAddr("192.0.2.3"), netip.MustParseAddr("192.0.2.4")
		var order []string
		wait := func(who string, a netip.Addr, want Limit) {
			go func() {
				if why, err := l.Wait(t.Context(), a); why != want || err != nil {
					t.Errorf("%s: %q, %v", who, why, err)
				}
				order = append(order, who) // one at a time, see below
			}()
			synctest.Wait()
		}
		wait("alice", alice, "")
		wait("alice again", alice, LimitQueue) // as many wait as may be open
		wait("carol", carol, "")
		wait("dave", dave, "")
		for _, leaving := range []netip.Addr{bob, carol, alice} {
			l.Leave(leaving)
			synctest.Wait()
		}
		if want := []string{"alice again", "carol", "dave", "alice"}; !slices.Equal(order, want) {
			t.Errorf("came in as %q", order)
		}
	})
}

func TestQueueLeaves(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var l Limiter
		l.SetLimits(Limits{Connections: 1, QueueLength: 1, QueueTimeout: time.Hour})
		admit(t, &l, alice, "")
		ctx, cancel := context.WithCancelCause(t.Context())
		stop := errors.New("enough")
		time.AfterFunc(time.Second, func() { cancel(stop) })
		if why, err := l.Wait(ctx, bob); why != LimitConnections || err != stop {
			t.Errorf("%q, %v", why, err)
		}
		if l.Waiting() != 0 || len(l.sources) != 1 {
			t.Errorf("%d waiting, %d sources", l.Waiting(), len(l.sources))
		}
		go l.Wait(t.Context(), bob)
		synctest.Wait()
		l.SetLimits(Limits{Connections: 2}) // lets him in
		synctest.Wait()
		if l.Open() != 2 || l.Waiting() != 0 {
			t.Errorf("%d open, %d waiting", l.Open(), l.Waiting())
		}
	})
}

// TestLimiterAtOnce: whatever many do at once, limits are kept, and nothing is left.
func TestLimiterAtOnce(t *testing.T) {
	var l Limiter
	l.SetLimits(Limits{Connections: 5, PerSource: 3, QueueLength: 4, QueueTimeout: time.Millisecond})
	var all sync.WaitGroup
	for i := range 8 {
		source := []netip.Addr{alice, bob, {}}[i%3]
		all.Go(func() {
			for range 500 {
				ok, _ := l.Admit(source)
				if !ok {
					ctx, cancel := context.WithTimeout(t.Context(), time.Duration(rand.IntN(2000))*time.Microsecond)
					why, err := l.Wait(ctx, source)
					cancel()
					ok = why == "" && err == nil
				}
				if open := l.Open(); open > 5 {
					t.Errorf("%d open", open)
				}
				if ok {
					l.Leave(source)
				}
			}
		})
	}
	all.Wait()
	if l.Open() != 0 || l.Waiting() != 0 || len(l.sources) != 0 {
		t.Errorf("%d open, %d waiting, %d sources", l.Open(), l.Waiting(), len(l.sources))
	}
}

func TestAwaitNotices(t *testing.T) {
	for name, c := range map[string]struct {
		client func(*net.TCPConn)
		gone   bool
	}{
		"closed": {func(c *net.TCPConn) { c.Close() }, true},
		"reset":  {func(c *net.TCPConn) { c.SetLinger(0); c.Close() }, true},
		"reset after data": {func(c *net.TCPConn) {
			c.Write([]byte("x"))
			time.Sleep(20 * time.Millisecond)
			c.SetLinger(0)
			c.Close()
		}, true},
		"request and end": {func(c *net.TCPConn) { c.Write([]byte("x")); c.CloseWrite() }, false},
		"silent":          {func(c *net.TCPConn) {}, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			far, near := relaytest.Pipe(t, false, false)
			defer far.Close()
			defer near.Close()
			var l Limiter
			timeout := 300 * time.Millisecond
			if c.gone {
				timeout = time.Minute
			}
			l.SetLimits(Limits{Connections: 1, QueueLength: 1, QueueTimeout: timeout})
			admit(t, &l, bob, "")
			time.AfterFunc(20*time.Millisecond, func() { c.client(far.(*net.TCPConn)) })
			why, err := l.Await(t.Context(), near, alice)
			if c.gone != errors.Is(err, ErrGone) || why != LimitConnections {
				t.Errorf("limit %q, %v", why, err)
			}
			if l.Waiting() != 0 {
				t.Error("its place is not given back")
			}
		})
	}
}

func BenchmarkAdmit(b *testing.B) {
	var l Limiter
	b.ReportAllocs()
	for b.Loop() {
		l.Admit(alice)
		l.Leave(alice)
	}
}
