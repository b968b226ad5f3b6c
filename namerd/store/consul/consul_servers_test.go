//go:build servers

package consul

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hashicorp/consul/api"
	"github.com/hashicorp/go-hclog"

	"argosy/dtab"
	"argosy/internal/consultest"
	"argosy/namerd/store"
)

func table(t *testing.T, text string) dtab.Dtab {
	t.Helper()
	d, err := dtab.Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func put(t *testing.T, c *consultest.Consul, key, value string) {
	t.Helper()
	if _, err := c.Client.KV().Put(&api.KVPair{Key: key, Value: []byte(value)}, nil); err != nil {
		t.Fatal(err)
	}
}

// observed follows a namespace.
type observed struct {
	mu      sync.Mutex
	last    store.Observation
	changes int
}

func observe(t *testing.T, s *Store, ns string) *observed {
	o := &observed{}
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() {
		s.Observe(ctx, ns, func(n store.Observation) {
			o.mu.Lock()
			defer o.mu.Unlock()
			o.last = n
			o.changes++
		})
	})
	t.Cleanup(func() { cancel(); wg.Wait() })
	return o
}

func (o *observed) newest() (store.Observation, int) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.last, o.changes
}

func show(o store.Observation) string {
	s := "unknown"
	if o.Known {
		s = "missing"
	}
	if o.Exists {
		s = o.Entry.Dtab.String()
	}
	if o.Err != nil {
		s += " +error"
	}
	return s
}

func (o *observed) expect(t *testing.T, want string) {
	t.Helper()
	consultest.Eventually(t, 15*time.Second, func() error {
		o.mu.Lock()
		defer o.mu.Unlock()
		if got := show(o.last); got != want {
			return fmt.Errorf("got %q, want %q (%v)", got, want, o.last.Err)
		}
		return nil
	})
}

func TestRealObserve(t *testing.T) {
	t.Parallel()
	c := consultest.Start(t, consultest.Options{})
	s := New(c.Client, "", hclog.NewNullLogger())
	put(t, c, "namerd/dtabs/broken", "/a => ")
	o, broken := observe(t, s, "default"), observe(t, s, "broken")
	o.expect(t, "missing")
	broken.expect(t, "unknown +error")
	put(t, c, "namerd/dtabs/broken", "/a => /b")
	broken.expect(t, "/a=>/b")

	if err := s.Create(t.Context(), "default", table(t, "/svc => /a")); err != nil {
		t.Fatal(err)
	}
	o.expect(t, "/svc=>/a")
	put(t, c, "namerd/dtabs/default", "# by hand\n/svc => /b ; \n")
	o.expect(t, "/svc=>/b")
	put(t, c, "namerd/dtabs/default", "/svc = /b")
	o.expect(t, "/svc=>/b +error")
	put(t, c, "namerd/dtabs/default", "/svc => /c")
	o.expect(t, "/svc=>/c")
	e, err := s.Get(t.Context(), "default")
	last, changes := o.newest()
	if err != nil || e.Version != last.Entry.Version {
		t.Errorf("version %s observed, %s read: %v", last.Entry.Version, e.Version, err)
	}

	// Neighbours wake nobody.
	for i := range 20 {
		put(t, c, fmt.Sprintf("namerd/dtabs/n%d", i), "/x => /y")
	}
	if err := s.Delete(t.Context(), "n3"); err != nil {
		t.Fatal(err)
	}
	if _, now := o.newest(); now != changes {
		t.Errorf("%d changes of neighbours were published", now-changes)
	}
	if err := s.Delete(t.Context(), "default"); err != nil {
		t.Fatal(err)
	}
	o.expect(t, "missing")
	if _, err := s.Get(t.Context(), "default"); !errors.Is(err, store.ErrMissing) {
		t.Errorf("get: %v", err)
	}
}

func TestRealWritesOfManyAreOrdered(t *testing.T) {
	t.Parallel()
	c := consultest.Start(t, consultest.Options{})
	s := New(c.Client, "", hclog.NewNullLogger())
	if err := s.Create(t.Context(), "default", table(t, "/n => /x")); err != nil {
		t.Fatal(err)
	}
	if err := s.Create(t.Context(), "default", nil); !errors.Is(err, store.ErrExists) {
		t.Errorf("created twice: %v", err)
	}
	if err := s.Update(t.Context(), "none", nil, "17"); !errors.Is(err, store.ErrVersion) {
		t.Errorf("updated what is missing: %v", err)
	}
	var wg sync.WaitGroup
	var mu sync.Mutex
	won := 0
	e, err := s.Get(t.Context(), "default")
	if err != nil {
		t.Fatal(err)
	}
	for i := range 8 {
		wg.Go(func() {
			err := s.Update(t.Context(), "default", table(t, fmt.Sprintf("/n => /x%d", i)), e.Version)
			if err == nil {
				mu.Lock()
				won++
				mu.Unlock()
			} else if !errors.Is(err, store.ErrVersion) {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if won != 1 {
		t.Errorf("%d of 8 updates of one version went through", won)
	}
	deleted := 0
	for range 4 {
		wg.Go(func() {
			if err := s.Delete(t.Context(), "default"); err == nil {
				mu.Lock()
				deleted++
				mu.Unlock()
			} else if !errors.Is(err, store.ErrMissing) {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if deleted != 1 {
		t.Errorf("%d of 4 deletes went through", deleted)
	}
}

func TestRealConsulIsKilled(t *testing.T) {
	t.Parallel()
	c := consultest.Start(t, consultest.Options{Keep: true})
	s := New(c.Client, "", hclog.NewNullLogger())
	if err := s.Create(t.Context(), "default", table(t, "/svc => /a")); err != nil {
		t.Fatal(err)
	}
	o := observe(t, s, "default")
	o.expect(t, "/svc=>/a")
	c.Kill()
	o.expect(t, "/svc=>/a +error")
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	if _, err := s.List(ctx); err == nil {
		t.Error("a dead Consul gave a list")
	}
	c.MustRestart(t)
	o.expect(t, "/svc=>/a")
	if err := s.Put(t.Context(), "default", table(t, "/svc => /b")); err != nil {
		t.Fatal(err)
	}
	o.expect(t, "/svc=>/b")
	if _, n := o.newest(); n > 6 {
		t.Errorf("%d changes published", n)
	}
}

// A Consul that has lost its data has no table. That nobody has deleted it is told by its index, also much later.
func TestRealConsulLosesItsData(t *testing.T) {
	t.Parallel()
	c := consultest.Start(t, consultest.Options{})
	s := New(c.Client, "", hclog.NewNullLogger())
	for i := range 100 { // so that the new Consul is not as far by chance
		put(t, c, fmt.Sprint("n", i%3), "x")
	}
	if err := s.Create(t.Context(), "default", table(t, "/svc => /a")); err != nil {
		t.Fatal(err)
	}
	o := observe(t, s, "default")
	o.expect(t, "/svc=>/a")
	c.MustRestart(t)
	o.expect(t, "/svc=>/a +error")
	consultest.Eventually(t, 15*time.Second, func() error {
		if last, _ := o.newest(); !errors.Is(last.Err, errLost) {
			return last.Err
		}
		return nil
	})
	for i := range 200 {
		put(t, c, fmt.Sprint("n", i%3), "x")
	}
	if err := s.Create(t.Context(), "other", nil); err != nil {
		t.Fatal(err)
	}
	o.expect(t, "/svc=>/a +error")
	if err := s.Create(t.Context(), "default", table(t, "/svc => /b")); err != nil {
		t.Fatal(err)
	}
	o.expect(t, "/svc=>/b")
	if err := s.Delete(t.Context(), "default"); err != nil {
		t.Fatal(err)
	}
	o.expect(t, "missing")
}

func TestRealSizeLimit(t *testing.T) {
	t.Parallel()
	c := consultest.Start(t, consultest.Options{})
	s := New(c.Client, "", hclog.NewNullLogger())
	var d dtab.Dtab
	for i := range 20_000 {
		d = append(d, table(t, fmt.Sprintf("/svc/%d => /some/where/far/away", i))...)
	}
	if err := s.Put(t.Context(), "big", d); !errors.Is(err, store.ErrLarge) || !strings.Contains(err.Error(), "524288") {
		t.Errorf("more than 512 KiB: %v", err)
	}
}
