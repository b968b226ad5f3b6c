package agent

import (
	"context"
	"errors"
	"maps"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/prometheus/client_golang/prometheus"

	"argosy/dtab"
	"argosy/internal/watch"
	"argosy/namer"
)

// fixedBinder gives every name the same live binding.
type fixedBinder struct{ watch.Reader[namer.Binding] }

func (b fixedBinder) Bind(context.Context, dtab.Path) watch.Reader[namer.Binding] { return b.Reader }

func (b fixedBinder) BindGuest(context.Context, dtab.Path) watch.Reader[namer.Binding] {
	return b.Reader
}

// TestReloadWhileBindingsChange: a name joins and leaves the configuration while what it stands for changes.
func TestReloadWhileBindingsChange(t *testing.T) {
	m, err := newMetrics(prometheus.NewRegistry(), "test")
	if err != nil {
		t.Fatal(err)
	}
	n := newNames(m, hclog.NewNullLogger())
	cell := watch.New(namer.Binding{Status: namer.OK}, nil)
	name := dtab.MustParsePath("/svc/redis")
	n.use(fixedBinder{cell}, []dtab.Path{name}, 10)
	defer n.close()

	done := make(chan struct{})
	var changing sync.WaitGroup
	defer changing.Wait()
	defer close(done)
	changing.Go(func() {
		for {
			select {
			case <-done:
				return
			default:
				cell.Set(namer.Binding{Status: namer.OK})
			}
		}
	})
	for i := range 300 {
		var fixed []dtab.Path
		if i%2 == 1 {
			fixed = []dtab.Path{name}
		}
		b := fixedBinder{cell}
		if i%3 == 0 {
			b = fixedBinder{watch.Reader[namer.Binding](watch.New(cell.Value(), nil))}
		}
		n.use(b, fixed, 10)
		if got, want := n.wire, 1-len(fixed); got != want {
			t.Fatalf("%d names from outside, want %d", got, want)
		}
	}
}

// guestBinder notes how names are bound, and binds those below /svc/known.
type guestBinder struct {
	mu     sync.Mutex
	guests map[string]bool // by name, while it is bound
}

func (b *guestBinder) bind(ctx context.Context, name dtab.Path, guest bool) watch.Reader[namer.Binding] {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.guests[name.String()] = guest
	context.AfterFunc(ctx, func() {
		b.mu.Lock()
		defer b.mu.Unlock()
		if b.guests[name.String()] == guest {
			delete(b.guests, name.String())
		}
	})
	binding := namer.Binding{Status: namer.OK}
	if name.HasPrefix(dtab.Path{"svc", "known"}) {
		binding.Clusters = []namer.Cluster{{ID: name, Share: 1, Addr: namer.Addr{Status: namer.OK}}}
	}
	return watch.Fixed(binding)
}

func (b *guestBinder) Bind(ctx context.Context, name dtab.Path) watch.Reader[namer.Binding] {
	return b.bind(ctx, name, false)
}

func (b *guestBinder) BindGuest(ctx context.Context, name dtab.Path) watch.Reader[namer.Binding] {
	return b.bind(ctx, name, true)
}

func (b *guestBinder) bound() map[string]bool {
	synctest.Wait()
	b.mu.Lock()
	defer b.mu.Unlock()
	return maps.Clone(b.guests)
}

// TestNamesFromOutside: they are bound as guests, capped, and forgotten when idle, soon if they are nothing.
func TestNamesFromOutside(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m, err := newMetrics(prometheus.NewRegistry(), "test")
		if err != nil {
			t.Fatal(err)
		}
		n := newNames(m, hclog.NewNullLogger())
		defer n.close()
		b := &guestBinder{guests: map[string]bool{}}
		n.use(b, []dtab.Path{{"svc", "fixed"}}, 3)
		acquire := func(name string) *destination {
			t.Helper()
			d, err := n.acquire(dtab.MustParsePath(name), "/svc/*")
			if err != nil {
				t.Fatal(err)
			}
			synctest.Wait()
			return d
		}
		want := func(want map[string]bool) {
			t.Helper()
			if got := b.bound(); !maps.Equal(got, want) {
				t.Errorf("bound, and whether as guests: %v, want %v", got, want)
			}
		}
		held := acquire("/svc/held")
		n.release(acquire("/svc/nothing"))
		n.release(acquire("/svc/known"))
		want(map[string]bool{"/svc/fixed": false, "/svc/held": true, "/svc/nothing": true, "/svc/known": true})

		time.Sleep(time.Second)
		n.release(acquire("/svc/nothing")) // used again: what was known of it goes on, and its time starts anew
		n.release(acquire("/svc/known/2")) // takes the place of what stands for nothing
		want(map[string]bool{"/svc/fixed": false, "/svc/held": true, "/svc/known": true, "/svc/known/2": true})
		n.release(acquire("/svc/nothing")) // takes the place of the one that has been idle for the longest time
		want(map[string]bool{"/svc/fixed": false, "/svc/held": true, "/svc/nothing": true, "/svc/known/2": true})

		time.Sleep(wireNegLinger - time.Millisecond)
		n.evict()
		want(map[string]bool{"/svc/fixed": false, "/svc/held": true, "/svc/nothing": true, "/svc/known/2": true})
		time.Sleep(time.Millisecond)
		n.evict()
		want(map[string]bool{"/svc/fixed": false, "/svc/held": true, "/svc/known/2": true})
		time.Sleep(wireLinger)
		n.evict()
		want(map[string]bool{"/svc/fixed": false, "/svc/held": true})

		two, three := acquire("/svc/2"), acquire("/svc/3")
		if _, err := n.acquire(dtab.Path{"svc", "4"}, "/svc/*"); !errors.Is(err, errTooManyNames) {
			t.Errorf("a name too many: %v", err)
		}
		n.release(two)
		n.release(three)

		n.use(b, []dtab.Path{{"svc", "held"}}, 3) // it is in the configuration now, and no guest any more
		if got := b.bound(); got["/svc/held"] || !maps.Equal(got, map[string]bool{"/svc/fixed": false, "/svc/held": false, "/svc/2": true, "/svc/3": true}) {
			t.Errorf("after the reload: %v", got)
		}
		n.release(held)
	})
}

// TestScanKeepsGoodNames: names that are in use and stand for nothing, or for nothing yet, do not push out an idle one that
// stands for something, as long as few do; where most do, the one that has been idle for the longest time goes.
func TestScanKeepsGoodNames(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m, err := newMetrics(prometheus.NewRegistry(), "test")
		if err != nil {
			t.Fatal(err)
		}
		n := newNames(m, hclog.NewNullLogger())
		defer n.close()
		b := &guestBinder{guests: map[string]bool{}}
		n.use(b, nil, 4)
		acquire := func(name string) (*destination, error) {
			d, err := n.acquire(dtab.MustParsePath(name), "/svc/*")
			synctest.Wait()
			return d, err
		}
		good, err := acquire("/svc/known")
		if err != nil {
			t.Fatal(err)
		}
		n.release(good)
		var held []*destination
		for _, name := range []string{"/svc/1", "/svc/2", "/svc/3", "/svc/4", "/svc/5"} {
			if d, err := acquire(name); err == nil {
				held = append(held, d)
			} else if !errors.Is(err, errTooManyNames) {
				t.Fatal(err)
			}
		}
		if len(held) != 3 || n.find(good.name) != good {
			t.Errorf("%d names that stand for nothing, the good one is there: %v", len(held), n.find(good.name) == good)
		}
		for _, d := range held {
			n.release(d)
		}
		for _, name := range []string{"/svc/known/1", "/svc/known/2", "/svc/known/3", "/svc/known/4"} {
			time.Sleep(time.Millisecond)
			d, err := acquire(name)
			if err != nil {
				t.Fatal(err)
			}
			n.release(d)
		}
		if n.find(good.name) != nil || n.wire != 4 {
			t.Errorf("%d names, the oldest is there: %v", n.wire, n.find(good.name) != nil)
		}
	})
}
