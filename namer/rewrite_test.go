package namer_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"

	"argosy/internal/watch"
	"argosy/namer"
)

// ways renders which entries have led to each cluster.
func ways(live watch.Reader[namer.Binding]) string {
	b, _ := live.Load()
	var parts []string
	for _, c := range b.Clusters {
		text := c.ID.String() + ":"
		for _, r := range c.By.All() {
			text += fmt.Sprintf(" %d", r.Entry)
		}
		parts = append(parts, text)
	}
	return strings.Join(parts, ", ")
}

func TestRewrites(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := newRig(t, "/svc => /#/m; /svc/a => 9 * /svc/b & 1 * /c & $; /c => /x | /#/m/c; /x => ~",
			func(o *namer.Options) { o.Rewrites = true })
		r.m.SetEndpoints("b", "10.0.0.1:1")
		r.m.SetEndpoints("c", "10.0.0.2:1")
		b := r.bind("/svc/a")
		want := func(want string) {
			t.Helper()
			synctest.Wait()
			if got := ways(b); got != want {
				t.Errorf("got %q, want %q", got, want)
			}
		}
		want("/#/m/b: 1 0, /#/m/c: 1 2, /:")
		now, superseded := b.Load()
		last := now.Clusters[1].By
		if got := last.Text; got != "/c => /x | /#/m/c" {
			t.Errorf("entry %q", got)
		}
		r.set("/svc => /#/m; /svc/a => 9 * /svc/b & 1 * /c & $; /c => /x | /#/m/c; /x => ~; /other => /y")
		synctest.Wait()
		select {
		case <-superseded:
			t.Error("woken by an entry that plays no part")
		default:
		}
		r.set("/y => /z; /svc => /#/m; /svc/a => 9 * /svc/b & 1 * /c & $; /c => /x | /#/m/c; /x => ~")
		want("/#/m/b: 2 1, /#/m/c: 2 3, /:")
		now, _ = b.Load()
		r.m.SetEndpoints("b", "10.0.0.1:1", "10.0.0.1:2")
		want("/#/m/b: 2 1, /#/m/c: 2 3, /:")
		if again, _ := b.Load(); again.Clusters[0].By != now.Clusters[0].By {
			t.Error("the same way is another object after a change of endpoints")
		}
		r.table.Set(namer.TableState{Status: namer.Failed, Err: errors.New("the store is away")})
		want("/#/m/b: 2 1, /#/m/c: 2 3, /:") // the last good one
		r.set("/svc => /#/m; /svc/a => " + strings.Repeat("/nowhere | ", 30) + "/svc/b")
		want("/#/m/b: 1 0")
		now, _ = b.Load()
		if text := now.Clusters[0].By.Before.Text; len(text) != 203 || !strings.HasSuffix(text, "...") {
			t.Errorf("a long entry is %q", text)
		}
		r.m.SetEndpoints("direct", "10.0.0.3:1")
		if b := r.bind("/#/m/direct"); ways(b) != "/#/m/direct:" {
			t.Errorf("without a table: %q", ways(b))
		}
	})
}

// Whoever does not ask for it is not woken because entries have moved.
func TestRewritesNotAskedFor(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := newRig(t, "/svc => /#/m", nil)
		r.m.SetEndpoints("a", "10.0.0.1:1")
		b := r.bind("/svc/a")
		synctest.Wait()
		_, superseded := b.Load()
		r.set("/first => /#/m; /svc => /#/m")
		synctest.Wait()
		select {
		case <-superseded:
			t.Error("woken")
		default:
		}
	})
}
