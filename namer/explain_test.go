package namer_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"argosy/dtab"
	"argosy/internal/watch"
	"argosy/namer"
	"argosy/namer/rewrite"
	"argosy/namer/static"
)

// show draws an explanation, one step a line.
func showExplanation(x *namer.Explanation) string {
	var b strings.Builder
	var draw func(s namer.Step, indent string)
	draw = func(s namer.Step, indent string) {
		fmt.Fprintf(&b, "%s%s %s", indent, s.Kind, s.Path)
		if e := x.Entry(s); e != nil {
			fmt.Fprintf(&b, " [%d %s]", s.Entry, e)
		}
		if s.Taken {
			fmt.Fprintf(&b, " %.0f%%", 100*s.Share)
		}
		if s.Why != "" {
			fmt.Fprintf(&b, " (%s)", s.Why)
		}
		if s.Err != nil {
			fmt.Fprintf(&b, " error: %v", s.Err)
		}
		b.WriteByte('\n')
		for _, c := range s.Steps {
			draw(c, indent+"  ")
		}
	}
	draw(x.Root, "")
	return b.String()
}

func TestExplain(t *testing.T) {
	t.Parallel()
	services, err := static.New(map[string][]string{"a": {"10.0.0.1:1"}, "b": {"10.0.0.2:1", "10.0.0.3:1"}, "dry": {}})
	if err != nil {
		t.Fatal(err)
	}
	mounts := []namer.Mount{{Prefix: dtab.MustParsePath("/#/s"), Namer: services}}
	for _, c := range []struct{ table, name, want string }{
		{"/svc => /#/s ; /svc/x => /svc/a", "/svc/x", `
alt /svc/x 100%
  delegate /svc/a [1 /svc/x=>/svc/a] 100%
    leaf /#/s/a [0 /svc=>/#/s] 100%
  neg /#/s/x [0 /svc=>/#/s] (is nothing)
`},
		{"/svc => /#/s ; /w => 3 * /svc/a & /svc/b & /svc/none", "/w", `
union /w 100%
  delegate /svc/a [1 /w=>3.00*/svc/a & /svc/b & /svc/none] 75%
    leaf /#/s/a [0 /svc=>/#/s] 75%
  delegate /svc/b [1 /w=>3.00*/svc/a & /svc/b & /svc/none] 25%
    leaf /#/s/b [0 /svc=>/#/s] 25%
  delegate /svc/none [1 /w=>3.00*/svc/a & /svc/b & /svc/none] (is nothing: its weight goes to the others)
    neg /#/s/none [0 /svc=>/#/s]
`},
		{"/w => /#/s/dry | /#/s/a | /#/s/b", "/w", `
alt /w 100%
  leaf /#/s/dry [0 /w=>/#/s/dry | /#/s/a | /#/s/b] (has no endpoints)
  leaf /#/s/a [0 /w=>/#/s/dry | /#/s/a | /#/s/b] 100%
  leaf /#/s/b [0 /w=>/#/s/dry | /#/s/a | /#/s/b] (not looked at: an alternative before it is used)
`},
		{"/w => /#/s/a | (/#/s/none | /#/s/b)", "/w", `
alt /w 100%
  leaf /#/s/a [0 /w=>/#/s/a | (/#/s/none | /#/s/b)] 100%
  neg /#/s/none [0 /w=>/#/s/a | (/#/s/none | /#/s/b)] (is nothing)
  leaf /#/s/b [0 /w=>/#/s/a | (/#/s/none | /#/s/b)] (not looked at: an alternative before it is used)
`},
		{"/w => /$/nope | ! | /#/s/a", "/w", `
alt /w 100%
  exception /$/nope [0 /w=>/$/nope | ! | /#/s/a] 100% error: Unknown namer: nope for path: /$/nope
  fail /w [0 /w=>/$/nope | ! | /#/s/a] (not looked at: what comes before it is not known)
  leaf /#/s/a [0 /w=>/$/nope | ! | /#/s/a] (not looked at: what comes before it is not known)
`},
		{"/w => 0 * /#/s/a & 0 * ($ | /#/s/b)", "/w", `
union /w 100%
  leaf /#/s/a [0 /w=>0.00*/#/s/a & 0.00*($ | /#/s/b)] 100%
  alt /w [0 /w=>0.00*/#/s/a & 0.00*($ | /#/s/b)] 0%
    empty /w [0 /w=>0.00*/#/s/a & 0.00*($ | /#/s/b)] 0%
    leaf /#/s/b [0 /w=>0.00*/#/s/a & 0.00*($ | /#/s/b)] (not looked at: an alternative before it is used)
`},
		{"/w => ~", "/w", "\ndelegate /w\n  neg / [0 /w=>~]\n"},
		{"/w => ~", "/x", "\nneg /x\n"},
	} {
		table, err := dtab.Parse(c.table)
		if err != nil {
			t.Fatal(err)
		}
		in := namer.NewInterpreter(namer.Options{Mounts: mounts, EmptyFallsThrough: true,
			Dtab: watch.Fixed(namer.TableState{Status: namer.OK, Dtab: table})})
		x, err := in.Explain(context.Background(), dtab.MustParsePath(c.name))
		if err != nil {
			t.Fatal(err)
		}
		if got := "\n" + showExplanation(x); got != c.want {
			t.Errorf("%s under %s:%s\nwant%s", c.name, c.table, got, c.want)
		}
		in.Close()
	}
}

// What is not known when time is up is told as such, and the rest is told all the same.
func TestExplainWhatIsKnownInTime(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := newRig(t, "/w => /#/m/slow & /#/m/a", nil)
		r.m.SetEndpoints("a", "10.0.0.1:1")
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		x, err := r.in.Explain(ctx, dtab.MustParsePath("/w"))
		if err != nil || !x.Waiting {
			t.Fatalf("waiting %v, %v", x != nil && x.Waiting, err)
		}
		want := `
union /w 100%
  waiting /#/m/slow [0 /w=>/#/m/slow & /#/m/a] (not known yet: its weight goes to the others)
  leaf /#/m/a [0 /w=>/#/m/slow & /#/m/a] 100%
`
		if got := "\n" + showExplanation(x); got != want {
			t.Errorf("got %s\nwant %s", got, want)
		}
		r.table.Set(namer.TableState{Err: errors.New("store is away")})
		ctx, cancel = context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := r.in.Explain(ctx, dtab.MustParsePath("/w")); err == nil || !strings.Contains(err.Error(), "store is away") {
			t.Errorf("got %v", err)
		}
	})
}

// A namer that rewrites leaves no step: what it makes of the name stands under the entry that led to the namer.
func TestExplainRewriting(t *testing.T) {
	bubble(t, func(t *testing.T) {
		rewriting, err := rewrite.New("/{name}.local", "/svc/{name}")
		if err != nil {
			t.Fatal(err)
		}
		r := newRig(t, "/svc => /#/m; /http => /$/io.buoyant.hostportPfx/hp; /hp => /rw; /rw => /#/rw", func(o *namer.Options) {
			o.Mounts = append(o.Mounts, namer.Mount{Prefix: dtab.MustParsePath("/#/rw"), Namer: rewriting})
		})
		r.m.SetEndpoints("web", "10.0.0.1:1")
		r.m.Remove("none")
		for name, want := range map[string]string{
			"/http/web.local:80": `
delegate /http/web.local:80 100%
  delegate /hp/web.local/80 [1 /http=>/$/io.buoyant.hostportPfx/hp] 100%
    delegate /rw/web.local/80 [2 /hp=>/rw] 100%
      delegate /svc/web [3 /rw=>/#/rw] 100%
        leaf /#/m/web [0 /svc=>/#/m] 100%
`,
			"/rw/none.local": `
delegate /rw/none.local
  delegate /svc/none [3 /rw=>/#/rw]
    neg /#/m/none [0 /svc=>/#/m]
`,
			"/rw/other": `
delegate /rw/other
  neg /#/rw/other [3 /rw=>/#/rw]
`,
		} {
			x, err := r.in.Explain(t.Context(), dtab.MustParsePath(name))
			if err != nil {
				t.Fatal(err)
			}
			if got := "\n" + showExplanation(x); got != want {
				t.Errorf("%s: got %s\nwant %s", name, got, want)
			}
		}
	})
}

// Nested alternatives of one name are one list, however deep.
func TestExplainNestedAlternatives(t *testing.T) {
	const n = 900
	in := interpreterUnder(t, "/w => "+strings.Repeat("(! & ~) | (/none | ", n)+"/$/inet/10.0.0.1/80"+strings.Repeat(" | ~)", n))
	x, err := in.Explain(t.Context(), dtab.MustParsePath("/w"))
	if err != nil {
		t.Fatalf("%.300v", err)
	}
	if len(x.Root.Steps) != 3*n+1 {
		t.Errorf("%d alternatives, want %d", len(x.Root.Steps), 3*n+1)
	}
	if s := x.Root.Steps[2*n]; s.Kind != namer.StepLeaf || !s.Taken || s.Share != 1 {
		t.Errorf("the leaf is %+v", s)
	}
	for i, s := range x.Root.Steps {
		if s.Taken == (s.Why != "") {
			t.Errorf("alternative %d is taken: %v, because %q", i, s.Taken, s.Why)
		}
	}
}
