package namer

import (
	"context"
	"fmt"
	"slices"
	"time"

	"argosy/dtab"
)

// RecursionError says that a name leads on and on. It fails the name as a whole when it is about lookups, and the branch
// it happens in when it is about depth.
type RecursionError struct {
	Depth   int // the limit that was reached, or 0
	Lookups int // the limit that was reached, or 0: of lookups, or of work that takes as long
}

func (e *RecursionError) Error() string {
	if e.Lookups > 0 {
		return fmt.Sprintf("Max recursion level: more work than %d lookups for one name in Namer lookup", e.Lookups)
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

// evaluation is one run over snapshots: it reads each of them once, and has no other input but the time.
type evaluation struct {
	ctx    context.Context
	limits limits
	table  layers
	mounts []Mount
	ask    func(mount int, key dtab.Path) asked // what a namer says now
	now    time.Time

	left  int       // of the budget, see spend
	deep  int       // nodes of trees around this one
	by    *use      // the entry that has led here
	abort error     // why the whole is given up
	wake  time.Time // when to look again though nothing has changed; zero: no need
}

// found is a bound leaf, the lookup that it comes from, and the last entry on the way to it.
type found struct {
	Bound
	from *lookup
	by   *use
}

// outcome is the state of a (partial) answer.
type outcome struct {
	status Status // Pending, OK or Failed
	tree   dtab.Tree[found]
	err    error
	since  time.Time // for Pending: when it began
	told   bool      // for Failed, in an explanation: a step of it says so
}

func failed(err error) outcome { return outcome{status: Failed, err: err} }

// What one evaluation may cost is given in lookups, but it is not only these that take time: an evaluation may go through
// huge trees, or carry along a path that grows with every step. Spending is counted in nodes of trees and elements of
// paths, of which so many are worth a lookup.
const costOfLookup = 100

// bytesOfElement is how many bytes of a path cost as much as an element. A label may be as long as a request, and each
// of thousands of leaves would have it.
const bytesOfElement = 64

// deepestNesting is how many nodes of trees may be around one another, over all lookups on the way: going down into what
// is written with many parentheses, and looked up again and again, would need more memory than what it comes to.
const deepestNesting = 10_000

// start gives the evaluation its budget.
func (e *evaluation) start() { e.left = e.limits.lookups * costOfLookup }

// spend takes so much from the budget, and is false when the whole is given up.
func (e *evaluation) spend(cost int) bool {
	if e.left -= cost; e.left < 0 && e.abort == nil {
		e.abort = &RecursionError{Lookups: e.limits.lookups}
	}
	return e.abort == nil
}

// node pays for going down to a node.
func (e *evaluation) node(cost int) bool {
	if e.deep > deepestNesting {
		cost = e.left + 1
	}
	return e.spend(cost)
}

// run binds a tree to the end.
func (e *evaluation) run(t dtab.Tree[dtab.Path]) outcome {
	e.start()
	o := bind(e, t, 0, nil, func(p dtab.Path, weight *float64) outcome { return e.lookup(p, 0, weight) })
	if e.abort != nil {
		return failed(e.abort)
	}
	return o
}

// bind follows the rules of Finagle's Namer.bind: depth counts lookups, weight is that of the innermost union's branch.
// leaf says what a leaf comes to.
func bind[L any](e *evaluation, t dtab.Tree[L], depth int, weight *float64, leaf func(l L, weight *float64) outcome) outcome {
	e.deep++
	defer func() { e.deep-- }()
	switch {
	case !e.node(1):
		return failed(e.abort)
	case depth > e.limits.depth:
		return failed(&RecursionError{Depth: e.limits.depth})
	}
	switch t.Kind {
	case dtab.Leaf:
		return leaf(t.Leaf, weight)
	case dtab.Alt:
		o, _ := e.alt(len(t.Branches), func(i int) outcome { return bind(e, t.Branches[i].Tree, depth, weight, leaf) })
		return o
	case dtab.Union:
		return e.union(len(t.Branches), func(i int) (outcome, float64) {
			b := &t.Branches[i]
			return bind(e, b.Tree, depth, &b.Weight, leaf), b.Weight
		})
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
	e.lookAgain(end)
	return false
}

// lookAgain sees to it that the next evaluation is no later than that.
func (e *evaluation) lookAgain(at time.Time) {
	if e.wake.IsZero() || at.Before(e.wake) {
		e.wake = at
	}
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

// union binds all n branches. What is known is used; only if nothing is, the union fails or waits.
func (e *evaluation) union(n int, child func(i int) (outcome, float64)) outcome {
	if n == 1 {
		o, _ := child(0)
		return o
	}
	var known []dtab.Branch[found]
	var pending, broken *outcome
	for i := range n {
		o, weight := child(i)
		switch {
		case e.abort != nil:
			return failed(e.abort)
		case o.status == OK:
			known = append(known, dtab.Branch[found]{Weight: weight, Tree: o.tree})
		case o.status == Failed && broken == nil:
			broken = &o
		case o.status == Pending && (pending == nil || o.since.Before(pending.since)):
			pending = &o
		}
	}
	switch {
	case len(known) > 0:
		return outcome{status: OK, tree: unionOf(known)}
	case broken != nil:
		return *broken
	case pending != nil:
		return *pending
	}
	return outcome{status: OK} // a union of nothing
}

// unionOf is the union of branches each of which is simple already, simplified.
func unionOf(branches []dtab.Branch[found]) dtab.Tree[found] {
	if len(branches) > 1 {
		branches = slices.DeleteFunc(branches, func(b dtab.Branch[found]) bool {
			return b.Tree.Kind == dtab.Neg || b.Tree.Kind == dtab.Fail
		})
	}
	switch len(branches) {
	case 0:
		return dtab.Tree[found]{}
	case 1:
		return branches[0].Tree
	}
	return dtab.Tree[found]{Kind: dtab.Union, Branches: branches}
}
