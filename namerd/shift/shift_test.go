package shift

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
	"argosy/namerd/store"
)

// troubled is a store that can be told to fail.
type troubled struct {
	store.Store
	update func(try int) error // instead of the update, or nil
	after  func(try int) error // the update has been made, but the answer is lost
	tries  int
}

func (s *troubled) Update(ctx context.Context, ns string, d dtab.Dtab, v store.Version) error {
	s.tries++
	if s.update != nil {
		if err := s.update(s.tries); err != nil {
			return err
		}
	}
	err := s.Store.Update(ctx, ns, d, v)
	if err == nil && s.after != nil {
		return s.after(s.tries)
	}
	return err
}

// checkFunc is a check that a test decides.
type checkFunc func() (bad, note string, err error)

func (checkFunc) Begin(context.Context) error                          { return nil }
func (f checkFunc) Look(context.Context) (bad, note string, err error) { return f() }

const found = "/svc=>/c;/svc/redis=>/c/redis1"

// fixture is a shift over ten minutes in five steps, told as lines "minute kind percent notes".
type fixture struct {
	*store.Memory
	store   *troubled
	options Options
	lines   []string
}

func newFixture(t *testing.T, table string) *fixture {
	f := &fixture{Memory: store.NewMemory(map[string]dtab.Dtab{"default": mustDtab(t, table)})}
	f.store = &troubled{Store: f.Memory}
	begun := time.Now()
	f.options = Options{
		Store: f.store, Namespace: "default", Name: dtab.MustParsePath("/svc/redis"), To: dtab.MustParsePath("/svc/redis2"),
		Over: 10 * time.Minute, Steps: 5, Interval: 5 * time.Second,
		Report: func(e Event) {
			f.lines = append(f.lines, strings.TrimSpace(fmt.Sprintf("%s %s %d%% %s", time.Since(begun), e.Kind, e.Percent, strings.Join(e.Notes, ", "))))
		},
	}
	return f
}

func (f *fixture) table(t *testing.T) string {
	t.Helper()
	e, err := f.Get(context.WithoutCancel(t.Context()), "default")
	if err != nil {
		t.Fatal(err)
	}
	return e.Dtab.String()
}

func (f *fixture) expect(t *testing.T, table string, lines ...string) {
	t.Helper()
	if got := f.table(t); got != table {
		t.Errorf("the table is %s\nwant         %s", got, table)
	}
	if !slices.Equal(f.lines, lines) {
		t.Errorf("told\n  %s\nwant\n  %s", strings.Join(f.lines, "\n  "), strings.Join(lines, "\n  "))
	}
}

func TestShift(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t, found)
		looks := 0
		f.options.Checks = []Check{checkFunc(func() (string, string, error) { looks++; return "", "fine", nil })}
		if err := Run(t.Context(), f.options); err != nil {
			t.Fatal(err)
		}
		f.expect(t, "/svc=>/c;/svc/redis=>/svc/redis2",
			"0s step 20%", "2m0s watched 20% fine", "2m0s step 40%", "4m0s watched 40% fine", "4m0s step 60%", "6m0s watched 60% fine",
			"6m0s step 80%", "8m0s watched 80% fine", "8m0s step 100%", "10m0s watched 100% fine", "10m0s done 100%")
		if looks < 115 || looks > 125 {
			t.Errorf("looked %d times in ten minutes", looks)
		}
		// Once more there is nothing to do.
		f.lines = nil
		if err := Run(t.Context(), f.options); err != nil {
			t.Fatal(err)
		}
		f.expect(t, "/svc=>/c;/svc/redis=>/svc/redis2", "10m0s done 100%")
	})
}

func TestShiftGoesOn(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t, "/svc=>/c;/svc/redis=>0.55*/c/redis1 & 0.45*/svc/redis2")
		f.options.Interval = time.Hour // longer than a step: each is looked at once
		if err := Run(t.Context(), f.options); err != nil {
			t.Fatal(err)
		}
		f.expect(t, "/svc=>/c;/svc/redis=>/svc/redis2",
			"0s resume 45%", "2m0s watched 45%", "2m0s step 60%", "4m0s watched 60%", "4m0s step 80%", "6m0s watched 80%",
			"6m0s step 100%", "8m0s watched 100%", "8m0s done 100%")
	})
}

func TestShiftGoesBack(t *testing.T) {
	t.Parallel()
	const half = "/svc=>/c;/svc/redis=>0.60*/c/redis1 & 0.40*/svc/redis2"
	for _, c := range []struct {
		name, table, before string
		check               func(since time.Duration) (string, string, error)
		reason              string
		last                string
	}{
		{"bad", found, found, func(d time.Duration) (string, string, error) {
			if d > 3*time.Minute {
				return "it burns", "", nil
			}
			return "", "", nil
		}, "it burns", "3m5s rollback 0% it burns"},
		{"unknown too long", found, found, func(d time.Duration) (string, string, error) {
			if d > 3*time.Minute {
				return "", "", errors.New("no answer")
			}
			return "", "", nil
		}, "cannot tell how it goes: no answer", "3m15s rollback 0% cannot tell how it goes: no answer"},
		{"an earlier shift's start", half, found, func(d time.Duration) (string, string, error) { return "it burns", "", nil }, "it burns",
			"5s rollback 0% it burns"},
		{"after the last step", found, found, func(d time.Duration) (string, string, error) {
			if d > 9*time.Minute {
				return "it burns", "", nil
			}
			return "", "", nil
		}, "it burns", "9m5s rollback 0% it burns"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				f := newFixture(t, c.table)
				begun := time.Now()
				f.options.Checks = []Check{checkFunc(func() (string, string, error) { return c.check(time.Since(begun)) })}
				err := Run(t.Context(), f.options)
				var back *RolledBackError
				if !errors.As(err, &back) || back.Err != nil || back.Reason != c.reason {
					t.Errorf("error %v", err)
				}
				if f.table(t) != c.before || f.lines[len(f.lines)-1] != c.last {
					t.Errorf("the table is %s, told\n  %s", f.table(t), strings.Join(f.lines, "\n  "))
				}
			})
		})
	}
}

// A check that cannot tell for a moment stops nothing.
func TestShiftEnduresAMoment(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t, found)
		look := 0
		f.options.Checks = []Check{checkFunc(func() (string, string, error) {
			if look++; look%3 != 0 {
				return "", "", errors.New("no answer")
			}
			return "", "", nil
		})}
		if err := Run(t.Context(), f.options); err != nil {
			t.Error(err)
		}
	})
}

func TestShiftOverwritesNobody(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t, found)
		const theirs = "/svc=>/other"
		time.AfterFunc(3*time.Minute, func() {
			if err := f.Put(context.WithoutCancel(t.Context()), "default", mustDtab(t, theirs)); err != nil {
				t.Error(err)
			}
		})
		if err := Run(t.Context(), f.options); !errors.Is(err, ErrChanged) {
			t.Errorf("error %v", err)
		}
		f.expect(t, theirs, "0s step 20%", "2m0s watched 20%", "2m0s step 40%")
	})
	synctest.Test(t, func(t *testing.T) { // in the moment between looking and writing, and while going back
		f := newFixture(t, found)
		f.store.update = func(try int) error {
			if try == 2 {
				return f.Put(t.Context(), "default", mustDtab(t, "/svc=>/other"))
			}
			return nil
		}
		f.options.Checks = []Check{checkFunc(func() (string, string, error) { return "it burns", "", nil })}
		err := Run(t.Context(), f.options)
		var back *RolledBackError
		if !errors.As(err, &back) || !errors.Is(back.Err, ErrChanged) {
			t.Errorf("error %v", err)
		}
		f.expect(t, "/svc=>/other", "0s step 20%", "5s rollback 0% it burns")
	})
}

func TestShiftIsInterrupted(t *testing.T) {
	t.Parallel()
	for _, keep := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			f := newFixture(t, found)
			f.options.KeepOnEnd = keep
			ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
			defer cancel()
			err := Run(ctx, f.options)
			want, table := "interrupted; the table is what it was before", found
			if keep {
				want, table = ErrInterrupted.Error(), "/svc=>/c;/svc/redis=>0.60*/c/redis1 & 0.40*/svc/redis2"
			}
			if err == nil || err.Error() != want || f.table(t) != table {
				t.Errorf("keep %v: %v, the table is %s", keep, err, f.table(t))
			}
		})
	}
}

// A store in trouble is tried again, and a change whose answer was lost is known again.
func TestShiftWithTroubledStore(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t, found)
		f.options.Steps, f.options.Over = 2, 2*time.Minute
		f.store.update = func(try int) error {
			if try < 3 {
				return errors.New("no leader")
			}
			return nil
		}
		f.store.after = func(try int) error { return errors.New("the answer was lost") }
		if err := Run(t.Context(), f.options); err != nil {
			t.Fatal(err)
		}
		f.expect(t, "/svc=>/c;/svc/redis=>/svc/redis2", "0s trouble 0% no leader", "1s trouble 0% no leader",
			"3s step 50%", "1m3s watched 50%", "1m3s step 100%", "2m3s watched 100%", "2m3s done 100%")
	})
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t, found)
		f.store.update = func(int) error { return errors.New("no leader") }
		err := Run(t.Context(), f.options)
		if err == nil || !strings.HasPrefix(err.Error(), "no leader; the table is left as it is") || f.store.tries != writeTries {
			t.Errorf("error %v after %d tries", err, f.store.tries)
		}
		if f.table(t) != found {
			t.Errorf("the table is %s", f.table(t))
		}
	})
	// Interrupted while the answer to a change is on its way: that change is taken back, too.
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t, found)
		ctx, cancel := context.WithCancel(t.Context())
		f.store.after = func(try int) error {
			if try == 1 {
				cancel()
				return ctx.Err()
			}
			return nil
		}
		f.options.Store = &cancelled{f.store, ctx}
		err := Run(ctx, f.options)
		var back *RolledBackError
		if !errors.As(err, &back) || back.Err != nil || f.table(t) != found {
			t.Errorf("error %v, the table is %s", err, f.table(t))
		}
	})
}

// cancelled fails to read with a context that has ended, as a client over the network does.
type cancelled struct {
	*troubled
	ctx context.Context
}

func (s *cancelled) Get(ctx context.Context, ns string) (store.Entry, error) {
	if ctx.Err() != nil {
		return store.Entry{}, ctx.Err()
	}
	return s.troubled.Get(ctx, ns)
}

func TestPercentAt(t *testing.T) {
	t.Parallel()
	for steps := 1; steps <= 100; steps++ {
		last := 0
		for step := 1; step <= steps; step++ {
			p := PercentAt(step, steps)
			if p <= last || p > 100 {
				t.Errorf("step %d of %d is %d %% after %d %%", step, steps, p, last)
			}
			last = p
		}
		if last != 100 {
			t.Errorf("%d steps end at %d %%", steps, last)
		}
	}
}
