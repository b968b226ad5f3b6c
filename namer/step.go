package namer

import (
	"cmp"
	"slices"
	"time"

	"argosy/dtab"
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
	Err   error     // of an Exception, of a Neg that is so for trouble, and what is waited for where that is known
	Since time.Time // of what a namer has answered: since when it is so; else zero

	Taken bool    // connections go here, or would if there were endpoints
	Why   string  // why not, at the step where it was decided
	Share float64 // of all connections of the name, 0 to 1, that come through here

	passed *Step // see AsNamerd
	empty  bool  // comes to a $, as the branch of a union
}

// AsNamerd is the step as Namerd explains it. It is another one where the only entry that matches says ~: the name goes on
// to the namers, as if there were no such entry, but Namerd's explanations end at it.
func (s Step) AsNamerd() Step {
	if s.passed == nil {
		return s
	}
	p := *s.passed
	p.Entry, p.Weight = s.Entry, s.Weight
	return p
}

// Explanation is the whole delegation of a name at one moment, with all that was not taken.
type Explanation struct {
	Table   dtab.Dtab // that Step.Entry points into
	Stored  int       // how many of its entries are the stored table's; the others are the interpreter's own
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

// settle passes on who is taken, and with which share, from the top down.
func (s *Step) settle(taken bool, share float64) {
	s.Taken, s.Share = taken, 0
	if taken {
		s.Share = share
	}
	total, heaviest := 0.0, 0.0
	all := !slices.ContainsFunc(s.Steps, Step.counted)
	for _, c := range s.Steps {
		if c.Taken {
			heaviest = max(heaviest, c.Weight)
		}
	}
	for _, c := range s.Steps {
		if c.Taken && (all || c.counted()) {
			total += relative(c.Weight, heaviest)
		}
	}
	for i := range s.Steps {
		c := &s.Steps[i]
		part := s.Share
		switch {
		case s.Kind == StepUnion && !all && !c.counted():
			part = 0
		case s.Kind == StepUnion && total > 0:
			part *= relative(c.Weight, heaviest) / total
		}
		c.settle(taken && c.Taken, part)
	}
}

// counted reports whether a branch of a union takes part in it: a $ of weight zero does not, unless there is nothing else.
func (s Step) counted() bool { return s.Taken && (s.Weight > 0 || !s.empty) }

// simplified puts together what belongs to one name: an entry whose destination is a tree stands as that tree, and
// alternatives of alternatives of one name are one list.
func (s Step) simplified() Step {
	steps := make([]Step, 0, len(s.Steps))
	for _, c := range s.flat(nil, "") {
		if c = c.simplified(); s.includes(c) {
			for _, g := range c.Steps {
				steps = append(steps, g.because(c.why("")))
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
			c.passed = cmp.Or(s.passed, c.passed)
			return c
		}
	}
	return s
}

// includes reports whether c's steps may stand in s in its place.
func (s Step) includes(c Step) bool {
	return s.Kind == StepAlt && c.Kind == StepAlt && len(c.Steps) > 1 && c.passed == nil && c.Path.Equal(s.Path)
}

// flat appends the steps of s, with those that may stand in the place of one of them, however deep. why is the reason
// why s is not taken.
func (s Step) flat(to []Step, why string) []Step {
	for _, c := range s.Steps {
		if s.includes(c) {
			to = c.flat(to, c.why(why))
			continue
		}
		to = append(to, c.because(why))
	}
	return to
}

// why is the reason why nothing in s is taken, which around it is that given.
func (s Step) why(around string) string {
	if !s.Taken && s.Why != "" {
		return s.Why
	}
	return around
}

// because is s, with a reason for not being taken where it has none of its own.
func (s Step) because(why string) Step {
	if s.Why == "" {
		s.Why = why
	}
	return s
}
