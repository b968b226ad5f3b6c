package namer

import (
	"context"
	"errors"
	"time"

	"argosy/dtab"
	"argosy/internal/watch"
)

// StepKind says what a Step is.
type StepKind uint8

// The kinds of step. A Delegate is one that rewrites; Waiting stands where nothing is known yet.
const (
	StepNeg StepKind = iota
	StepFail
	StepEmpty
	StepLeaf
	StepDelegate
	StepAlt
	StepUnion
	StepException
	StepWaiting
)

func (k StepKind) String() string {
	return [...]string{"neg", "fail", "empty", "leaf", "delegate", "alt", "union", "exception", "waiting"}[k]
}

// NoEntry is the Entry of a step that no entry of the table has led to.
const NoEntry = -1

// Step is one node of an Explanation: what becomes of one path, or of a tree that an entry has put in its place. It is
// a value that is not changed.
type Step struct {
	Kind  StepKind
	Path  dtab.Path // the name here; the root for an explicit ~
	Entry int       // the entry that led here, as an index into the table, or NoEntry

	Steps  []Step  // one of a Delegate, in order of preference of an Alt, the branches of a Union
	Weight float64 // as the branch of a Union

	Bound *Bound    // of a Leaf
	Err   error     // of an Exception, and what is waited for where that is known
	Since time.Time // of what a namer has answered: since when it is so; else zero

	Taken bool    // connections go here, or would if there were endpoints
	Why   string  // why not, at the step where it was decided
	Share float64 // of all connections of the name, 0 to 1, that come through here
}

// Explanation is the whole delegation of a name at one moment, with all that was not taken.
type Explanation struct {
	Table   dtab.Dtab // that Step.Entry points into
	Root    Step
	Waiting bool // something was not known in time
}

// Entry returns the entry that led to a step, or nil.
func (x *Explanation) Entry(s Step) *dtab.Dentry {
	if s.Entry < 0 || s.Entry >= len(x.Table) {
		return nil
	}
	return &x.Table[s.Entry]
}

// errDepth is the text that Namerd has for a delegation that leads on and on.
var errDepth = errors.New("Max recursion level reached.")

// Explain delegates name the way that Bind does, and tells all of it: every alternative is followed, also those that
// Bind does not look at. It waits until everything is known; when ctx ends first, what is not known is Waiting. It fails
// when the name leads on and on, when the table cannot be had, and after Close.
func (in *Interpreter) Explain(ctx context.Context, name dtab.Path) (*Explanation, error) {
	return in.ExplainTree(ctx, dtab.LeafOf(name.Concat()))
}

// ExplainTree is Explain for a tree of names.
func (in *Interpreter) ExplainTree(ctx context.Context, tree dtab.Tree[dtab.Path]) (*Explanation, error) {
	if !in.join() {
		return nil, ErrClosed
	}
	defer in.wg.Done()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(in.ctx, cancel)()
	x := &explainer{binder: binder{in: in, ctx: in.ctx, tree: tree}}
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
	table   dtab.Dtab
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
	x.table = table.Dtab.Concat(x.in.options.Local)
	x.eval = x.evaluation(x.table, used)
	x.eval.ctx = ctx
	x.eval.left = x.in.limits.lookups
	x.waiting = false
	root, o := x.follow(x.tree, nil, NoEntry, 0)
	x.keep(used)
	x.wake = x.eval.wake
	if x.eval.abort != nil {
		return nil, x.eval.abort
	}
	if o.status == Failed && errors.Is(o.err, errDepth) {
		return nil, errDepth
	}
	root.settle(o.tree.Kind != dtab.Neg || o.status != OK, 1)
	return &Explanation{Table: x.table, Root: root.simplified(), Waiting: x.waiting}, nil
}

// follow explains a tree that entry has put in the place of path.
func (x *explainer) follow(t dtab.Tree[dtab.Path], path dtab.Path, entry, depth int) (Step, outcome) {
	return x.place(nodes(t), path, entry, depth)
}

func (x *explainer) place(t dtab.Tree[node], path dtab.Path, entry, depth int) (Step, outcome) {
	s := Step{Path: path, Entry: entry}
	if x.eval.abort != nil {
		return s, failed(x.eval.abort)
	}
	if depth > x.eval.limits.depth {
		return s, failed(errDepth)
	}
	switch t.Kind {
	case dtab.Leaf:
		if end := t.Leaf.end; end != nil {
			return x.leaf(s, end)
		}
		return x.path(t.Leaf.path, entry, depth)
	case dtab.Alt, dtab.Union:
		return x.several(s, t, depth)
	case dtab.Fail:
		s.Kind = StepFail
	case dtab.Empty:
		s.Kind = StepEmpty
	default:
		s.Path = nil // an explicit ~ has no path of its own
	}
	return s, outcome{status: OK, tree: dtab.Tree[found]{Kind: t.Kind}}
}

func (x *explainer) leaf(s Step, end *found) (Step, outcome) {
	s.Kind, s.Bound = StepLeaf, &end.Bound
	if end.from != nil {
		s.Since = end.from.cell.Value().since
	}
	x.waiting = x.waiting || end.Addr.Status == Pending
	return s, outcome{status: OK, tree: dtab.LeafOf(*end)}
}

// several explains an Alt or a Union: all children, then which of them count.
func (x *explainer) several(s Step, t dtab.Tree[node], depth int) (Step, outcome) {
	outcomes := make([]outcome, len(t.Branches))
	for i, b := range t.Branches {
		var child Step
		child, outcomes[i] = x.place(b.Tree, s.Path, s.Entry, depth)
		if o := outcomes[i]; o.status == Failed && child.Kind != StepException && !hasException(child) {
			child = Step{Kind: StepException, Path: s.Path, Entry: s.Entry, Err: o.err}
		}
		child.Weight = b.Weight
		s.Steps = append(s.Steps, child)
	}
	if t.Kind == dtab.Union {
		s.Kind = StepUnion
		return s, s.markUnion(outcomes, x.eval.union(t.Branches, func(i int) outcome { return outcomes[i] }))
	}
	s.Kind = StepAlt
	o, taken := x.eval.alt(len(outcomes), func(i int) outcome { return outcomes[i] })
	s.markAlt(outcomes, taken)
	return s, o
}

func hasException(s Step) bool {
	if s.Kind == StepException {
		return true
	}
	for _, c := range s.Steps {
		if hasException(c) {
			return true
		}
	}
	return false
}

// markAlt says of all children but the one that was taken why it was not.
func (s *Step) markAlt(outcomes []outcome, taken int) {
	for i := range s.Steps {
		switch o := outcomes[i]; {
		case i == taken:
			s.Steps[i].Taken = true
		case taken >= 0 && i > taken && outcomes[taken].status == OK && outcomes[taken].tree.Kind == dtab.Fail:
			s.Steps[i].Why = "not looked at: the ! before it ends the alternatives"
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
	if !x.eval.step() {
		return Step{Path: path, Entry: entry}, failed(x.eval.abort)
	}
	s := Step{Path: path, Entry: entry}
	alternatives := x.matches(path)
	switch len(alternatives) {
	case 0:
		return x.namers(s, depth)
	case 1:
		child, o := x.follow(alternatives[0].tree, path, alternatives[0].entry, depth+1)
		if lookupIsNeg(alternatives[0].tree) { // as if there were no such entry: the namers are asked
			if asked, known := x.namers(s, depth); asked.Kind != StepNeg {
				return asked, known
			}
		}
		s.Kind, s.Steps = StepDelegate, []Step{child}
		s.Steps[0].Taken = true
		return s, o
	}
	s.Kind = StepAlt
	outcomes := make([]outcome, len(alternatives))
	for i, a := range alternatives {
		var child Step
		child, outcomes[i] = x.follow(a.tree, path, a.entry, depth+1)
		if o := outcomes[i]; o.status == Failed && child.Kind != StepException && !hasException(child) {
			child = Step{Kind: StepException, Path: path, Entry: a.entry, Err: o.err}
		}
		s.Steps = append(s.Steps, child)
	}
	o, taken := x.eval.alt(len(outcomes), func(i int) outcome { return outcomes[i] })
	s.markAlt(outcomes, taken)
	return s, o
}

func lookupIsNeg(t dtab.Tree[dtab.Path]) bool { return t.Kind == dtab.Neg }

// alternative is what one entry makes of a path.
type alternative struct {
	entry int
	tree  dtab.Tree[dtab.Path]
}

// matches are the entries that match, the last one first.
func (x *explainer) matches(path dtab.Path) []alternative {
	var all []alternative
	for i := len(x.table) - 1; i >= 0; i-- {
		if e := x.table[i]; e.Prefix.Matches(path) {
			rest := path[len(e.Prefix):]
			x.eval.left -= size(e.Dst) / nodesPerLookup
			all = append(all, alternative{i, dtab.Map(e.Dst, func(leaf dtab.Path) dtab.Path { return leaf.Concat(rest) })})
		}
	}
	return all
}

// namers explains what the namers make of a name that no entry matches.
func (x *explainer) namers(s Step, depth int) (Step, outcome) {
	a, residual := x.eval.namers(s.Path)
	s.Since = a.since
	switch {
	case a.Status == Pending:
		x.waiting = true
		s.Kind = StepWaiting
		return s, outcome{status: Pending, since: a.since}
	case a.Status == Failed:
		s.Kind, s.Err = StepException, a.Err
		return s, failed(a.Err)
	case a.Tree.Kind == dtab.Neg:
		return s, outcome{status: OK}
	}
	step, o := x.place(a.nodes(residual), s.Path, s.Entry, depth+1)
	if step.Kind == StepNeg { // the namer has said so, not an entry
		step.Path = s.Path
	}
	if step.Since.IsZero() {
		step.Since = a.since
	}
	return step, o
}

// settle passes on who is taken, and with which share, from the top down.
func (s *Step) settle(taken bool, share float64) {
	s.Taken, s.Share = taken, 0
	if taken {
		s.Share = share
	}
	total, heaviest := 0.0, 0.0
	for _, c := range s.Steps {
		if c.Taken && !(c.Kind == StepEmpty && c.Weight == 0) {
			heaviest = max(heaviest, c.Weight)
		}
	}
	for _, c := range s.Steps {
		if c.Taken && s.Kind == StepUnion {
			total += relative(c.Weight, heaviest)
		}
	}
	for i := range s.Steps {
		c := &s.Steps[i]
		part := s.Share
		if s.Kind == StepUnion && total > 0 {
			part *= relative(c.Weight, heaviest) / total
		}
		c.settle(taken && c.Taken, part)
	}
}

// simplified puts together what belongs to one name: an entry whose destination is a tree stands as that tree, and
// alternatives of alternatives of one name are one list.
func (s Step) simplified() Step {
	steps := make([]Step, 0, len(s.Steps))
	for _, c := range s.Steps {
		c = c.simplified()
		if s.Kind == StepAlt && c.Kind == StepAlt && c.Path.Equal(s.Path) {
			for _, g := range c.Steps {
				if !c.Taken && g.Why == "" {
					g.Why = c.Why
				}
				steps = append(steps, g)
			}
			continue
		}
		steps = append(steps, c)
	}
	s.Steps = steps
	switch {
	case len(steps) == 0 && (s.Kind == StepAlt || s.Kind == StepUnion):
		s.Kind = StepNeg
	case len(steps) == 1 && (s.Kind == StepAlt || s.Kind == StepUnion):
		s.Kind = StepDelegate
	}
	if s.Kind != StepDelegate {
		return s
	}
	switch c := steps[0]; c.Kind {
	case StepNeg, StepFail, StepEmpty:
	default:
		if c.Path.Equal(s.Path) {
			c.Entry, c.Weight, c.Why, c.Taken, c.Share = s.Entry, s.Weight, s.Why, s.Taken, s.Share
			return c
		}
	}
	return s
}
