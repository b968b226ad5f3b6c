package namer

import (
	"context"
	"errors"
	"slices"
	"time"

	"argosy/dtab"
	"argosy/internal/watch"
)

// delegationDepth is a delegation that leads on and on, with the text that Namerd has for it.
type delegationDepth struct{}

func (delegationDepth) Error() string { return "Max recursion level reached." }

var errDepth error = delegationDepth{}

// Explain delegates name the way that Bind does, and tells all of it: every alternative is followed, also those that
// Bind does not look at. It waits until everything is known; when ctx ends first, what is not known is Waiting. It fails
// when the name leads on and on, when the table cannot be had, and after Close.
func (in *Interpreter) Explain(ctx context.Context, name dtab.Path) (*Explanation, error) {
	return in.ExplainTree(ctx, dtab.LeafOf(name.Concat()))
}

// ExplainTree is Explain for a tree of names.
func (in *Interpreter) ExplainTree(ctx context.Context, tree dtab.Tree[dtab.Path]) (*Explanation, error) {
	if !in.tasks.Begin() {
		return nil, ErrClosed
	}
	defer in.tasks.End()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(in.ctx, cancel)()
	x := &explainer{binder: binder{in: in, ctx: in.ctx, tree: tree, guest: true}}
	defer func() { x.keep(nil) }()
	for {
		explanation, err := x.explain(ctx)
		if err == nil && !explanation.Waiting || err != nil && !errors.Is(err, errTableUnknown) {
			return explanation, err
		}
		wait, stop := ctx, context.CancelFunc(func() {})
		if !x.wake.IsZero() {
			wait, stop = context.WithDeadline(ctx, x.wake)
		}
		_ = x.read.Wait(wait)
		stop()
		if ctx.Err() != nil {
			return explanation, err
		}
	}
}

var errTableUnknown = errors.New("the table is not known yet")

// explainer makes one explanation. It holds its lookups as a binder does.
type explainer struct {
	binder
	eval    *evaluation
	waiting bool
}

func (x *explainer) explain(ctx context.Context) (*Explanation, error) {
	x.read.Reset()
	x.wake = time.Time{}
	table := watch.Read(&x.read, x.in.options.Dtab)
	switch table.Status {
	case Pending:
		if table.Err != nil {
			return nil, errors.Join(errTableUnknown, table.Err)
		}
		return nil, errTableUnknown
	case Failed:
		return nil, table.Err
	}
	used := make(map[string]*lookup)
	x.eval = x.evaluation(layers{table.index(), x.in.local}, used)
	x.eval.ctx = ctx
	x.eval.start()
	x.waiting = false
	root, o := explain(x, x.tree, 0, Step{Entry: NoEntry}, func(p dtab.Path) (Step, outcome) { return x.path(p, NoEntry, 0) })
	x.keep(used)
	x.wake = x.eval.wake
	if x.eval.abort != nil {
		return nil, x.eval.abort
	}
	if o.status == Failed && !o.told {
		return nil, o.err
	}
	root.settle(o.tree.Kind != dtab.Neg || o.status != OK, 1)
	return &Explanation{Table: x.eval.table.all(), Stored: len(table.Dtab), Root: root.simplified(), Waiting: x.waiting}, nil
}

// costOfStep is what a step costs more than a node that is only gone through.
const costOfStep = 10

// explain explains a tree that stands in the place of s.Path, to which s.Entry has led. leaf explains a leaf.
func explain[L any](x *explainer, t dtab.Tree[L], depth int, s Step, leaf func(L) (Step, outcome)) (Step, outcome) {
	e := x.eval
	e.deep++
	defer func() { e.deep-- }()
	switch {
	case !e.node(costOfStep):
		return s, failed(e.abort)
	case depth > e.limits.depth:
		return s, failed(errDepth)
	}
	switch t.Kind {
	case dtab.Leaf:
		return leaf(t.Leaf)
	case dtab.Alt, dtab.Union:
		return several(x, t, depth, s, leaf)
	case dtab.Fail:
		s.Kind = StepFail
	case dtab.Empty:
		s.Kind = StepEmpty
	default:
		s.Path = nil // an explicit ~ has no path of its own
	}
	return s, outcome{status: OK, tree: dtab.Tree[found]{Kind: t.Kind}}
}

func (x *explainer) leaf(s Step, end found) (Step, outcome) {
	s.Kind, s.Bound = StepLeaf, &end.Bound
	x.waiting = x.waiting || end.Addr.Status == Pending
	return s, outcome{status: OK, tree: dtab.LeafOf(end)}
}

// several explains an Alt or a Union: all children, then which of them count.
func several[L any](x *explainer, t dtab.Tree[L], depth int, s Step, leaf func(L) (Step, outcome)) (Step, outcome) {
	var outcomes []outcome
	for _, b := range t.Branches {
		child, o := explain(x, b.Tree, depth, Step{Path: s.Path, Entry: s.Entry}, leaf)
		child, o = x.told(s, child, o)
		if x.eval.abort != nil {
			return s, failed(x.eval.abort)
		}
		child.Weight = b.Weight
		s.Steps, outcomes = append(s.Steps, child), append(outcomes, o)
	}
	if t.Kind == dtab.Union {
		s.Kind = StepUnion
		o := x.eval.union(len(outcomes), func(i int) (outcome, float64) { return outcomes[i], t.Branches[i].Weight })
		return s, s.markUnion(outcomes, o)
	}
	return x.alternatives(s, outcomes)
}

// alternatives finishes the explanation of an Alt.
func (x *explainer) alternatives(s Step, outcomes []outcome) (Step, outcome) {
	s.Kind = StepAlt
	o, taken := x.eval.alt(len(outcomes), func(i int) outcome { return outcomes[i] })
	s.markAlt(outcomes, taken)
	return s, o
}

// told makes a child of s that has failed an exception in the place of s, unless a step below it is one.
func (x *explainer) told(s, child Step, o outcome) (Step, outcome) {
	if o.status == Failed && !o.told {
		o.told = true
		return Step{Kind: StepException, Path: s.Path, Entry: s.Entry, Err: o.err}, o
	}
	return child, o
}

// markAlt says of all children but the one that was taken why it was not.
func (s *Step) markAlt(outcomes []outcome, taken int) {
	for i := range s.Steps {
		switch o := outcomes[i]; {
		case i == taken:
			s.Steps[i].Taken = true
		case taken >= 0 && i > taken && outcomes[taken].status == OK && outcomes[taken].tree.Kind == dtab.Fail:
			s.Steps[i].Why = "not looked at: the ! before it ends the alternatives"
		case taken >= 0 && i > taken && outcomes[taken].status == Failed:
			s.Steps[i].Why = "not looked at: what comes before it has failed"
		case taken >= 0 && i > taken && outcomes[taken].status != OK:
			s.Steps[i].Why = "not looked at: what comes before it is not known"
		case taken >= 0 && i > taken && !(o.status == OK && (o.tree.Kind == dtab.Neg || isDry(o.tree))):
			s.Steps[i].Why = "not looked at: an alternative before it is used"
		case o.status == Pending:
			s.Steps[i].Why = "not known in time"
		case o.status == Failed:
			s.Steps[i].Why = o.err.Error()
		case o.tree.Kind == dtab.Neg:
			s.Steps[i].Why = "is nothing"
		case isDry(o.tree):
			s.Steps[i].Why = "has no endpoints"
		default:
			s.Steps[i].Why = "not looked at: an alternative before it is used"
		}
	}
}

// markUnion says of the branches that do not count why, and returns the union's outcome.
func (s *Step) markUnion(outcomes []outcome, o outcome) outcome {
	for i := range s.Steps {
		s.Steps[i].empty = outcomes[i].status == OK && outcomes[i].tree.Kind == dtab.Empty
		switch child := outcomes[i]; {
		case len(outcomes) > 1 && child.status == OK && (child.tree.Kind == dtab.Neg || child.tree.Kind == dtab.Fail):
			s.Steps[i].Why = "is nothing: its weight goes to the others"
		case child.status == Pending && o.status == OK:
			s.Steps[i].Why = "not known yet: its weight goes to the others"
		case child.status == Failed && o.status == OK:
			s.Steps[i].Why = child.err.Error() + ": its weight goes to the others"
		default:
			s.Steps[i].Taken = true
		}
	}
	return o
}

// path explains one name: the entries that match it, or else what the namers say.
func (x *explainer) path(path dtab.Path, entry, depth int) (Step, outcome) {
	s := Step{Path: path, Entry: entry}
	entries, ok := x.eval.match(path)
	switch {
	case !ok:
		return s, failed(x.eval.abort)
	case len(entries) == 0:
		return x.namers(s, depth)
	case len(entries) == 1:
		child, o := x.follow(entries[0], path, depth+1)
		child.Taken = true
		delegate := s
		delegate.Kind, delegate.Steps = StepDelegate, []Step{child}
		if x.eval.table.entry(entries[0]).Dst.Kind == dtab.Neg { // as if there were no such entry: the namers are asked
			if asked, known := x.namers(s, depth); asked.Kind != StepNeg {
				asked.passed = &delegate
				return asked, known
			}
		}
		return delegate, o
	}
	if depth >= x.eval.limits.depth { // the alternatives as a whole are too deep, not each of them
		return s, failed(errDepth)
	}
	var outcomes []outcome
	for _, n := range entries {
		child, o := x.follow(n, path, depth+1)
		child, o = x.told(s, child, o)
		if x.eval.abort != nil {
			return s, failed(x.eval.abort)
		}
		s.Steps, outcomes = append(s.Steps, child), append(outcomes, o)
	}
	return x.alternatives(s, outcomes)
}

// follow explains what an entry makes of a path that it matches.
func (x *explainer) follow(n int, path dtab.Path, depth int) (Step, outcome) {
	entry := x.eval.table.entry(n)
	return explain(x, entry.Dst, depth, Step{Path: path, Entry: n}, func(leaf dtab.Path) (Step, outcome) {
		return x.path(x.eval.below(leaf, entry, path), n, depth)
	})
}

// namers explains what the namers make of a name that no entry matches. A namer that rewrites leaves no step: what it
// makes of the name stands in its place.
func (x *explainer) namers(s Step, depth int) (Step, outcome) {
	a, residual := x.eval.namers(s.Path)
	s.Since = a.since
	switch {
	case a.Status == Pending:
		x.waiting = true
		s.Kind = StepWaiting
		return s, outcome{status: Pending, since: a.since}
	case depth >= x.eval.limits.depth: // whatever the answer is, it comes too late
		return s, failed(errDepth)
	case a.Status == Failed:
		s.Kind, s.Err = StepException, a.Err
		return s, outcome{status: Failed, err: a.Err, told: true}
	case a.Tree.Kind == dtab.Neg:
		if s.Err = a.Err; x.unmounted(s.Path) {
			s.Err = errUnmounted
		}
		return s, outcome{status: OK}
	}
	step, o := explain(x, a.Tree, depth+1, Step{Path: s.Path, Entry: s.Entry}, func(l Leaf) (Step, outcome) {
		if l.Bound == nil {
			return x.path(l.Path, s.Entry, depth+1)
		}
		return x.leaf(s, a.end(*l.Bound, residual, nil))
	})
	if step.Since.IsZero() {
		step.Since = a.since
	}
	return step, o
}

var errUnmounted = errors.New("no namer is configured for it here")

// unmounted reports whether path is one that only a namer can answer, and there is none.
func (x *explainer) unmounted(path dtab.Path) bool {
	return len(path) > 0 && path[0] == "#" &&
		!slices.ContainsFunc(x.eval.mounts, func(m Mount) bool { return path.HasPrefix(m.Prefix) })
}
