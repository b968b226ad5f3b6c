package namer_test

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"argosy/dtab"
	"argosy/internal/watch"
	"argosy/namer"
	"argosy/namer/manual"
)

// reference binds as the rules are written: one lookup of the whole table at a time, nothing lazy, nothing shared.
type reference struct {
	table   dtab.Dtab
	answers map[string]namer.Answer // of the namer at /#/m, by key
	deepest int
	left    int // steps; what needs more is not compared
}

type idTree = dtab.Tree[string] // a leaf is the id and the residual

type referenceOutcome struct {
	status namer.Status
	tree   idTree
	err    string
}

func (r *reference) bind(t dtab.Tree[namer.Leaf], depth int) referenceOutcome {
	ok := func(t idTree) referenceOutcome { return referenceOutcome{status: namer.OK, tree: t} }
	if r.left--; r.left < 0 {
		return referenceOutcome{}
	}
	if depth > r.deepest {
		return referenceOutcome{status: namer.Failed, err: "depth"}
	}
	switch {
	case t.Kind == dtab.Leaf && t.Leaf.Bound != nil:
		return ok(dtab.LeafOf(t.Leaf.Bound.ID.String() + " " + t.Leaf.Bound.Residual.String()))
	case t.Kind == dtab.Leaf:
		next, early := r.lookup(t.Leaf.Path)
		if early != nil {
			return *early
		}
		return r.bind(next, depth+1)
	case t.Kind == dtab.Alt && len(t.Branches) == 1, t.Kind == dtab.Union && len(t.Branches) == 1:
		return r.bind(t.Branches[0].Tree, depth)
	case t.Kind == dtab.Alt:
		for _, b := range t.Branches {
			if o := r.bind(b.Tree, depth); o.status != namer.OK || o.tree.Kind != dtab.Neg {
				return o
			}
		}
		return ok(idTree{})
	case t.Kind == dtab.Union:
		known := idTree{Kind: dtab.Union}
		var broken *referenceOutcome
		for _, b := range t.Branches {
			o := r.bind(b.Tree, depth)
			if o.status == namer.OK {
				known.Branches = append(known.Branches, dtab.Branch[string]{Weight: b.Weight, Tree: o.tree})
			} else if o.status == namer.Failed && broken == nil {
				broken = &o
			}
		}
		switch {
		case len(known.Branches) > 0:
			return ok(known.Simplified())
		case broken != nil:
			return *broken
		case len(t.Branches) > 0:
			return referenceOutcome{status: namer.Pending}
		}
		return ok(idTree{})
	}
	return ok(idTree{Kind: t.Kind})
}

// lookup is one step, or an answer that ends it.
func (r *reference) lookup(path dtab.Path) (dtab.Tree[namer.Leaf], *referenceOutcome) {
	asLeaf := func(p dtab.Path) namer.Leaf { return namer.Leaf{Path: p} }
	if t := r.table.Lookup(path); t.Kind != dtab.Neg {
		return dtab.Map(t, asLeaf), nil
	}
	switch {
	case path.HasPrefix(dtab.Path{"#", "m"}) && len(path) > 2:
		a := r.answers[path[2]]
		switch a.Status {
		case namer.Pending:
			return dtab.Tree[namer.Leaf]{}, &referenceOutcome{status: namer.Pending}
		case namer.Failed:
			return dtab.Tree[namer.Leaf]{}, &referenceOutcome{status: namer.Failed, err: "namer"}
		}
		return dtab.Map(a.Tree, func(l namer.Leaf) namer.Leaf {
			if l.Bound == nil {
				return l
			}
			return namer.Leaf{Bound: &namer.Bound{ID: dtab.Path{"#", "m"}.Concat(l.Bound.ID), Residual: path[3:]}}
		}), nil
	case path.HasPrefix(dtab.Path{"$", "fail"}):
		return dtab.Tree[namer.Leaf]{Kind: dtab.Fail}, nil
	case path.HasPrefix(dtab.Path{"$", "nil"}):
		return dtab.Tree[namer.Leaf]{Kind: dtab.Empty}, nil
	case len(path) > 1 && path[0] == "$":
		return dtab.Tree[namer.Leaf]{}, &referenceOutcome{status: namer.Failed, err: "class"}
	}
	return dtab.Tree[namer.Leaf]{}, nil
}

// randomTree writes a tree of paths over few labels, so that it leads somewhere.
func randomTree(r *rand.Rand, depth int) string {
	if depth == 0 || r.IntN(3) == 0 {
		return pick(r, "~", "!", "$", "/a", "/b", "/a/b", "/c", "/#/m/one", "/#/m/two", "/#/m/pending", "/#/m/failed", "/#/m/neg", "/#/m/paths",
			"/#/m/alt", "/#/m/union", "/#/m/one", "/#/m/two", "/$/fail", "/$/nil", "/$/nope", "/#/none", "/")
	}
	var parts []string
	for range 2 + r.IntN(2) {
		part := "(" + randomTree(r, depth-1) + ")"
		parts = append(parts, pick(r, "", "", "2*", "0*", "0.5*")+part)
	}
	return strings.Join(parts, pick(r, " | ", " & "))
}

func randomTable(t *testing.T, r *rand.Rand) dtab.Dtab {
	t.Helper()
	var entries []string
	for range 1 + r.IntN(6) {
		prefix := pick(r, "/a", "/b", "/c", "/a/*", "/*", "/a/b", "/#/m/one", "/#/none", "/*/b", "/#/m/two")
		entries = append(entries, prefix+" => "+randomTree(r, r.IntN(4)))
	}
	table, err := dtab.Parse(strings.Join(entries, ";"))
	if err != nil {
		t.Fatal(err)
	}
	return table
}

func randomName(r *rand.Rand) dtab.Path {
	return dtab.MustParsePath(pick(r, "/a", "/b", "/c", "/a/b", "/a/b/c", "/a/x", "/#/m/one/x"))
}

func pick(r *rand.Rand, from ...string) string { return from[r.IntN(len(from))] }

func referenceAnswers(t *testing.T) map[string]namer.Answer {
	tree := func(text string) namer.Answer {
		parsed, err := dtab.ParseTree(text)
		if err != nil {
			t.Fatal(err)
		}
		return namer.Answer{Status: namer.OK, Tree: dtab.Map(parsed, func(p dtab.Path) namer.Leaf { return namer.Leaf{Path: p} })}
	}
	addr := namer.Addr{Status: namer.OK, Endpoints: []namer.Endpoint{{Addr: "10.0.0.1:1", Weight: 1}}}
	return map[string]namer.Answer{
		"one": namer.BoundAnswer(dtab.Path{"one"}, addr), "two": namer.BoundAnswer(dtab.Path{"two"}, addr), "neg": namer.NoAnswer(),
		"failed": {Status: namer.Failed, Err: errors.New("failed")}, "paths": tree("/b/x"), "alt": tree("~ | /c | /#/m/one"), "union": tree("3*/a & /#/m/two"),
	}
}

// TestBindAgreesWithTheRules compares Bind with the reference, and Explain with Bind, on random tables.
func TestBindAgreesWithTheRules(t *testing.T) { bubble(t, testBindAgreesWithTheRules) }

func testBindAgreesWithTheRules(t *testing.T) {
	random := rand.New(rand.NewPCG(3, 4))
	answers := referenceAnswers(t)
	m := manual.New(1)
	for key, a := range answers {
		m.Set(key, a)
	}
	outcomes := map[string]int{}
	for range 1000 {
		table := randomTable(t, random)
		cut := random.IntN(len(table) + 1)
		in := namer.NewInterpreter(namer.Options{
			Dtab: watch.Fixed(namer.Table(table[:cut], nil)), Local: table[cut:], MaxDepth: 6, MaxLookups: 500, Raw: true, Linger: -1,
			Mounts: []namer.Mount{{Prefix: dtab.MustParsePath("/#/m"), Namer: m}},
		})
		name := randomName(random)
		b, _ := in.Bind(t.Context(), name).Load()
		rules := &reference{table: table, answers: answers, deepest: 6, left: 2000}
		want := rules.bind(dtab.LeafOf(namer.Leaf{Path: name}), 0)
		var depth *namer.RecursionError
		if rules.left < 0 || errors.As(b.Err, &depth) && depth.Lookups > 0 {
			in.Close()
			continue
		}
		got := referenceOutcome{status: b.Status, tree: dtab.Map(b.Tree, func(l namer.Bound) string { return l.ID.String() + " " + l.Residual.String() })}
		var class *namer.UnknownClassError
		switch {
		case errors.As(b.Err, &depth):
			got.err = "depth"
		case errors.As(b.Err, &class):
			got.err = "class"
		case b.Err != nil:
			got.err = "namer"
		}
		outcomes[fmt.Sprint(got.status, got.err, got.tree.Kind)]++
		same := func(a, b string) bool { return a == b }
		if got.status != want.status || got.err != want.err || !dtab.EqualTrees(got.tree, want.tree, same) {
			text := func(o referenceOutcome) string {
				return fmt.Sprint(o.status, " ", o.err, " ", dtab.Show(o.tree, func(s string) string { return s }))
			}
			t.Errorf("%s under %s:\n got %s\nwant %s", name, table, text(got), text(want))
		}
		checkExplanation(t, in, table, name, b)
		in.Close()
		if t.Failed() {
			break
		}
	}
	if len(outcomes) < 8 {
		t.Errorf("the tables come to too little: %v", outcomes)
	}
	t.Log(outcomes)
}

// checkExplanation checks that the leaves that an explanation says are taken are the clusters of the binding.
func checkExplanation(t *testing.T, in *namer.Interpreter, table dtab.Dtab, name dtab.Path, b namer.Binding) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	x, err := in.Explain(ctx, name)
	if err != nil || b.Status != namer.OK {
		if err != nil && b.Status == namer.OK && !strings.HasPrefix(err.Error(), "Max recursion level") {
			t.Errorf("%s under %s: explain: %v", name, table, err)
		}
		return
	}
	shares := map[string]float64{}
	var add func(s namer.Step)
	add = func(s namer.Step) {
		if s.Taken && s.Kind == namer.StepLeaf {
			shares[s.Bound.ID.String()+" "+s.Bound.Residual.String()] += s.Share
		}
		for _, c := range s.Steps {
			add(c)
		}
	}
	add(x.Root)
	for _, c := range b.Clusters {
		if c.ID != nil {
			shares[c.ID.String()+" "+c.Residual.String()] -= c.Share
		}
	}
	for id, left := range shares {
		if math.Abs(left) > 1e-9 {
			t.Errorf("%s under %s: %s: bind and explain differ by %v\nbound to %s\n%s", name, table, id, left, show(b), showExplanation(x))
		}
	}
}
