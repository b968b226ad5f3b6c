// Package namertest is the suite that every namer passes.
package namertest

import (
	"context"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"argosy/dtab"
	"argosy/namer"
)

// Fixture is a namer with something behind it. Whatever it starts, it must stop through t.Cleanup.
type Fixture struct {
	Namer   namer.Namer
	Name    dtab.Path     // a name below the prefix that comes to bound leaves, and has nothing left over
	Missing dtab.Path     // a name that is nothing; nil if there is none to test with
	Change  func()        // changes what Name stands for, so that its answer differs; nil if that never happens
	Trouble func()        // makes the source fail from now on; nil if that cannot happen
	Wait    time.Duration // how long an answer may take; 10s unless set
}

// prefix is where the suite mounts the namer.
var prefix = dtab.Path{"#", "io.argosy.test"}

// Run tests the namer that make provides, with a fresh one for each test.
func Run(t *testing.T, make func(t *testing.T) Fixture) {
	for _, test := range []struct {
		name string
		run  func(*testing.T, Fixture)
	}{
		{"split is a division", testSplit},
		{"publishes well-formed answers", testAnswer},
		{"binds its ids to themselves", testIDs},
		{"knows what is missing", testMissing},
		{"follows changes", testChange},
		{"keeps the last good answer", testTrouble},
		{"ends with its context", testEnd},
		{"has independent watches", testIndependent},
		{"peeks as it publishes", testPeek},
		{"lists keys", testNames},
	} {
		t.Run(test.name, func(t *testing.T) {
			f := make(t)
			if f.Wait == 0 {
				f.Wait = 10 * time.Second
			}
			test.run(t, f)
		})
	}
}

func testSplit(t *testing.T, f Fixture) {
	rest := dtab.Path{"more", "\xff/\x00", "of it"}
	name := f.Name.Concat(rest)
	before := name.Concat()
	key, residual, ok := f.Namer.Split(name)
	if !ok || !key.Concat(residual).Equal(name) {
		t.Fatalf("%s splits into %s and %s, %v", name, key, residual, ok)
	}
	if !name.Equal(before) {
		t.Errorf("Split changed its argument to %s", name)
	}
	again, left, ok := f.Namer.Split(key)
	if !ok || !again.Equal(key) || len(left) > 0 {
		t.Errorf("the key %s splits into %s and %s, %v", key, again, left, ok)
	}
	for n := range f.Name { // whatever shorter names are, asking must not panic
		if key, residual, ok := f.Namer.Split(f.Name[:n]); ok && !key.Concat(residual).Equal(f.Name[:n]) {
			t.Errorf("%s splits into %s and %s", f.Name[:n], key, residual)
		}
	}
}

func testAnswer(t *testing.T, f Fixture) {
	w := start(t, f, f.Name)
	a := w.await(known)
	var leaves int
	dtab.Map(a.Tree, func(l namer.Leaf) struct{} {
		if l.Bound == nil {
			return struct{}{}
		}
		leaves++
		b := *l.Bound
		if !b.ID.HasPrefix(prefix) {
			t.Errorf("id %s does not start with %s", b.ID, prefix)
		}
		if !b.ID.Concat(b.Residual).HasPrefix(b.ID) || len(b.ID) <= len(prefix) {
			t.Errorf("id %s has nothing below the prefix", b.ID)
		}
		if len(b.Residual) > 0 {
			t.Errorf("residual %s of a name that has nothing left over", b.Residual)
		}
		if b.Addr.Status == namer.Failed && b.Addr.Err == nil {
			t.Error("a failed address without an error")
		}
		if !slices.IsSortedFunc(b.Addr.Endpoints, func(x, y namer.Endpoint) int {
			if x.Addr < y.Addr {
				return -1
			}
			return 1 // equal ones are out of order, too
		}) {
			t.Errorf("endpoints are not sorted by address, each once: %v", b.Addr.Endpoints)
		}
		for _, e := range b.Addr.Endpoints {
			if !(e.Weight >= 0) || e.Addr == "" {
				t.Errorf("endpoint %+v", e)
			}
		}
		return struct{}{}
	})
	if leaves == 0 {
		t.Errorf("%s is %s, without a bound leaf", f.Name, show(a))
	}
}

func testIDs(t *testing.T, f Fixture) {
	a := start(t, f, f.Name).await(known)
	for _, id := range ids(a) {
		key, residual, ok := f.Namer.Split(id[len(prefix):])
		if !ok || len(residual) > 0 {
			t.Fatalf("id %s splits into %s and %s, %v", id, key, residual, ok)
		}
		again := start(t, f, key).await(known)
		if got := ids(again); len(got) != 1 || !got[0].Equal(id) {
			t.Errorf("id %s is bound to %v", id, got)
		}
	}
}

func testMissing(t *testing.T, f Fixture) {
	if f.Missing == nil {
		return
	}
	key, _, ok := f.Namer.Split(f.Missing)
	if !ok {
		return // nothing already by its form
	}
	a := start(t, f, key).await(func(a namer.Answer) bool { return a.Status != namer.Pending })
	if a.Status != namer.OK || a.Tree.Kind != dtab.Neg {
		t.Errorf("%s is %s, want ~", f.Missing, show(a))
	}
}

func testChange(t *testing.T, f Fixture) {
	if f.Change == nil {
		return
	}
	w := start(t, f, f.Name)
	before := w.await(known)
	f.Change()
	w.await(func(a namer.Answer) bool { return a.Status == namer.OK && !a.Equal(before) })
}

func testTrouble(t *testing.T, f Fixture) {
	if f.Trouble == nil {
		return
	}
	w := start(t, f, f.Name)
	before := w.await(known)
	f.Trouble()
	time.Sleep(500 * time.Millisecond) // for the namer to notice
	after := w.await(known)
	if got, want := addrs(after), addrs(before); !slices.Equal(got, want) {
		t.Errorf("in trouble: %v instead of the last good %v", got, want)
	}
}

func testEnd(t *testing.T, f Fixture) {
	w := start(t, f, f.Name)
	w.await(known)
	w.stop(t)

	ended, cancel := context.WithCancel(t.Context())
	cancel()
	returned := make(chan struct{})
	go func() {
		defer close(returned)
		key, _, _ := f.Namer.Split(f.Name)
		f.Namer.Watch(ended, prefix, key, func(namer.Answer) {})
	}()
	select {
	case <-returned:
	case <-time.After(5 * time.Second):
		t.Error("Watch does not return when its context has ended before")
	}
}

func testIndependent(t *testing.T, f Fixture) {
	one, two := start(t, f, f.Name), start(t, f, f.Name)
	a := one.await(known)
	two.await(a.Equal)
	one.stop(t)
	if f.Change != nil {
		f.Change()
		two.await(func(b namer.Answer) bool { return b.Status == namer.OK && !b.Equal(a) })
	}
}

func testPeek(t *testing.T, f Fixture) {
	p, ok := f.Namer.(namer.Peeker)
	if !ok {
		return
	}
	key, _, _ := f.Namer.Split(f.Name)
	a := start(t, f, f.Name).await(known)
	if peeked, ok := p.Peek(prefix, key); ok && !peeked.Equal(a) {
		t.Errorf("peeked %s, published %s", show(peeked), show(a))
	}
}

func testNames(t *testing.T, f Fixture) {
	e, ok := f.Namer.(namer.Enumerator)
	if !ok {
		return
	}
	names, err := e.Names(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		if key, residual, ok := f.Namer.Split(name); !ok || len(residual) > 0 || !key.Equal(name) {
			t.Errorf("the listed name %s splits into %s and %s, %v", name, key, residual, ok)
		}
	}
}

// watcher runs one Watch and checks how it publishes.
type watcher struct {
	t        *testing.T
	wait     time.Duration
	cancel   context.CancelFunc
	returned chan struct{}
	changed  chan struct{} // one waiting token is enough
	inside   atomic.Int32
	over     atomic.Bool

	mu     sync.Mutex
	answer namer.Answer
}

func start(t *testing.T, f Fixture, name dtab.Path) *watcher {
	t.Helper()
	key, _, ok := f.Namer.Split(name)
	if !ok {
		t.Fatalf("%s is nothing by its form", name)
	}
	ctx, cancel := context.WithCancel(context.Background())
	w := &watcher{t: t, wait: f.Wait, cancel: cancel, returned: make(chan struct{}), changed: make(chan struct{}, 1)}
	go func() {
		defer close(w.returned)
		f.Namer.Watch(ctx, prefix, key, w.publish)
		w.over.Store(true)
		if ctx.Err() == nil {
			t.Error("Watch returned before its context ended")
		}
	}()
	t.Cleanup(func() {
		cancel()
		<-w.returned
	})
	return w
}

func (w *watcher) publish(a namer.Answer) {
	if w.inside.Add(1) > 1 {
		w.t.Error("publish was called by two goroutines at once")
	}
	defer w.inside.Add(-1)
	if w.over.Load() {
		w.t.Error("publish was called after Watch had returned")
	}
	if a.Status == namer.Failed && a.Err == nil {
		w.t.Error("a failed answer without an error")
	}
	w.mu.Lock()
	w.answer = a
	w.mu.Unlock()
	select {
	case w.changed <- struct{}{}:
	default:
	}
}

// await returns the first answer from now on that is ok.
func (w *watcher) await(ok func(namer.Answer) bool) namer.Answer {
	w.t.Helper()
	timeout := time.After(w.wait)
	for {
		w.mu.Lock()
		a := w.answer
		w.mu.Unlock()
		if ok(a) {
			return a
		}
		select {
		case <-w.changed:
		case <-timeout:
			w.t.Fatalf("no such answer within %v; the last was %s", w.wait, show(a))
		}
	}
}

// stop ends the watch and sees that it returns and stays silent.
func (w *watcher) stop(t *testing.T) {
	t.Helper()
	w.cancel()
	select {
	case <-w.returned:
	case <-time.After(5 * time.Second):
		t.Fatal("Watch does not return when its context ends")
	}
	time.Sleep(50 * time.Millisecond) // publish complains if it is called now
}

// known reports whether an answer has come to endpoints.
func known(a namer.Answer) bool { return a.Status == namer.OK && len(addrs(a)) > 0 }

func ids(a namer.Answer) []dtab.Path {
	var all []dtab.Path
	dtab.Map(a.Tree, func(l namer.Leaf) struct{} {
		if l.Bound != nil {
			all = append(all, l.Bound.ID)
		}
		return struct{}{}
	})
	return all
}

func addrs(a namer.Answer) []string {
	var all []string
	dtab.Map(a.Tree, func(l namer.Leaf) struct{} {
		if l.Bound != nil {
			for _, e := range l.Bound.Addr.Endpoints {
				all = append(all, e.Addr)
			}
		}
		return struct{}{}
	})
	return all
}

func show(a namer.Answer) string {
	if a.Status != namer.OK {
		if a.Err != nil {
			return a.Status.String() + ": " + a.Err.Error()
		}
		return a.Status.String()
	}
	return dtab.Show(a.Tree, func(l namer.Leaf) string {
		if l.Bound == nil {
			return l.Path.String()
		}
		return l.Bound.ID.String() + " (" + l.Bound.Addr.Status.String() + ")"
	})
}
