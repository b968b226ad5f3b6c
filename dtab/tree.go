package dtab

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
