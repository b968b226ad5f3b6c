// Package storetest is what every store.Store must do, as a test suite.
package storetest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"argosy/dtab"
	"argosy/namerd/store"
)

// patience is how long a change may take to be seen.
const patience = 10 * time.Second

// Run runs the suite. open makes an empty store for each test; what it opens is to be closed by t.Cleanup.
func Run(t *testing.T, open func(t *testing.T) store.Store) {
	tests := map[string]func(*testing.T, store.Store){
		"CreateAndGet":         createAndGet,
		"Missing":              missing,
		"Names":                names,
		"UpdateNeedsVersion":   updateNeedsVersion,
		"VersionsDoNotRepeat":  versionsDoNotRepeat,
		"OneOfManyWriters":     oneOfManyWriters,
		"NoUpdateIsLost":       noUpdateIsLost,
		"ObserveFollows":       observeFollows,
		"ObserveMissing":       observeMissing,
		"ObserveEndsWithCtx":   observeEndsWithCtx,
		"ObserveIsNotMixedUp":  observeIsNotMixedUp,
		"TextsSurvive":         textsSurvive,
		"EndedContextIsNoHang": endedContextIsNoHang,
		"HistoryTells":         historyTells,
		"HistoryOfNobody":      historyOfNobody,
		"HistoryIsBounded":     historyIsBounded,
		"HistoryOfManyWriters": historyOfManyWriters,
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) { test(t, open(t)) })
	}
}

func table(text string) dtab.Dtab {
	d, err := dtab.Parse(text)
	if err != nil {
		panic(err)
	}
	return d
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func wantError(t *testing.T, what string, got error, want ...error) {
	t.Helper()
	for _, w := range want {
		if errors.Is(got, w) {
			return
		}
	}
	t.Errorf("%s: got error %v, want %v", what, got, want)
}

func get(t *testing.T, s store.Store, ns string) store.Entry {
	t.Helper()
	e, err := s.Get(t.Context(), ns)
	must(t, err)
	return e
}

func createAndGet(t *testing.T, s store.Store) {
	want := table("/svc => /#/io.l5d.consul/dc1; /svc/redis => 3 * /svc/redis1 & /svc/redis2 | ! ")
	must(t, s.Create(t.Context(), "default", want))
	first := get(t, s, "default")
	if !first.Dtab.Equal(want) || first.Version == "" {
		t.Errorf("got %s version %q, want %s", first.Dtab, first.Version, want)
	}
	wantError(t, "create again", s.Create(t.Context(), "default", table("/x => /y")), store.ErrExists)
	if again := get(t, s, "default"); !again.Dtab.Equal(want) || again.Version != first.Version {
		t.Errorf("a refused create changed the table: %v", again)
	}
	must(t, s.Put(t.Context(), "default", table("")))
	if e := get(t, s, "default"); len(e.Dtab) != 0 || e.Version == first.Version {
		t.Errorf("after put: %v", e)
	}
	must(t, s.Put(t.Context(), "created-by-put", want))
	if e := get(t, s, "created-by-put"); !e.Dtab.Equal(want) {
		t.Errorf("after put: %v", e)
	}
	must(t, s.Delete(t.Context(), "default"))
	_, err := s.Get(t.Context(), "default")
	wantError(t, "get after delete", err, store.ErrMissing)
}

func missing(t *testing.T, s store.Store) {
	_, err := s.Get(t.Context(), "nobody")
	wantError(t, "get", err, store.ErrMissing)
	wantError(t, "delete", s.Delete(t.Context(), "nobody"), store.ErrMissing)
	wantError(t, "update", s.Update(t.Context(), "nobody", nil, "1"), store.ErrMissing, store.ErrVersion)
	wantError(t, "update with version 0", s.Update(t.Context(), "nobody", nil, "0"), store.ErrMissing, store.ErrVersion)
	_, err = s.Get(t.Context(), "nobody")
	wantError(t, "get after all that", err, store.ErrMissing)
	if list, err := s.List(t.Context()); err != nil || len(list) != 0 {
		t.Errorf("an empty store lists %q, %v", list, err)
	}
}

func names(t *testing.T, s store.Store) {
	for _, ns := range []string{"b", "a", "Z_9-", "default"} {
		must(t, s.Create(t.Context(), ns, table("/a=>/b")))
	}
	list, err := s.List(t.Context())
	must(t, err)
	if want := []string{"Z_9-", "a", "b", "default"}; !slices.Equal(list, want) {
		t.Errorf("got %q, want %q", list, want)
	}
	for _, ns := range []string{"", "a/b", "a b", "ä", "a.b", "..", "a%20b", "a\x00", "a?b", "a#b"} {
		_, err := s.Get(t.Context(), ns)
		wantError(t, fmt.Sprintf("get %q", ns), err, store.ErrName)
		wantError(t, fmt.Sprintf("create %q", ns), s.Create(t.Context(), ns, nil), store.ErrName)
		wantError(t, fmt.Sprintf("put %q", ns), s.Put(t.Context(), ns, nil), store.ErrName)
		wantError(t, fmt.Sprintf("update %q", ns), s.Update(t.Context(), ns, nil, "1"), store.ErrName)
		wantError(t, fmt.Sprintf("delete %q", ns), s.Delete(t.Context(), ns), store.ErrName)
	}
	again, err := s.List(t.Context())
	must(t, err)
	if !slices.Equal(again, list) {
		t.Errorf("refused names show up: %q", again)
	}
}

func updateNeedsVersion(t *testing.T, s store.Store) {
	must(t, s.Create(t.Context(), "default", table("/a=>/1")))
	v1 := get(t, s, "default").Version
	must(t, s.Update(t.Context(), "default", table("/a=>/2"), v1))
	second := get(t, s, "default")
	if second.Version == v1 || second.Dtab.String() != "/a=>/2" {
		t.Errorf("after update: %v", second)
	}
	for _, v := range []store.Version{v1, "", "x", "0", second.Version + "0"} {
		wantError(t, fmt.Sprintf("update with version %q", v), s.Update(t.Context(), "default", table("/a=>/3"), v), store.ErrVersion)
	}
	if e := get(t, s, "default"); e.Version != second.Version || e.Dtab.String() != "/a=>/2" {
		t.Errorf("a refused update changed the table: %v", e)
	}
}

func versionsDoNotRepeat(t *testing.T, s store.Store) {
	must(t, s.Create(t.Context(), "default", table("/a=>/1")))
	old := get(t, s, "default").Version
	must(t, s.Delete(t.Context(), "default"))
	must(t, s.Create(t.Context(), "default", table("/a=>/2")))
	wantError(t, "update with the version of the one before", s.Update(t.Context(), "default", table("/a=>/3"), old), store.ErrVersion)
}

func oneOfManyWriters(t *testing.T, s store.Store) {
	must(t, s.Create(t.Context(), "default", table("/a=>/0")))
	v := get(t, s, "default").Version
	const writers = 8
	var mu sync.Mutex
	var won []int
	var wg sync.WaitGroup
	for i := range writers {
		wg.Go(func() {
			err := s.Update(t.Context(), "default", table(fmt.Sprintf("/a=>/%d", i+1)), v)
			if err == nil {
				mu.Lock()
				won = append(won, i+1)
				mu.Unlock()
			} else if !errors.Is(err, store.ErrVersion) {
				t.Errorf("writer %d: %v", i, err)
			}
		})
	}
	wg.Wait()
	if len(won) != 1 {
		t.Fatalf("%d writers won: %v", len(won), won)
	}
	if got, want := get(t, s, "default").Dtab.String(), fmt.Sprintf("/a=>/%d", won[0]); got != want {
		t.Errorf("got %s, but %s won", got, want)
	}
}

// appended has several writers read, change and write until it is accepted, and returns how many entries they made.
func appended(t *testing.T, s store.Store) int {
	must(t, s.Create(t.Context(), "default", table("")))
	const writers, rounds = 4, 5
	var wg sync.WaitGroup
	for i := range writers {
		wg.Go(func() {
			for round := range rounds {
				for {
					e, err := s.Get(t.Context(), "default")
					if err != nil {
						t.Error(err)
						return
					}
					err = s.Update(t.Context(), "default", e.Dtab.Concat(table(fmt.Sprintf("/w/%d/%d=>/x", i, round))), e.Version)
					if err == nil {
						break
					}
					if !errors.Is(err, store.ErrVersion) {
						t.Error(err)
						return
					}
				}
			}
		})
	}
	wg.Wait()
	return writers * rounds
}

func noUpdateIsLost(t *testing.T, s store.Store) {
	want := appended(t, s)
	if got := len(get(t, s, "default").Dtab); got != want {
		t.Errorf("%d entries, want %d", got, want)
	}
}

// observer collects what a store publishes.
type observer struct {
	t    *testing.T
	news chan store.Observation
	stop func()
}

func observe(t *testing.T, s store.Store, ns string) *observer {
	ctx, cancel := context.WithCancel(context.Background())
	o := &observer{t: t, news: make(chan store.Observation, 1000)}
	done := make(chan struct{})
	var busy sync.Mutex
	go func() {
		defer close(done)
		s.Observe(ctx, ns, func(v store.Observation) {
			if !busy.TryLock() {
				t.Error("publish is called by two goroutines at once")
				return
			}
			defer busy.Unlock()
			o.news <- v
		})
	}()
	o.stop = func() {
		cancel()
		select {
		case <-done:
		case <-time.After(patience):
			t.Error("Observe does not return when its context ends")
		}
	}
	t.Cleanup(o.stop)
	return o
}

// until waits for an observation that f likes, skipping others.
func (o *observer) until(what string, f func(store.Observation) bool) store.Observation {
	o.t.Helper()
	deadline := time.After(patience)
	var last store.Observation
	for {
		select {
		case last = <-o.news:
			if f(last) {
				return last
			}
		case <-deadline:
			o.t.Fatalf("not seen: %s; last seen %+v", what, last)
		}
	}
}

func (o *observer) table(text string) store.Observation {
	o.t.Helper()
	return o.until(text, func(v store.Observation) bool {
		return v.Known && v.Exists && v.Err == nil && v.Entry.Dtab.String() == text
	})
}

func (o *observer) absent() {
	o.t.Helper()
	o.until("absent", func(v store.Observation) bool { return v.Known && !v.Exists && v.Err == nil })
}

func observeFollows(t *testing.T, s store.Store) {
	must(t, s.Create(t.Context(), "default", table("/a=>/1")))
	o := observe(t, s, "default")
	seen := o.table("/a=>/1")
	if v := get(t, s, "default").Version; seen.Entry.Version != v {
		t.Errorf("observed version %q, read %q", seen.Entry.Version, v)
	}
	must(t, s.Put(t.Context(), "default", table("/a=>/2")))
	seen = o.table("/a=>/2")
	must(t, s.Update(t.Context(), "default", table("/a=>/3"), seen.Entry.Version))
	o.table("/a=>/3")
	must(t, s.Delete(t.Context(), "default"))
	o.absent()
	must(t, s.Create(t.Context(), "default", table("/a=>/4")))
	o.table("/a=>/4")
	// A second observer starts with what is there.
	observe(t, s, "default").table("/a=>/4")
}

func observeMissing(t *testing.T, s store.Store) {
	o := observe(t, s, "later")
	o.absent()
	must(t, s.Create(t.Context(), "later", table("/a=>/1")))
	o.table("/a=>/1")
}

func observeEndsWithCtx(t *testing.T, s store.Store) {
	o := observe(t, s, "default")
	o.absent()
	o.stop()
	must(t, s.Create(t.Context(), "default", table("/a=>/1")))
	select {
	case v := <-o.news:
		t.Errorf("published after the end: %+v", v)
	case <-time.After(50 * time.Millisecond):
	}
	// With a name that cannot be, too.
	observe(t, s, "no such/name").stop()
}

func observeIsNotMixedUp(t *testing.T, s store.Store) {
	a, ab := observe(t, s, "a"), observe(t, s, "ab")
	must(t, s.Create(t.Context(), "ab", table("/ab=>/1")))
	ab.table("/ab=>/1")
	must(t, s.Create(t.Context(), "a", table("/a=>/1")))
	a.until("only its own", func(v store.Observation) bool {
		if v.Exists && v.Entry.Dtab.String() != "/a=>/1" {
			t.Errorf("observer of a sees %s", v.Entry.Dtab)
		}
		return v.Exists
	})
}

func textsSurvive(t *testing.T, s store.Store) {
	for i, text := range []string{
		"", "/=>/", "/*=>/#/x/y", "/svc=>~", "/svc=>!", "/svc=>$", `/svc/a\x20b=>/\xff\x00`, "/a=>/b;/a=>/c;/a=>/b",
		"/s=>/a | (/b & 2.50 * /c) | $", "/x%y=>/$/inet/127.0.0.1/80", "/a/*/b=>(/1 | /2) & 0.01 * (/3 | /4)",
	} {
		want := table(text)
		ns := fmt.Sprintf("ns-%d", i)
		must(t, s.Create(t.Context(), ns, want))
		if got := get(t, s, ns).Dtab; !got.Equal(want) {
			t.Errorf("%q came back as %q", text, got)
		}
	}
}

func endedContextIsNoHang(t *testing.T, s store.Store) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	done := make(chan struct{})
	go func() {
		defer close(done)
		_, _ = s.List(ctx)
		_, _ = s.Get(ctx, "default")
		_ = s.Put(ctx, "default", nil)
		s.Observe(ctx, "default", func(store.Observation) {})
	}()
	select {
	case <-done:
	case <-time.After(patience):
		t.Error("calls with an ended context hang")
	}
}
