package namer_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"argosy/dtab"
	"argosy/internal/watch"
	"argosy/namer"
	"argosy/namer/manual"
)

// settling is an interpreter over one hand-driven namer.
func settling(t *testing.T, table string, o namer.Options) (*namer.Interpreter, *manual.Namer) {
	t.Helper()
	d, err := dtab.Parse(table)
	if err != nil {
		t.Fatal(err)
	}
	services := manual.New(1)
	o.Mounts = []namer.Mount{{Prefix: dtab.MustParsePath("/#/s"), Namer: services}}
	o.Dtab = watch.Fixed(namer.Table(d, nil))
	in := namer.NewInterpreter(o)
	t.Cleanup(in.Close)
	return in, services
}

// When the time is over, what is known is told, and the rest is waiting.
func TestExplainInTime(t *testing.T) {
	t.Parallel()
	in, services := settling(t, "/w => /#/s/a & /#/s/silent", namer.Options{})
	services.SetEndpoints("a", "10.0.0.1:1")
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	x, err := in.Explain(ctx, dtab.MustParsePath("/w"))
	if err != nil {
		t.Fatal(err)
	}
	const want = `union /w 100%
  leaf /#/s/a [0 /w=>/#/s/a & /#/s/silent] 100%
  waiting /#/s/silent [0 /w=>/#/s/a & /#/s/silent] (not known yet: its weight goes to the others)
`
	if got := showExplanation(x); got != want || !x.Waiting || x.Stored != 1 {
		t.Errorf("got %v\n%s", x.Waiting, got)
	}
}

// A binding is not settled while a branch of it may still come.
func TestSettle(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		in, services := settling(t, "/w => /#/s/a & /#/s/b", namer.Options{PendingLegTimeout: time.Second})
		services.SetEndpoints("a", "10.0.0.1:1")
		time.AfterFunc(3*time.Second, func() { services.SetEndpoints("b", "10.0.0.2:1") })
		begun := time.Now()
		b, settled := in.Settle(t.Context(), dtab.MustParsePath("/w"))
		if !settled || len(b.Clusters) != 2 || time.Since(begun) != 3*time.Second {
			t.Errorf("after %s: settled %v, %+v", time.Since(begun), settled, b)
		}
		if b, settled = in.Settle(t.Context(), dtab.MustParsePath("/w")); !settled || len(b.Clusters) != 2 {
			t.Errorf("at once: settled %v, %+v", settled, b)
		}
		services.Forget("b")
		synctest.Wait()
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if b, settled = in.Settle(ctx, dtab.MustParsePath("/w")); settled || len(b.Clusters) != 1 {
			t.Errorf("in time: settled %v, %+v", settled, b)
		}
		services.Remove("a")
		services.Remove("b")
		synctest.Wait()
		if b, settled = in.Settle(t.Context(), dtab.MustParsePath("/w")); !settled || b.Status != namer.OK || b.Tree.Kind != dtab.Neg {
			t.Errorf("nothing: settled %v, %+v", settled, b)
		}
		time.Sleep(time.Minute)
		if w := services.Watching(); len(w) > 0 {
			t.Errorf("still watching %v", w)
		}
		in.Close()
	})
}
