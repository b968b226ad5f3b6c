package balance

import (
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"argosy/dtab"
	"argosy/namer"
)

// clock is a clock that tests move.
type clock struct{ t time.Time }

func (c *clock) now() time.Time { return c.t }

func newTest(t *testing.T) (*Balancer, *clock) {
	t.Helper()
	c := &clock{time.Unix(1_000_000, 0)}
	return New(Options{Rand: rand.New(rand.NewPCG(1, 2)).Float64, Now: c.now}), c
}

func endpoints(prefix string, weights ...float64) []namer.Endpoint {
	var es []namer.Endpoint
	for i, w := range weights {
		es = append(es, namer.Endpoint{Addr: fmt.Sprintf("%s:%d", prefix, 1000+i), Weight: w})
	}
	return es
}

func ones(n int) []float64 {
	w := make([]float64, n)
	for i := range w {
		w[i] = 1
	}
	return w
}

func bound(id string, share float64, es []namer.Endpoint) namer.Cluster {
	return namer.Cluster{ID: dtab.MustParsePath(id), Share: share, Addr: namer.Addr{Status: namer.OK, Endpoints: es}}
}

func pick(t *testing.T, b *Balancer) *Lease {
	t.Helper()
	l, err := b.Pick(Request{})
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// share checks a count against a binomial expectation, five standard deviations wide.
func share(t *testing.T, what string, got, n int, p float64) {
	t.Helper()
	mean, sd := float64(n)*p, math.Sqrt(float64(n)*p*(1-p))
	if math.Abs(float64(got)-mean) > 5*sd+1 {
		t.Errorf("%s got %d of %d, want %.0f give or take %.0f", what, got, n, mean, 5*sd)
	}
}

func TestSharesDoNotDependOnClusterSize(t *testing.T) {
	b, _ := newTest(t)
	b.Update([]namer.Cluster{
		bound("/#/one", 0.9, endpoints("10.0.0.1", 1)),
		bound("/#/fifty", 0.1, endpoints("10.0.0.2", ones(50)...)),
	})
	const n = 20_000
	got := map[string]int{}
	for range n { // the leases stay open, so that load cannot be mistaken for share
		got[pick(t, b).Key]++
	}
	share(t, "the cluster of one", got["/#/one"], n, 0.9)
	share(t, "the cluster of fifty", got["/#/fifty"], n, 0.1)
}

func TestSameClusterTwiceAddsUp(t *testing.T) {
	b, _ := newTest(t)
	one := endpoints("10.0.0.1", 1)
	b.Update([]namer.Cluster{bound("/#/a", 0.3, one), bound("/#/b", 0.4, endpoints("10.0.0.2", 1)), bound("/#/a", 0.3, one)})
	got := map[string]int{}
	for range 10_000 {
		got[pick(t, b).Key]++
	}
	share(t, "the cluster named twice", got["/#/a"], 10_000, 0.6)
}

func TestDeadClustersLeaveTheirShare(t *testing.T) {
	b, _ := newTest(t)
	dead := namer.Cluster{ID: dtab.MustParsePath("/#/neg"), Share: 0.2, Addr: namer.Addr{Status: namer.Neg}}
	pending := namer.Cluster{ID: dtab.MustParsePath("/#/pending"), Share: 0.2, Addr: namer.Addr{Status: namer.Pending}}
	b.Update([]namer.Cluster{
		dead, pending, bound("/#/none", 0.2, nil), {Share: 0.2},
		bound("/#/live", 0.2, endpoints("10.0.0.1", 1)),
	})
	for range 100 {
		if l := pick(t, b); l.Key != "/#/live" {
			t.Fatalf("picked %s", l.Key)
		}
	}
}

func TestNothing(t *testing.T) {
	at := func(id string, s namer.Status) namer.Cluster {
		c := namer.Cluster{Share: 1, Addr: namer.Addr{Status: s}}
		if id != "" {
			c.ID = dtab.MustParsePath(id)
		}
		return c
	}
	cases := []struct {
		name     string
		clusters []namer.Cluster
		want     error
	}{
		{"no clusters", nil, ErrNoRoute},
		{"neg", []namer.Cluster{at("/#/a", namer.Neg)}, ErrNoRoute},
		{"failed", []namer.Cluster{at("/#/a", namer.Failed)}, ErrNoRoute},
		{"empty", []namer.Cluster{at("/#/a", namer.OK)}, ErrEmpty},
		{"$", []namer.Cluster{at("", namer.OK)}, ErrEmpty},
		{"$ unset", []namer.Cluster{at("", namer.Pending)}, ErrEmpty},
		{"pending wins", []namer.Cluster{at("/#/a", namer.OK), at("/#/b", namer.Pending)}, ErrPending},
		{"tried", []namer.Cluster{bound("/#/a", 1, endpoints("10.0.0.1", 1))}, ErrExhausted},
	}
	for _, c := range cases {
		b, _ := newTest(t)
		if _, err := b.Pick(Request{}); !errors.Is(err, ErrPending) {
			t.Errorf("before the first update: %v", err)
		}
		b.Update(c.clusters)
		if _, err := b.Pick(Request{Tried: func(string) bool { return true }}); !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", c.name, err, c.want)
		}
	}
}

func TestSpreadFollowsWeights(t *testing.T) {
	for _, weights := range [][]float64{{1, 1}, {1, 2}, {1, 1, 1, 1, 1, 1, 1, 1, 1, 10}, {3, 0, 1}, {0.1, 0.4}} {
		b, _ := newTest(t)
		b.Update([]namer.Cluster{bound("/#/a", 1, endpoints("10.0.0.1", weights...))})
		const n = 4000
		got, sum := map[string]int{}, 0.0
		for range n {
			got[pick(t, b).Endpoint.Addr]++
		}
		for _, w := range weights {
			sum += w
		}
		for i, e := range endpoints("10.0.0.1", weights...) {
			want := float64(n) * weights[i] / sum
			if d := math.Abs(float64(got[e.Addr]) - want); d > want*0.03+3 {
				t.Errorf("weights %v: endpoint %d has %d open, want %.0f", weights, i, got[e.Addr], want)
			}
		}
	}
}

func TestAllWeightsZeroStillServe(t *testing.T) {
	b, _ := newTest(t)
	b.Update([]namer.Cluster{bound("/#/a", 1, endpoints("10.0.0.1", 0, math.NaN(), -1))})
	got := map[string]int{}
	for range 300 {
		got[pick(t, b).Endpoint.Addr]++
	}
	if len(got) != 3 {
		t.Errorf("only %d of 3 endpoints serve: %v", len(got), got)
	}
}

func TestCountsSurviveUpdates(t *testing.T) {
	b, _ := newTest(t)
	two := endpoints("10.0.0.1", 1, 1)
	b.Update([]namer.Cluster{bound("/#/a", 1, two[:1])})
	var leases []*Lease
	for range 50 {
		leases = append(leases, pick(t, b))
	}
	b.Update([]namer.Cluster{bound("/#/a", 1, two)})
	for range 50 { // the newcomer is empty, so it gets all until it has caught up
		if l := pick(t, b); l.Endpoint.Addr != two[1].Addr {
			t.Fatalf("the loaded endpoint got another connection")
		}
	}
	b.Update([]namer.Cluster{bound("/#/b", 1, two[1:])}) // both drain: a different cluster is a different count
	for _, l := range leases {
		if !l.Gone() {
			t.Fatal("an endpoint that left is not gone")
		}
	}
	s := b.State()
	if len(s) != 2 || s[1].Cluster != "/#/a" || len(s[1].Endpoints) != 2 ||
		s[1].Endpoints[0].State != Draining || s[1].Endpoints[0].Open != 50 || s[0].Endpoints[0].Open != 0 {
		t.Errorf("state %+v", s)
	}
	b.Update([]namer.Cluster{bound("/#/a", 1, two)}) // back again with the old counts
	if e := b.State()[0].Endpoints[0]; e.Open != 50 || e.State != Active {
		t.Errorf("came back as %+v", e)
	}
	b.Update(nil)
	for _, l := range leases {
		l.Done()
		l.Done()
	}
	if s := b.State(); len(s) != 1 || len(s[0].Endpoints) != 1 {
		t.Errorf("the last lease is over and the endpoint still there: %+v", s)
	}
}

func TestElsewhere(t *testing.T) {
	b, c := newTest(t)
	es := endpoints("10.0.0.1", 1, 1, 1)
	b.Update([]namer.Cluster{bound("/#/a", 1, es)})
	tried := map[string]bool{}
	for range 3 {
		l, err := b.Pick(Request{Tried: func(a string) bool { return tried[a] }})
		if err != nil || tried[l.Endpoint.Addr] {
			t.Fatalf("picked %v, %v after %v", l, err, tried)
		}
		tried[l.Endpoint.Addr] = true
		l.Fail()
	}
	if _, err := b.Pick(Request{Tried: func(a string) bool { return tried[a] }}); !errors.Is(err, ErrExhausted) {
		t.Errorf("got %v", err)
	}
	l := pick(t, b) // all have failed lately: still better than none
	l.Connected()
	l.Done()

	c.t = c.t.Add(10 * time.Second)
	for range 50 { // the others have been probed, too
		l := pick(t, b)
		l.Connected()
		l.Done()
	}
	bad := pick(t, b)
	bad.Fail()
	for range 100 {
		if l := pick(t, b); l.Endpoint.Addr == bad.Endpoint.Addr {
			t.Fatal("an endpoint that has just failed was chosen before others")
		}
	}
	c.t = c.t.Add(10 * time.Second)
	if l := pick(t, b); l.Endpoint.Addr != bad.Endpoint.Addr {
		t.Error("the failed endpoint does not come back, although it is the least loaded")
	}
}

func TestFailedCanaryLeavesItsShare(t *testing.T) {
	b, _ := newTest(t)
	b.Update([]namer.Cluster{
		bound("/#/main", 0.9, endpoints("10.0.0.1", 1)), bound("/#/canary", 0.1, endpoints("10.0.0.2", 1)),
	})
	for {
		l := pick(t, b)
		if l.Key == "/#/canary" {
			l.Fail()
			break
		}
	}
	for range 200 {
		if l := pick(t, b); l.Key != "/#/main" {
			t.Fatal("the failed canary is chosen")
		}
	}
}

func TestConcurrent(t *testing.T) {
	b := New(Options{})
	es := endpoints("10.0.0.1", ones(10)...)
	b.Update([]namer.Cluster{bound("/#/a", 1, es)})
	var all sync.WaitGroup
	for i := range 8 {
		all.Go(func() {
			for n := range 2000 {
				if i == 0 {
					b.Update([]namer.Cluster{bound("/#/a", 1, es[n%5:])})
					b.State()
					continue
				}
				l, err := b.Pick(Request{})
				if err != nil {
					t.Error(err)
					return
				}
				if n%7 == 0 {
					l.Fail()
				}
				l.Done()
			}
		})
	}
	all.Wait()
	for _, e := range b.State()[0].Endpoints {
		if e.Open != 0 {
			t.Errorf("%s is left with %d open", e.Address, e.Open)
		}
	}
}
