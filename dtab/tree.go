package dtab

import "slices"

// Kind says what a Tree is.
type Kind uint8

// The kinds of tree. The zero Tree is Neg.
const (
	Neg   Kind = iota // "~": nothing here, try the next alternative
	Fail              // "!": stop, nothing
	Empty             // "$": exists, has no endpoints, stop
	Leaf              // one value
	Alt               // alternatives in order of preference
	Union             // weighted branches
)

// Tree is a name tree over leaves of type L: what a name stands for. It is a value: never change one that others can see.
type Tree[L any] struct {
	Kind     Kind
	Leaf     L           // for Leaf
	Branches []Branch[L] // for Alt (weights unused) and Union
}

// Branch is one child of an Alt or a Union.
type Branch[L any] struct {
	Weight float64 // of a Union's branch, relative to its siblings; 1 where none was written
	Tree   Tree[L]
}

// LeafOf makes a tree of one leaf.
func LeafOf[L any](leaf L) Tree[L] { return Tree[L]{Kind: Leaf, Leaf: leaf} }

// Map makes a tree of the same shape and weights whose leaves are what f makes of t's leaves, called in their order.
func Map[A, B any](t Tree[A], f func(A) B) Tree[B] {
	m := Tree[B]{Kind: t.Kind}
	if t.Kind == Leaf {
		m.Leaf = f(t.Leaf)
	}
	if t.Branches != nil {
		m.Branches = make([]Branch[B], len(t.Branches))
		for i, b := range t.Branches {
			m.Branches[i] = Branch[B]{Weight: b.Weight, Tree: Map(b.Tree, f)}
		}
	}
	return m
}

// EqualTrees reports whether two trees have the same shape, the same weights and equal leaves. What is merely
// equivalent, such as an Alt of one tree and that tree, is not equal.
func EqualTrees[L any](a, b Tree[L], equal func(a, b L) bool) bool {
	if a.Kind != b.Kind || a.Kind == Leaf && !equal(a.Leaf, b.Leaf) {
		return false
	}
	return slices.EqualFunc(a.Branches, b.Branches, func(x, y Branch[L]) bool {
		return (a.Kind != Union || x.Weight == y.Weight) && EqualTrees(x.Tree, y.Tree, equal)
	})
}

// Simplified returns an equivalent tree without what can make no difference: in an Alt, Neg children and all after the
// first Fail; in a Union of several branches, those that are Neg or Fail. Weights stay as they are.
func (t Tree[L]) Simplified() Tree[L] {
	switch t.Kind {
	case Alt:
		return t.simplifiedAlt()
	case Union:
		return t.simplifiedUnion()
	}
	return t
}

func (t Tree[L]) simplifiedAlt() Tree[L] {
	var kept []Branch[L]
	for _, b := range t.Branches {
		child := b.Tree.Simplified()
		if child.Kind == Neg {
			continue
		}
		kept = append(kept, Branch[L]{Weight: b.Weight, Tree: child})
		if child.Kind == Fail {
			break
		}
	}
	return collapse(Alt, kept)
}

func (t Tree[L]) simplifiedUnion() Tree[L] {
	if len(t.Branches) == 1 {
		return t.Branches[0].Tree.Simplified() // even to Fail: a union of one is no union
	}
	var kept []Branch[L]
	for _, b := range t.Branches {
		if child := b.Tree.Simplified(); child.Kind != Neg && child.Kind != Fail {
			kept = append(kept, Branch[L]{Weight: b.Weight, Tree: child})
		}
	}
	return collapse(Union, kept)
}

// collapse makes an Alt or Union of the branches, or what stands for one or none of them.
func collapse[L any](kind Kind, branches []Branch[L]) Tree[L] {
	switch len(branches) {
	case 0:
		return Tree[L]{}
	case 1:
		return branches[0].Tree
	}
	return Tree[L]{Kind: kind, Branches: branches}
}

// Eval says which leaves the tree comes to, weights ignored: those of the first child of an Alt that is not Neg, and
// of all branches of a Union. They are in the tree's order; a leaf that occurs twice is listed twice. It is not ok when
// the tree is negative or failing; ok without leaves is a tree that comes to Empty.
func (t Tree[L]) Eval() (leaves []L, ok bool) {
	leaves, kind := t.eval(nil)
	return leaves, kind != Neg && kind != Fail
}

// eval appends the leaves of t and returns Neg, Fail, or another kind for a positive answer.
func (t Tree[L]) eval(leaves []L) ([]L, Kind) {
	switch t.Kind {
	case Leaf:
		return append(leaves, t.Leaf), Leaf
	case Alt:
		for _, b := range t.Branches {
			var kind Kind
			if leaves, kind = b.Tree.eval(leaves); kind != Neg {
				return leaves, kind
			}
		}
		return leaves, Neg
	case Union:
		if len(t.Branches) == 1 {
			return t.Branches[0].Tree.eval(leaves)
		}
		all := Neg
		for _, b := range t.Branches {
			var kind Kind
			if leaves, kind = b.Tree.eval(leaves); kind != Neg && kind != Fail {
				all = Union
			}
		}
		return leaves, all
	}
	return leaves, t.Kind
}
