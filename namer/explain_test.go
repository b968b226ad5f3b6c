package namer_test

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"argosy/dtab"
	"argosy/internal/watch"
	"argosy/namer"
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
		{"/w => /$/nope | ! | /#/s/a", "/w", `
alt /w 100%
  exception /$/nope [0 /w=>/$/nope | ! | /#/s/a] 100% error: Unknown namer: nope for path: /$/nope
  fail /w [0 /w=>/$/nope | ! | /#/s/a] (not looked at: what comes before it is not known)
  leaf /#/s/a [0 /w=>/$/nope | ! | /#/s/a] (not looked at: what comes before it is not known)
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
