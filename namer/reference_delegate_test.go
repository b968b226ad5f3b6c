package namer_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"argosy/dtab"
	"argosy/internal/watch"
	"argosy/namer"
	"argosy/namer/manual"
	"argosy/namerd/wire"
)

// node is a node of a delegation as Linkerd builds it: first whole, then simplified.
type node struct {
	kind    string // of JSON, and "path" for what is still to be looked up
	path    dtab.Path
	entry   int
	nodes   []node
	weights []float64
	target  dtab.Path // of "path"
	text    string    // of a leaf: id and residual; of an exception: why
}

const tooDeep = "Max recursion level reached."

// nodeOf is a tree in the place of a path.
func nodeOf[L any](path dtab.Path, entry int, t dtab.Tree[L], leaf func(L) node) node {
	n := node{path: path, entry: entry}
	switch t.Kind {
	case dtab.Leaf:
		n = leaf(t.Leaf)
		n.path, n.entry = path, entry
	case dtab.Fail:
		n.kind = "fail"
	case dtab.Empty:
		n.kind = "empty"
	case dtab.Neg:
		n.kind, n.path = "neg", nil
	case dtab.Alt, dtab.Union:
		n.kind = map[dtab.Kind]string{dtab.Alt: "alt", dtab.Union: "union"}[t.Kind]
		for _, b := range t.Branches {
			n.nodes, n.weights = append(n.nodes, nodeOf(path, entry, b.Tree, leaf)), append(n.weights, b.Weight)
		}
	}
	return n
}

// expand looks a path up.
func (r *reference) expand(path dtab.Path, entry int) node {
	var found []node
	for i := len(r.table) - 1; i >= 0; i-- {
		if e := r.table[i]; e.Prefix.Matches(path) {
			found = append(found, nodeOf(path, i, e.Dst, func(p dtab.Path) node {
				return node{kind: "path", target: p.Concat(path[len(e.Prefix):])}
			}))
		}
	}
	switch len(found) {
	case 0:
		table := r.table
		r.table = nil
		t, early := r.lookup(path)
		r.table = table
		switch {
		case early != nil:
			return node{kind: "exception", path: path, entry: entry, text: early.err}
		case t.Kind == dtab.Neg:
			return node{kind: "neg", path: path, entry: entry}
		}
		return nodeOf(path, entry, t, func(l namer.Leaf) node {
			if l.Bound == nil {
				return node{kind: "path", target: l.Path}
			}
			return node{kind: "leaf", text: l.Bound.ID.String() + " " + l.Bound.Residual.String()}
		})
	case 1:
		return node{kind: "delegate", path: path, entry: entry, nodes: found}
	}
	return node{kind: "alt", path: path, entry: entry, nodes: found}
}

// delegate follows a node to the end. It is not ok when that is too deep.
func (r *reference) delegate(n node, depth int) (whole node, ok bool) {
	if r.left--; depth > r.deepest || r.left < 0 {
		return n, false
	}
	switch {
	case n.kind == "path":
		return r.delegate(r.expand(n.target, n.entry), depth+1)
	case n.kind == "delegate" || len(n.nodes) == 1:
		child, ok := r.delegate(n.nodes[0], depth)
		return node{kind: "delegate", path: n.path, entry: n.entry, nodes: []node{child}}, ok
	}
	whole = n
	whole.nodes = nil
	for _, c := range n.nodes {
		child, ok := r.delegate(c, depth)
		if !ok {
			child = node{kind: "exception", path: n.path, entry: n.entry, text: tooDeep}
		}
		whole.nodes = append(whole.nodes, child)
	}
	return whole, true
}

func (n node) simplified() node {
	switch n.kind {
	case "delegate":
		c := n.nodes[0].simplified()
		if c.kind != "neg" && c.kind != "fail" && c.kind != "empty" && c.path.Equal(n.path) {
			c.entry = n.entry
			return c
		}
		n.nodes = []node{c}
	case "alt":
		var all []node
		for _, c := range n.nodes {
			if c = c.simplified(); c.kind == "alt" && c.path.Equal(n.path) {
				all = append(all, c.nodes...)
			} else {
				all = append(all, c)
			}
		}
		n.nodes = all
	case "union":
		all := make([]node, len(n.nodes))
		for i, c := range n.nodes {
			all[i] = c.simplified()
		}
		n.nodes = all
	}
	return n
}

func (n node) show(table dtab.Dtab) string {
	path := n.path.String()
	switch {
	case n.kind == "neg" && len(n.path) == 0:
		path = "~"
	case n.kind == "fail" && !n.path.HasPrefix(dtab.Path{"$", "fail"}):
		path = "!"
	}
	text := n.kind + " " + path
	if n.entry >= 0 {
		text += " [" + table[n.entry].Prefix.String() + "=>" + dtab.TreeString(table[n.entry].Dst) + "]"
	}
	text += " " + n.text + "("
	for i, c := range n.nodes {
		if n.kind == "union" {
			text += fmt.Sprint(n.weights[i], "*")
		}
		text += c.show(table) + ","
	}
	return text + ")"
}

// showNode is show of what comes over the wire.
func showNode(n wire.Node) string {
	text := n.Type + " " + n.Path
	if n.Dentry != nil {
		text += " [" + n.Dentry.Prefix + "=>" + n.Dentry.Dst + "]"
	}
	text += " "
	switch {
	case n.Bound != nil:
		text += n.Bound.ID + " " + n.Bound.Path
	case strings.HasPrefix(n.Message, "Unknown namer"):
		text += "class"
	case n.Message == tooDeep:
		text += tooDeep
	case n.Message != "":
		text += "namer"
	}
	text += "("
	if n.Delegate != nil {
		text += showNode(*n.Delegate) + ","
	}
	for _, c := range n.Alt {
		text += showNode(c) + ","
	}
	for _, b := range n.Union {
		text += fmt.Sprint(float64(b.Weight), "*", showNode(b.Tree), ",")
	}
	return text + ")"
}

// TestDelegationAgreesWithTheRules compares delegations with those of the reference, on random tables.
func TestDelegationAgreesWithTheRules(t *testing.T) { bubble(t, testDelegationAgreesWithTheRules) }

func testDelegationAgreesWithTheRules(t *testing.T) {
	random := rand.New(rand.NewPCG(5, 6))
	answers := referenceAnswers(t)
	answers["pending"] = answers["alt"] // what is not known is waited for, here for ever
	m := manual.New(1)
	for key, a := range answers {
		m.Set(key, a)
	}
	seen := map[string]int{}
	for range 1000 {
		table := randomTable(t, random)
		in := namer.NewInterpreter(namer.Options{
			Dtab: watch.Fixed(namer.Table(table, nil)), MaxDepth: 5, MaxLookups: 10_000, Linger: -1,
			Mounts: []namer.Mount{{Prefix: dtab.MustParsePath("/#/m"), Namer: m}},
		})
		name := randomName(random)
		rules := &reference{table: table, answers: answers, deepest: 5, left: 2000}
		want, ok := rules.delegate(node{kind: "path", target: name, entry: namer.NoEntry}, 0)
		x, err := in.Explain(t.Context(), name)
		in.Close()
		switch {
		case rules.left < 0:
		case !ok:
			seen["failed"]++
			if err == nil || err.Error() != tooDeep {
				t.Fatalf("%s under %s: error %v", name, table, err)
			}
		case err != nil:
			t.Fatalf("%s under %s: error %v", name, table, err)
		default:
			body, err := wire.Delegation(x)
			if errors.Is(err, wire.ErrTooLarge) {
				continue
			}
			n, err := wire.DecodeDelegation(body)
			if err != nil {
				t.Fatal(err)
			}
			got, want := showNode(*n), want.simplified().show(table)
			if got != want {
				t.Fatalf("%s under %s:\n got %s\nwant %s", name, table, got, want)
			}
			seen[n.Type]++
		}
	}
	if len(seen) < 6 || seen["failed"] == 0 || seen["alt"] < 10 || seen["union"] < 10 {
		t.Errorf("the tables come to too little: %v", seen)
	}
	t.Log(seen)
}
