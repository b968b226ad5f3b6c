package namer

import (
	"context"
	"fmt"
	"time"

	"argosy/dtab"
)

// RecursionError says that a name leads on and on. It fails the name as a whole when it is about lookups, and the branch
// it happens in when it is about depth.
type RecursionError struct {
	Depth   int // the limit that was reached, or 0
	Lookups int // the limit that was reached, or 0
}

func (e *RecursionError) Error() string {
	if e.Lookups > 0 {
		return fmt.Sprintf("Max recursion level: more than %d lookups for one name in Namer lookup", e.Lookups)
	}
	return fmt.Sprintf("Max recursion level: %d reached in Namer lookup", e.Depth)
}

// limits of one evaluation.
type limits struct {
	depth        int
	lookups      int
	emptyIsNeg   bool          // in an Alt, a name without endpoints gives way to the next
	pendingLimit time.Duration // in an Alt, a child that is Pending for so long gives way to the next; 0: never
}

// asked is what is known of a namer's answer.
type asked struct {
	Answer
	since time.Time // when it began to be what it is
	from  *lookup   // where the answer comes from
}

// node is a leaf on the way: a path to look up, or the end of it.
type node struct {
	path dtab.Path
	end  *found
}

// evaluation is one run over snapshots: it reads each of them once, and has no other input but the time.
type evaluation struct {
	ctx    context.Context
	limits limits
	table  dtab.Dtab
	mounts []Mount
	ask    func(mount int, key dtab.Path) asked // what a namer says now
	now    time.Time

	left  int       // lookups
	abort error     // why the whole is given up
	wake  time.Time // when to look again though nothing has changed; zero: no need
}

// found is a bound leaf and the lookup that it comes from.
type found struct {
	Bound
	from *lookup
}

// outcome is the state of a (partial) answer.
type outcome struct {
	status Status // Pending, OK or Failed
	tree   dtab.Tree[found]
	err    error
	since  time.Time // for Pending: when it began
}

func failed(err error) outcome { return outcome{status: Failed, err: err} }

// run binds a tree to the end.
func (e *evaluation) run(t dtab.Tree[node]) outcome {
	e.left = e.limits.lookups
	o := e.bind(t, 0, nil)
	if e.abort != nil {
		return failed(e.abort)
	}
	return o
}

// bind follows the rules of Finagle's Namer.bind: depth counts lookups, weight is that of the innermost union's branch.
func (e *evaluation) bind(t dtab.Tree[node], depth int, weight *float64) outcome {
	if e.abort != nil {
		return failed(e.abort)
	}
	if depth > e.limits.depth {
		return failed(&RecursionError{Depth: e.limits.depth})
	}
	switch {
	case t.Kind == dtab.Leaf && t.Leaf.end != nil:
		end := *t.Leaf.end
		end.Weight = weight
		return outcome{status: OK, tree: dtab.LeafOf(end)}
	case t.Kind == dtab.Leaf:
		return e.lookup(t.Leaf.path, depth, weight)
	case t.Kind == dtab.Alt:
		o, _ := e.alt(len(t.Branches), func(i int) outcome { return e.bind(t.Branches[i].Tree, depth, weight) })
		return o
	case t.Kind == dtab.Union:
		return e.union(t.Branches, func(i int) outcome { return e.bind(t.Branches[i].Tree, depth, &t.Branches[i].Weight) })
	}
	return outcome{status: OK, tree: dtab.Tree[found]{Kind: t.Kind}}
}

// alt takes the first of n children that is something, and says which; -1 if none is. What lies behind it is not looked
// at, and so not watched.
func (e *evaluation) alt(n int, child func(i int) outcome) (o outcome, taken int) {
	if n == 1 {
		return child(0), 0
	}
	dry, slow := -1, -1 // the first child without endpoints, and the first that was not waited for
	var whenDry, whenSlow outcome
	for i := range n {
		o := child(i)
		switch {
		case o.status == Pending && i < n-1 && e.tooSlow(o.since):
			if slow < 0 {
				slow, whenSlow = i, o
			}
		case o.status != OK:
			return o, i
		case o.tree.Kind == dtab.Neg:
		case e.limits.emptyIsNeg && isDry(o.tree):
			if dry < 0 {
				dry, whenDry = i, o
			}
		default:
			return o, i
		}
	}
	switch {
	case slow >= 0:
		return whenSlow, slow
	case dry >= 0:
		return whenDry, dry
	}
	return outcome{status: OK}, -1
}

// tooSlow reports whether what is Pending since then has been so for too long, and else sees to it that it is asked again.
func (e *evaluation) tooSlow(since time.Time) bool {
	if e.limits.pendingLimit <= 0 || since.IsZero() {
		return false
	}
	end := since.Add(e.limits.pendingLimit)
	if !e.now.Before(end) {
		return true
	}
	if e.wake.IsZero() || end.Before(e.wake) {
		e.wake = end
	}
	return false
}

// isDry reports whether a bound tree has no endpoint, and nobody has asked for that with a $.
func isDry(t dtab.Tree[found]) bool {
	switch t.Kind {
	case dtab.Leaf:
		a := t.Leaf.Addr
		return a.Status == Neg || a.Status == OK && len(a.Endpoints) == 0
	case dtab.Union:
		for _, b := range t.Branches {
			if !isDry(b.Tree) {
				return false
			}
		}
		return true
	}
	return false
}

// union binds all branches. What is known is used; only if nothing is, the union fails or waits.
func (e *evaluation) union(branches []dtab.Branch[node], child func(i int) outcome) outcome {
	if len(branches) == 1 {
		return child(0)
	}
	known := dtab.Tree[found]{Kind: dtab.Union}
	var pending, broken *outcome
	for i, b := range branches {
		o := child(i)
		switch {
		case o.status == OK:
			known.Branches = append(known.Branches, dtab.Branch[found]{Weight: b.Weight, Tree: o.tree})
		case o.status == Failed && broken == nil:
			broken = &o
		case o.status == Pending && (pending == nil || o.since.Before(pending.since)):
			pending = &o
		}
	}
	switch {
	case e.abort != nil:
		return failed(e.abort)
	case len(known.Branches) > 0:
		return outcome{status: OK, tree: known.Simplified()}
	case broken != nil:
		return *broken
	case pending != nil:
		return *pending
	}
	return outcome{status: OK} // a union of nothing
}

// step takes one lookup from the budget, and is false when the whole is given up.
func (e *evaluation) step() bool {
	if e.left--; e.left < 0 {
		e.abort = &RecursionError{Lookups: e.limits.lookups}
	} else if err := e.ctx.Err(); err != nil {
		e.abort = err
	}
	return e.abort == nil
}

// lookup takes one step, through the table or else a namer, and goes on from there.
func (e *evaluation) lookup(path dtab.Path, depth int, weight *float64) outcome {
	if !e.step() {
		return failed(e.abort)
	}
	if t := e.table.Lookup(path); t.Kind != dtab.Neg {
		e.left -= size(t) / nodesPerLookup
		return e.bind(nodes(t), depth+1, weight)
	}
	a, residual := e.namers(path)
	switch a.Status {
	case Pending:
		return outcome{status: Pending, since: a.since}
	case Failed:
		return failed(a.Err)
	}
	return e.bind(a.nodes(residual), depth+1, weight)
}

// namers is the first answer of a namer that is not Neg, with the part of path that the namer did not look at. All Neg
// is so since the last of them is.
func (e *evaluation) namers(path dtab.Path) (a asked, residual dtab.Path) {
	none := asked{Answer: NoAnswer()}
	for i, m := range e.mounts {
		if !path.HasPrefix(m.Prefix) {
			continue
		}
		key, residual, ok := m.Namer.Split(path[len(m.Prefix):])
		if !ok {
			continue
		}
		a := e.ask(i, key)
		if a.Status != OK || a.Tree.Kind != dtab.Neg {
			return a, residual
		}
		if a.since.After(none.since) {
			none.since = a.since
		}
	}
	return none, nil
}

// nodesPerLookup is how many nodes of a tree cost as much of the budget as a lookup. It matters for trees so wide that
// going through them is the work.
const nodesPerLookup = 100

func size(t dtab.Tree[dtab.Path]) int {
	n := 1
	for _, b := range t.Branches {
		n += size(b.Tree)
	}
	return n
}

func nodes(t dtab.Tree[dtab.Path]) dtab.Tree[node] {
	return dtab.Map(t, func(p dtab.Path) node { return node{path: p} })
}

// nodes is the answer's tree, with what the namer did not look at as the residual of its bound leaves.
func (a asked) nodes(residual dtab.Path) dtab.Tree[node] {
	return dtab.Map(a.Tree, func(l Leaf) node {
		if l.Bound == nil {
			return node{path: l.Path}
		}
		end := &found{Bound: *l.Bound, from: a.from}
		end.Residual = end.Residual.Concat(residual)
		return node{end: end}
	})
}
