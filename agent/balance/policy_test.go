package balance

import (
	"fmt"
	"math"
	"math/rand/v2"
	"net/netip"
	"testing"
	"time"

	"argosy/agent/config"
	"argosy/dtab"
	"argosy/namer"
)

// newWith makes a balancer whose client block change has changed.
func newWith(t testing.TB, change func(*config.Client)) (*Balancer, *clock) {
	t.Helper()
	c := &clock{time.Unix(1_000_000, 0)}
	return New(Options{Rand: rand.New(rand.NewPCG(3, 4)).Float64, Now: c.now, Policy: policy(change)}), c
}

func policy(change func(*config.Client)) func(dtab.Path) *config.Client {
	client := config.DefaultClient()
	change(&client)
	return func(dtab.Path) *config.Client { return &client }
}

func one(es []namer.Endpoint) []namer.Cluster { return []namer.Cluster{bound("/#/a", 1, es)} }

// fits checks counts against expected shares: chi-square, with a bound that chance alone exceeds less than once in
// 100,000 times.
func fits(t *testing.T, what string, got map[string]int, want map[string]float64) {
	t.Helper()
	n, sum, chi := 0, 0.0, 0.0
	for _, k := range got {
		n += k
	}
	for _, w := range want {
		sum += w
	}
	for addr, w := range want {
		e := float64(n) * w / sum
		chi += (float64(got[addr]) - e) * (float64(got[addr]) - e) / e
	}
	df := float64(len(want) - 1) // Wilson and Hilferty's approximation of the quantile
	limit := df * math.Pow(1-2/(9*df)+4.3*math.Sqrt(2/(9*df)), 3)
	if chi > limit {
		t.Errorf("%s: chi-square %.1f, more than %.1f: %v", what, chi, limit, got)
	}
}

func source(i int) netip.Addr {
	return netip.AddrFrom4([4]byte{10, byte(i >> 16), byte(i >> 8), byte(i)})
}

func weights(es []namer.Endpoint) map[string]float64 {
	w := map[string]float64{}
	for _, e := range es {
		w[e.Addr] = e.Weight
	}
	return w
}

// TestIdle: when all are idle, whichever policy, none has an advantage for its place in the list.
func TestIdle(t *testing.T) {
	for _, p := range []string{config.P2C, config.LeastLoaded, config.Hash} {
		b, _ := newWith(t, func(c *config.Client) { c.Balance.Policy = p })
		es := endpoints("10.0.0.1", ones(20)...)
		b.Update(one(es))
		got := map[string]int{}
		for i := range 20_000 {
			l, err := b.Pick(Request{Source: source(i)})
			if err != nil {
				t.Fatal(err)
			}
			got[l.Endpoint.Addr]++
			l.Done()
		}
		fits(t, p, got, weights(es))
	}
}

// TestIdleByWeight: connections that end at once are spread by weight, also by that of an endpoint that starts slowly.
func TestIdleByWeight(t *testing.T) {
	b, _ := newWith(t, func(c *config.Client) { c.Balance.SlowStart = time.Hour })
	es := endpoints("10.0.0.1", 1, 2, 5, 1)
	b.Update(one(es[:3]))
	for _, n := range []int{3, 4} {
		b.Update(one(es[:n]))
		got, want := map[string]int{}, weights(es[:n])
		for range 20_000 {
			l := pick(t, b)
			got[l.Endpoint.Addr]++
			l.Done()
		}
		if n == 4 {
			want[es[3].Addr] = slowest
		}
		fits(t, "idle", got, want)
	}
}

// TestFewByWeight: where the last connection is still open when the next one comes, a heavy endpoint gets most of them
// all the same, and a light one some.
func TestFewByWeight(t *testing.T) {
	b, _ := newWith(t, func(*config.Client) {})
	es := endpoints("10.0.0.1", 9, 1)
	b.Update(one(es))
	heavy, last := 0, pick(t, b)
	for range 10_000 {
		l := pick(t, b)
		if l.Endpoint.Addr == es[0].Addr {
			heavy++
		}
		last.Done()
		last = l
	}
	if heavy < 8_500 || heavy > 9_500 {
		t.Errorf("%d of 10,000 connections went to the endpoint with nine times the weight", heavy)
	}
}

func TestLeastLoaded(t *testing.T) {
	b, _ := newWith(t, func(c *config.Client) { c.Balance.Policy = config.LeastLoaded })
	es := endpoints("10.0.0.1", 1, 2, 5)
	b.Update(one(es))
	for range 800 {
		pick(t, b)
	}
	for i, e := range b.State()[0].Endpoints {
		if want := 100 * es[i].Weight; math.Abs(float64(e.Open)-want) > 1 {
			t.Errorf("%d open with weight %v, want %v", e.Open, e.Weight, want)
		}
	}
}

func TestHash(t *testing.T) {
	b, _ := newWith(t, func(c *config.Client) { c.Balance.Policy = config.Hash })
	es := endpoints("10.0.0.1", 1, 1, 2, 4, 2)
	where := func(b *Balancer) map[int]string {
		m := map[int]string{}
		for i := range 20_000 {
			l, err := b.Pick(Request{Source: source(i)})
			if err != nil {
				t.Fatal(err)
			}
			m[i] = l.Endpoint.Addr
			l.Done()
		}
		return m
	}
	b.Update(one(es))
	before := where(b)
	got := map[string]int{}
	for _, a := range before {
		got[a]++
	}
	fits(t, "clients by weight", got, weights(es))

	gone := es[3].Addr
	b.Update(one(append(append([]namer.Endpoint{}, es[:3]...), es[4])))
	got = map[string]int{}
	for i, a := range where(b) {
		if before[i] != gone && before[i] != a {
			t.Fatalf("client %d has moved from %s to %s, and %s was taken away", i, before[i], a, gone)
		}
		if before[i] == gone {
			got[a]++
		}
	}
	left := weights(es)
	delete(left, gone)
	fits(t, "clients of the one that has gone", got, left)

	other, _ := newWith(t, func(c *config.Client) { c.Balance.Policy = config.Hash })
	other.Update(one(es))
	for i, a := range where(other) {
		if before[i] != a {
			t.Fatal("another agent sends the client elsewhere")
		}
	}
	if unit(0) <= 0 || unit(math.MaxUint64) >= 1 {
		t.Error("a hash at the end of its range")
	}
}

func TestHashOnServerName(t *testing.T) {
	b, _ := newWith(t, func(c *config.Client) { c.Balance.Policy, c.Balance.HashOn = config.Hash, "sni" })
	b.Update(one(endpoints("10.0.0.1", ones(50)...)))
	pickFor := func(name string, i int) string {
		l, err := b.Pick(Request{ServerName: name, Source: source(i)})
		if err != nil {
			t.Fatal(err)
		}
		return l.Endpoint.Addr
	}
	seen := map[string]bool{}
	for n := range 100 {
		name := fmt.Sprintf("s%d.example", n)
		at := pickFor(name, 0)
		seen[at] = true
		if pickFor(name, 1) != at {
			t.Fatalf("%s goes to two endpoints", name)
		}
	}
	if len(seen) < 25 {
		t.Errorf("100 names go to %d of 50 endpoints", len(seen))
	}
	if first, again := pickFor("", 7), pickFor("", 7); first != again {
		t.Error("without a server name the source does not decide")
	}
}

// TestSlowStart: an endpoint that comes later gets its connections by and by, those that were there do not start slowly.
func TestSlowStart(t *testing.T) {
	for _, p := range []string{config.P2C, config.LeastLoaded} {
		b, clk := newWith(t, func(c *config.Client) {
			c.Balance.Policy, c.Balance.SlowStart = p, 100*time.Second
		})
		es := endpoints("10.0.0.1", 1, 1)
		b.Update(one(es[:1]))
		if e := b.State()[0].Endpoints[0]; e.Now != nil {
			t.Errorf("%s: the first endpoint starts slowly: %v", p, *e.Now)
		}
		b.Update(one(es))
		for _, step := range []struct {
			after  time.Duration
			weight float64
		}{{0, 0.1}, {50 * time.Second, 0.5}, {50 * time.Second, 1}} {
			clk.t = clk.t.Add(step.after)
			got, leases := map[string]int{}, []*Lease(nil)
			for range 2200 {
				l := pick(t, b)
				got[l.Endpoint.Addr]++
				leases = append(leases, l)
			}
			want := 2200 * step.weight / (1 + step.weight)
			if n := float64(got[es[1].Addr]); math.Abs(n-want) > want*0.05+2 {
				t.Errorf("%s: with a weight of %v the new one got %v, want %.0f", p, step.weight, n, want)
			}
			for _, l := range leases {
				l.Done()
			}
		}
	}
}

// TestPolicyChanges: a reload puts another policy into effect, and what is open stays counted.
func TestPolicyChanges(t *testing.T) {
	b, _ := newTest(t)
	b.Update(one(endpoints("10.0.0.1", ones(5)...)))
	for range 10 {
		pick(t, b)
	}
	b.Use(policy(func(c *config.Client) { c.Balance.Policy, c.MaxConnections = config.Hash, 30 }))
	got := map[string]bool{}
	for range 20 {
		l, err := b.Pick(Request{Source: source(1)})
		if err != nil {
			t.Fatal(err)
		}
		got[l.Endpoint.Addr] = true
	}
	if len(got) != 1 {
		t.Errorf("one client at %d endpoints", len(got))
	}
	if _, err := b.Pick(Request{Source: source(1)}); err != ErrFull {
		t.Errorf("connection 31 of 30: %v", err)
	}
	if s := b.State()[0]; s.Policy != config.Hash || s.Open != 30 || s.Limit != 30 {
		t.Errorf("state %+v", s)
	}
}

func TestPickAllocates(t *testing.T) {
	b := New(Options{})
	b.Update(one(endpoints("10.0.0.1", ones(100)...)))
	if n := testing.AllocsPerRun(100, func() {
		l, _ := b.Pick(Request{})
		l.Done()
	}); n > 1 { // the lease
		t.Errorf("%v allocations", n)
	}
}

func BenchmarkPick(b *testing.B) {
	for _, p := range []string{config.P2C, config.LeastLoaded, config.Hash} {
		for _, n := range []int{3, 1000} {
			b.Run(fmt.Sprintf("%s/%d", p, n), func(b *testing.B) {
				bal := New(Options{Policy: policy(func(c *config.Client) { c.Balance.Policy = p })})
				bal.Update(one(endpoints("10.0.0.1", ones(n)...)))
				b.ReportAllocs()
				b.RunParallel(func(pb *testing.PB) { // as many goroutines as there are processors
					for i := 0; pb.Next(); i++ {
						l, err := bal.Pick(Request{Source: source(i)})
						if err != nil {
							b.Fatal(err)
						}
						l.Done()
					}
				})
			})
		}
	}
}
