package namer_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"argosy/dtab"
	"argosy/internal/watch"
	"argosy/namer"
	"argosy/namer/manual"
)

// rig is an interpreter over a table and the hand-driven namer at /#/m. It lives in a synctest bubble.
type rig struct {
	t     *testing.T
	table *watch.Cell[namer.TableState]
	m     *manual.Namer
	in    *namer.Interpreter
}

func newRig(t *testing.T, table string, change func(*namer.Options)) *rig {
	r := &rig{t: t, table: watch.New(namer.TableState{}, namer.TableState.Equal), m: manual.New(1)}
	r.set(table)
	opts := namer.Options{Dtab: r.table, Mounts: []namer.Mount{{Prefix: dtab.MustParsePath("/#/m"), Namer: r.m}}}
	if change != nil {
		change(&opts)
	}
	r.in = namer.NewInterpreter(opts)
	t.Cleanup(r.in.Close)
	return r
}

func (r *rig) set(table string) {
	r.t.Helper()
	d, err := dtab.Parse(table)
	if err != nil {
		r.t.Fatal(err)
	}
	r.table.Set(namer.TableState{Status: namer.OK, Dtab: d})
}

func (r *rig) bind(name string) watch.Reader[namer.Binding] {
	return r.in.Bind(r.t.Context(), dtab.MustParsePath(name))
}

// show renders a binding: status, tree with addresses, and what is wrong.
func show(b namer.Binding) string {
	if b.Status != namer.OK {
		return b.Status.String()
	}
	text := dtab.Show(b.Tree, func(l namer.Bound) string {
		return l.ID.String() + "[" + strings.Join(addrsOf(l.Addr), " ") + "]"
	})
	if b.Err != nil {
		text += " stale"
	}
	return text
}

func (r *rig) want(b watch.Reader[namer.Binding], want string) {
	r.t.Helper()
	synctest.Wait()
	if v, _ := b.Load(); show(v) != want {
		r.t.Fatalf("got %s (%v), want %s", show(v), v.Err, want)
	}
}

func bubble(t *testing.T, f func(t *testing.T)) { t.Helper(); synctest.Test(t, f) }

func TestFollowsTableNamerAndAddresses(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := newRig(t, "/svc/redis => /#/m/one", nil)
		begin := time.Now()
		b := r.bind("/svc/redis")
		r.want(b, "pending")
		r.m.SetEndpoints("one", "10.0.0.1:1")
		r.want(b, "/#/m/one[10.0.0.1:1]")
		r.m.SetEndpoints("one", "10.0.0.1:1", "10.0.0.2:1")
		r.want(b, "/#/m/one[10.0.0.1:1 10.0.0.2:1]")
		r.m.SetEndpoints("two", "10.0.0.3:1")
		r.set("/svc/redis => /#/m/two")
		r.want(b, "/#/m/two[10.0.0.3:1]")
		r.set("/svc/redis => 9*/#/m/two & /#/m/one")
		r.want(b, "9.00*/#/m/two[10.0.0.3:1] & /#/m/one[10.0.0.1:1 10.0.0.2:1]")
		r.m.Remove("two")
		r.want(b, "/#/m/one[10.0.0.1:1 10.0.0.2:1]")
		if took := time.Since(begin); took != 0 {
			t.Errorf("waited %v for timers", took)
		}
	})
}

func TestEqualBindingsWakeNobody(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := newRig(t, "/svc => /#/m", nil)
		r.m.SetEndpoints("a", "10.0.0.1:1")
		b := r.bind("/svc/a")
		r.want(b, "/#/m/a[10.0.0.1:1]")
		_, superseded := b.Load()
		r.m.SetEndpoints("a", "10.0.0.1:1")
		r.set("/svc => /#/m; /other => /x")
		synctest.Wait()
		r.set("/svc => /x | /#/m; /x => /y; /y => ~")
		synctest.Wait()
		select {
		case <-superseded:
			t.Error("woken by changes that make no difference")
		default:
		}
	})
}

func TestAlternativesAreWatchedWhileNeeded(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := newRig(t, "/svc => /#/m/a | /#/m/b | /#/m/c", func(o *namer.Options) { o.Linger = 5 * time.Second })
		watching := func(want ...string) {
			t.Helper()
			synctest.Wait()
			if got := r.m.Watching(); !slices.Equal(got, want) {
				t.Errorf("watching %v, want %v", got, want)
			}
		}
		r.m.SetEndpoints("a", "10.0.0.1:1")
		r.m.SetEndpoints("b", "10.0.0.2:1")
		ctx, cancel := context.WithCancel(t.Context())
		b := r.in.Bind(ctx, dtab.MustParsePath("/svc"))
		watching("a")
		r.m.Remove("a")
		watching("a", "b")
		r.want(b, "/#/m/b[10.0.0.2:1]")
		r.m.SetEndpoints("a", "10.0.0.1:1")
		r.want(b, "/#/m/a[10.0.0.1:1]")
		watching("a", "b") // b lingers
		time.Sleep(4 * time.Second)
		r.m.Remove("a")
		watching("a", "b")
		time.Sleep(4 * time.Second) // in use again, so it stays
		r.m.SetEndpoints("a", "10.0.0.1:1")
		watching("a", "b")
		time.Sleep(5*time.Second + time.Millisecond)
		watching("a")
		if n := r.m.Opened("b"); n != 1 {
			t.Errorf("b was opened %d times", n)
		}
		cancel()
		watching("a")
		time.Sleep(4 * time.Second)
		ctx, cancel = context.WithCancel(t.Context())
		r.in.Bind(ctx, dtab.MustParsePath("/svc"))
		synctest.Wait()
		cancel()
		synctest.Wait()
		time.Sleep(4 * time.Second) // counted from the last use, not from the one before
		watching("a")
		time.Sleep(time.Second + time.Millisecond)
		watching()
	})
}

// Names may come from strangers: what is left of those who have gone is bounded, whatever the linger.
func TestFewWatchesLinger(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := newRig(t, "/svc => /#/m", func(o *namer.Options) { o.Linger = time.Hour })
		for range 3 {
			for i := range 500 {
				ctx, cancel := context.WithCancel(t.Context())
				r.in.Bind(ctx, dtab.MustParsePath(fmt.Sprintf("/svc/scan%d", i)))
				synctest.Wait()
				cancel()
				synctest.Wait()
			}
		}
		if n := len(r.m.Watching()); n == 0 || n > 100 {
			t.Errorf("%d watches are left", n)
		}
		time.Sleep(2 * time.Hour)
		if n := len(r.m.Watching()); n != 0 {
			t.Errorf("%d watches are left much later", n)
		}
		ctx, cancel := context.WithCancel(t.Context()) // and there is room again
		r.in.Bind(ctx, dtab.MustParsePath("/svc/last"))
		cancel()
		synctest.Wait()
		if got := r.m.Watching(); len(got) != 1 {
			t.Errorf("watching %v", got)
		}
	})
}

func TestNamesShareWatches(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := newRig(t, "/svc => /#/m; /else => 3*/#/m/a & /#/m/a/x", nil)
		r.m.SetEndpoints("a", "10.0.0.1:1")
		for i := range 50 {
			r.bind(fmt.Sprintf("/svc/a/%d", i))
			r.bind("/else")
		}
		b := r.bind("/svc/a/rest/of/it")
		r.want(b, "/#/m/a[10.0.0.1:1]")
		if v, _ := b.Load(); v.Clusters[0].Residual.String() != "/rest/of/it" {
			t.Errorf("residual %s", v.Clusters[0].Residual)
		}
		if n := r.m.Opened("a"); n != 1 {
			t.Errorf("opened %d times", n)
		}
		ctx, cancel := context.WithCancel(t.Context())
		again := r.in.Bind(ctx, dtab.MustParsePath("/else2"))
		r.set("/else2 => /#/m/b & /#/m/b/x & /#/m/b")
		r.want(again, "pending")
		cancel()
		synctest.Wait()
		time.Sleep(time.Minute)
		if got := r.m.Watching(); slices.Contains(got, "b") {
			t.Error("a watch that was used thrice by one name outlives it")
		}
	})
}

func TestNamersBehindOneAnother(t *testing.T) {
	bubble(t, func(t *testing.T) {
		second := manual.New(1)
		r := newRig(t, "", func(o *namer.Options) {
			o.Mounts = append(o.Mounts, namer.Mount{Prefix: dtab.MustParsePath("/#/m"), Namer: second})
		})
		second.SetEndpoints("a", "10.0.0.2:1")
		b := r.bind("/#/m/a")
		r.want(b, "pending")
		r.m.Remove("a")
		r.want(b, "/#/m/a[10.0.0.2:1]")
		r.m.SetEndpoints("a", "10.0.0.1:1")
		r.want(b, "/#/m/a[10.0.0.1:1]")
		r.m.SetAddr("a", namer.Addr{Status: namer.Neg})
		r.want(b, "/#/m/a[]") // a leaf all the same
		r.set("/#/m/a => ~")
		r.want(b, "/#/m/a[]") // one entry with ~ hides nothing
		r.set("/#/m/a => ~ | ~")
		r.want(b, "~") // an alternation of them does
	})
}

func TestDepthCountsLookups(t *testing.T) {
	bubble(t, func(t *testing.T) {
		chain := func(n int) string { return fmt.Sprintf("%s; /r%d => /#/m/a", chain(n), n) }
		r := newRig(t, chain(98), func(o *namer.Options) { o.Raw = true })
		r.m.SetEndpoints("a", "10.0.0.1:1")
		b := r.bind("/r0") // 99 rewrites and the namer's answer
		r.want(b, "/#/m/a[10.0.0.1:1]")
		r.set(chain(99))
		r.want(b, "failed")
		v, _ := b.Load()
		if want := "Max recursion level: 100 reached in Namer lookup"; v.Err.Error() != want {
			t.Errorf("got %v, want %s", v.Err, want)
		}
		r.set(chain(99) + "; /r99 => ~") // the answer is refused even if it is nothing
		r.want(b, "failed")
	})
}

func TestEmptyFallsThrough(t *testing.T) {
	for _, on := range []bool{false, true} {
		bubble(t, func(t *testing.T) {
			r := newRig(t, "/svc => /#/m/a | /#/m/b", func(o *namer.Options) { o.EmptyFallsThrough = on })
			r.m.SetEndpoints("a")
			r.m.SetEndpoints("b", "10.0.0.2:1")
			b := r.bind("/svc")
			want := func(off, onWant string) {
				t.Helper()
				if on {
					r.want(b, onWant)
				} else {
					r.want(b, off)
				}
			}
			want("/#/m/a[]", "/#/m/b[10.0.0.2:1]")
			r.m.SetEndpoints("b")
			want("/#/m/a[]", "/#/m/a[]") // nobody has any: the first stands for them
			r.m.SetEndpoints("a", "10.0.0.1:1")
			want("/#/m/a[10.0.0.1:1]", "/#/m/a[10.0.0.1:1]")
			r.m.SetEndpoints("a")
			r.m.SetEndpoints("b", "10.0.0.2:1")
			r.set("/svc => /#/m/b; /svc => /#/m/a") // entries are alternatives, too
			want("/#/m/a[]", "/#/m/b[10.0.0.2:1]")
			r.set("/svc => /#/m/a & /#/m/a | /#/m/b")
			want("/#/m/a[] & /#/m/a[]", "/#/m/b[10.0.0.2:1]")
			r.set("/svc => /#/m/a & /#/m/b | $")
			want("/#/m/a[] & /#/m/b[10.0.0.2:1]", "/#/m/a[] & /#/m/b[10.0.0.2:1]")
			r.set("/svc => $ | /#/m/b") // this is asked for
			want("$", "$")
			r.set("/svc => $ & /#/m/a | /#/m/b")
			want("$ & /#/m/a[]", "$ & /#/m/a[]")
			r.m.SetAddr("a", namer.Addr{Status: namer.Neg})
			r.set("/svc => /#/m/a | /#/m/b")
			want("/#/m/a[]", "/#/m/b[10.0.0.2:1]")
			r.m.SetAddr("a", namer.Addr{Status: namer.Pending})
			want("/#/m/a[]", "/#/m/a[]")
			r.set("/svc => /#/m/a")
			r.m.SetEndpoints("a")
			want("/#/m/a[]", "/#/m/a[]") // no alternative, no question
		})
	}
}

func TestPendingLegTimeout(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := newRig(t, "/svc => /#/m/slow | /#/m/b", func(o *namer.Options) { o.PendingLegTimeout = 3 * time.Second })
		r.m.SetEndpoints("b", "10.0.0.2:1")
		b := r.bind("/svc")
		r.want(b, "pending")
		time.Sleep(3*time.Second - time.Millisecond)
		r.want(b, "pending")
		time.Sleep(time.Millisecond)
		r.want(b, "/#/m/b[10.0.0.2:1]")
		r.m.SetEndpoints("slow", "10.0.0.1:1")
		r.want(b, "/#/m/slow[10.0.0.1:1]")
		r.set("/svc => /#/m/slow2 | ~")
		time.Sleep(time.Hour)
		v, _ := b.Load()
		if show(v) != "/#/m/slow[10.0.0.1:1] stale" { // what is not known is not nothing
			t.Errorf("got %s", show(v))
		}
	})
}

func TestLastGoodStays(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := newRig(t, "/svc => 3*/#/m/a & /#/m/b", func(o *namer.Options) { o.Linger = time.Second })
		r.m.SetEndpoints("a", "10.0.0.1:1")
		r.m.SetEndpoints("b", "10.0.0.2:1")
		b := r.bind("/svc")
		good := "3.00*/#/m/a[10.0.0.1:1] & /#/m/b[10.0.0.2:1]"
		r.want(b, good)
		for name, break_ := range map[string]func(){
			"table failed":  func() { r.table.Set(namer.TableState{Status: namer.Failed, Err: errors.New("boom")}) },
			"table pending": func() { r.table.Set(namer.TableState{}) },
			"loop":          func() { r.set("/svc => /svc") },
			"unknown class": func() { r.set("/svc => /$/nope") },
			"namer failed":  func() { r.m.Fail("c", errors.New("boom")); r.set("/svc => /#/m/c") },
			"namer pending": func() { r.m.Forget("c"); r.set("/svc => /#/m/c") },
		} {
			break_()
			synctest.Wait()
			time.Sleep(time.Minute)
			r.want(b, good+" stale")
			v, _ := b.Load()
			if len(v.Clusters) != 2 || v.Clusters[0].Share != 0.75 {
				t.Errorf("%s: clusters %+v", name, v.Clusters)
			}
			r.m.SetEndpoints("a", "10.0.0.3:1") // the names' endpoints are followed all the same
			r.want(b, "3.00*/#/m/a[10.0.0.3:1] & /#/m/b[10.0.0.2:1] stale")
			r.m.Fail("a", errors.New("and this, too"))
			r.want(b, "3.00*/#/m/a[10.0.0.3:1] & /#/m/b[10.0.0.2:1] stale")
			r.m.Remove("a")
			r.want(b, "3.00*/#/m/a[] & /#/m/b[10.0.0.2:1] stale")
			r.m.SetEndpoints("a", "10.0.0.1:1")
			r.set("/svc => 3*/#/m/a & /#/m/b")
			r.want(b, good)
		}
		r.set("/svc => !") // this is an answer
		r.want(b, "!")
		r.set("/svc => /svc")
		r.want(b, "failed") // nothing is not worth keeping
		r.set("/svc => /#/m/d")
		r.want(b, "pending")
		r.set("/svc => ~")
		time.Sleep(time.Minute)
		if got := r.m.Watching(); len(got) > 0 {
			t.Errorf("still watching %v", got)
		}
	})
}

func TestPendingTableTellsWhy(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := newRig(t, "", nil)
		r.table.Set(namer.TableState{Err: errors.New("store is away")})
		b := r.bind("/svc")
		r.want(b, "pending")
		if v, _ := b.Load(); v.Err == nil || v.Err.Error() != "store is away" {
			t.Errorf("got %v", v.Err)
		}
	})
}

func TestFirstFailureIsOne(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := newRig(t, "/svc => /$/nope/x", nil)
		b := r.bind("/svc/y")
		r.want(b, "failed")
		v, _ := b.Load()
		if want := "Unknown namer: nope for path: /$/nope/x/y"; v.Err.Error() != want {
			t.Errorf("got %v, want %s", v.Err, want)
		}
	})
}

func TestFirstErrorOfAUnionCounts(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := newRig(t, "/svc => /#/m/a & /#/m/b & /#/m/c", nil)
		r.m.Fail("b", errors.New("first"))
		r.m.Fail("c", errors.New("second"))
		b := r.bind("/svc")
		r.want(b, "failed")
		if v, _ := b.Load(); v.Err.Error() != "first" {
			t.Errorf("got %v", v.Err)
		}
	})
}

func TestLocalEntriesWin(t *testing.T) {
	bubble(t, func(t *testing.T) {
		local, _ := dtab.Parse("/svc => /#/m/b")
		r := newRig(t, "/svc => /#/m/a", func(o *namer.Options) { o.Local = local })
		r.m.SetEndpoints("a", "10.0.0.1:1")
		r.m.SetEndpoints("b", "10.0.0.2:1")
		b := r.bind("/svc")
		r.want(b, "/#/m/b[10.0.0.2:1]")
		r.m.Remove("b")
		r.want(b, "/#/m/a[10.0.0.1:1]")
	})
}

func TestCloseEndsEverything(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := newRig(t, "/svc => /#/m", nil)
		r.m.SetEndpoints("a", "10.0.0.1:1")
		b := r.in.Bind(context.Background(), dtab.MustParsePath("/svc/a"))
		r.want(b, "/#/m/a[10.0.0.1:1]")
		r.in.Close()
		if got := r.m.Watching(); len(got) > 0 {
			t.Errorf("still watching %v", got)
		}
		r.m.SetEndpoints("a", "10.0.0.2:1")
		r.want(b, "/#/m/a[10.0.0.1:1]") // the last value stays
		if v, _ := r.bind("/svc/a").Load(); !errors.Is(v.Err, namer.ErrClosed) {
			t.Errorf("after Close: %s, %v", show(v), v.Err)
		}
		r.in.Close()
	})
}
