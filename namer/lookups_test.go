package namer_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"argosy/dtab"
	"argosy/internal/watch"
	"argosy/namer"
	"argosy/namer/manual"
)

func TestWatchesAreCapped(t *testing.T) {
	bubble(t, func(t *testing.T) {
		reg := prometheus.NewRegistry()
		r := newRig(t, "/svc => /#/m", func(o *namer.Options) { o.MaxWatches, o.Registry, o.Linger = 20, reg, time.Hour })
		guest := func(ctx context.Context, i int) watch.Reader[namer.Binding] {
			r.m.SetEndpoints(fmt.Sprint("guest", i), "10.0.0.1:1")
			return r.in.BindGuest(ctx, dtab.Path{"svc", fmt.Sprint("guest", i)})
		}
		refused := func(b watch.Reader[namer.Binding], most int) {
			t.Helper()
			v, _ := b.Load()
			var e *namer.TooManyWatchesError
			if v.Status != namer.Failed || !errors.As(v.Err, &e) || e.Most != most {
				t.Errorf("got %s, %v", show(v), v.Err)
			}
		}
		first, leave := context.WithCancel(t.Context())
		guest(first, 0)
		for i := 1; i < 18; i++ {
			guest(t.Context(), i)
		}
		late := guest(t.Context(), 18)
		refused(late, 18) // at once: the last two are not for guests
		r.m.SetEndpoints("a", "10.0.0.2:1")
		r.m.SetEndpoints("b", "10.0.0.3:1")
		r.m.SetEndpoints("c", "10.0.0.4:1")
		r.want(r.bind("/svc/a"), "/#/m/a[10.0.0.2:1]")
		r.want(r.bind("/svc/b"), "/#/m/b[10.0.0.3:1]")
		c := r.bind("/svc/c")
		refused(c, 20)
		again := r.bind("/svc/guest5/x") // what is watched already needs no room
		r.want(again, "/#/m/guest5[10.0.0.1:1]")
		if n := watchesOf(t, reg); n != 20 {
			t.Errorf("%v watches", n)
		}
		if n := len(r.m.Watching()); n != 20 {
			t.Errorf("%d are watched", n)
		}
		leave() // its watch lingers, and gives way
		time.Sleep(1100 * time.Millisecond)
		r.want(c, "/#/m/c[10.0.0.4:1]")
		refused(late, 18)
		if n := watchesOf(t, reg); n != 20 {
			t.Errorf("%v watches", n)
		}
		r.in.Close()
		if n := watchesOf(t, reg); n != 0 {
			t.Errorf("%v watches after the end", n)
		}
	})
}

func watchesOf(t *testing.T, reg *prometheus.Registry) float64 {
	t.Helper()
	families, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		if f.GetName() == "argosy_namer_watches" {
			return f.GetMetric()[0].GetGauge().GetValue()
		}
	}
	t.Fatal("no metric")
	return 0
}

// A thousand names that differ in what the namer does not look at, and in the way to it, are one watch.
func TestOneWatchForEachService(t *testing.T) {
	bubble(t, func(t *testing.T) {
		reg := prometheus.NewRegistry()
		r := newRig(t, "/svc => /#/m; /other => /svc | /#/m/a; /half => /#/m/a & /svc/a", func(o *namer.Options) { o.Registry = reg })
		r.m.SetEndpoints("a", "10.0.0.1:1")
		for i := range 300 {
			for _, name := range []string{"/svc/a/%d", "/other/a/%d", "/half/%d", "/#/m/a/%d"} {
				r.bind(fmt.Sprintf(name, i))
			}
		}
		synctest.Wait()
		if n := watchesOf(t, reg); n != 1 || r.m.Opened("a") != 1 {
			t.Errorf("%v watches, a was opened %d times", n, r.m.Opened("a"))
		}
	})
}

// What is known from the name alone is not watched: a rewritten name, an address.
func TestConstantsAreNotWatched(t *testing.T) {
	bubble(t, func(t *testing.T) {
		reg := prometheus.NewRegistry()
		r := newRig(t, "/h => /$/io.buoyant.hostportPfx/ip; /ip => /$/inet; /s => /$/io.buoyant.http.domainToPathPfx/#/m", func(o *namer.Options) { o.Registry = reg })
		for i := range 100 {
			r.want(r.bind(fmt.Sprintf("/h/10.0.0.%d:80/x", i)), fmt.Sprintf("/$/inet/10.0.0.%d/80[10.0.0.%d:80]", i, i))
		}
		if n := watchesOf(t, reg); n != 0 {
			t.Errorf("%v watches", n)
		}
	})
}

// slowPeeker takes its time to say what it knows at once.
type slowPeeker struct {
	*manual.Namer
	peeking, go_ chan struct{}
}

func (n slowPeeker) Peek(prefix, key dtab.Path) (namer.Answer, bool) {
	close(n.peeking)
	<-n.go_
	return n.Namer.Peek(prefix, key)
}

// Of two names that begin to need a service at the same time, the second must not be bound without what is known of it.
func TestWhoComesSecondWaitsForThePeek(t *testing.T) {
	bubble(t, func(t *testing.T) {
		n := slowPeeker{manual.New(1), make(chan struct{}), make(chan struct{})}
		n.SetEndpoints("a", "10.0.0.1:1")
		r := newRig(t, "/svc => /#/slow", func(o *namer.Options) {
			o.Mounts = []namer.Mount{{Prefix: dtab.MustParsePath("/#/slow"), Namer: n}}
		})
		got := make(chan namer.Binding, 2)
		bind := func() {
			b, _ := r.bind("/svc/a").Load()
			got <- b
		}
		go bind()
		<-n.peeking
		go bind()
		synctest.Wait()
		close(n.go_)
		for range 2 {
			if b := <-got; show(b) != "/#/slow/a[10.0.0.1:1]" {
				t.Errorf("first bound to %s", show(b))
			}
		}
	})
}
