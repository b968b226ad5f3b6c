package wire

import (
	"errors"
	"fmt"
	"math"

	"argosy/dtab"
	"argosy/namer"
)

// Node is one node of a tree as JSON has it: of a bound tree, or with Path and Dentry of a delegation. Which of the
// other fields are set depends on Type.
type Node struct {
	Type   string  `json:"type"`           // neg, fail, empty, leaf, alt, union, delegate, exception or transformation
	Path   string  `json:"path,omitempty"` // of a delegation; "~" and "!" where there is no name
	Dentry *Dentry `json:"dentry,omitempty"`

	Delegate *Node    `json:"delegate,omitempty"`
	Alt      []Node   `json:"alt,omitempty"`
	Union    []Branch `json:"union,omitempty"`
	Name     string   `json:"name,omitempty"` // of a transformation
	Bound    *Bound   `json:"bound,omitempty"`
	Tree     *Node    `json:"tree,omitempty"` // of a transformation: what has become of Bound
	Message  string   `json:"message,omitempty"`
}

// Dentry is an entry of a table, printed.
type Dentry struct {
	Prefix string `json:"prefix"`
	Dst    string `json:"dst"`
}

// Branch is one branch of a union.
type Branch struct {
	Weight Double `json:"weight"`
	Tree   Node   `json:"tree"`
}

// Bound is a concrete name, printed.
type Bound struct {
	Addr addrSet `json:"addr"`
	ID   string  `json:"id"`
	Path string  `json:"path"` // the residual, "/" for none
}

// largestTree is about how many bytes a bound tree may have. A union of some kilobytes can have the same large service a
// thousand times, each with all its endpoints.
const largestTree = 64 << 20

// Tree writes a bound tree, with the state that the address sets have now. It fails where that is larger than 64 MB.
func Tree(t dtab.Tree[namer.Bound]) ([]byte, error) {
	if left := largestTree; !fits(t, &left) {
		return nil, fmt.Errorf("the bound tree is larger than %d MB", largestTree>>20)
	}
	return Encode(treeOf(t, boundOf)), nil
}

// fits takes what the tree takes from what is left.
func fits(t dtab.Tree[namer.Bound], left *int) bool {
	*left -= sizeOfNode + sizeOfEndpoints(t.Leaf.Addr)
	for i := 0; i < len(t.Branches) && *left >= 0; i++ {
		fits(t.Branches[i].Tree, left)
	}
	return *left >= 0
}

func sizeOfEndpoints(a namer.Addr) int {
	size := 0
	for _, e := range a.Endpoints {
		size += len(e.Addr) + sizeOfEndpoint
		for k, v := range e.Meta {
			size += len(k) + len(v)
		}
	}
	return size
}

// TreeOfIDs writes a bound tree without its address sets. Two trees are the same to a reader of bind if these are.
func TreeOfIDs(t dtab.Tree[namer.Bound]) []byte {
	return Encode(treeOf(t, func(b namer.Bound) *Bound {
		b.Addr = namer.Addr{}
		return boundOf(b)
	}))
}

func treeOf(t dtab.Tree[namer.Bound], bound func(namer.Bound) *Bound) Node {
	switch t.Kind {
	case dtab.Leaf:
		return Node{Type: "leaf", Bound: bound(t.Leaf)}
	case dtab.Alt: // an interpreter leaves none
		n := Node{Type: "alt"}
		for _, b := range t.Branches {
			n.Alt = append(n.Alt, treeOf(b.Tree, bound))
		}
		return n
	case dtab.Union:
		n := Node{Type: "union"}
		for _, b := range t.Branches {
			n.Union = append(n.Union, Branch{Weight: Double(b.Weight), Tree: treeOf(b.Tree, bound)})
		}
		return n
	case dtab.Fail:
		return Node{Type: "fail"}
	case dtab.Empty:
		return Node{Type: "empty"}
	}
	return Node{Type: "neg"}
}

func boundOf(b namer.Bound) *Bound {
	return &Bound{Addr: addrOf(b.Addr, b.Weight), ID: b.ID.String(), Path: b.Residual.String()}
}

// DecodeTree reads a bound tree.
func DecodeTree(body []byte) (dtab.Tree[namer.Bound], error) {
	var n Node
	if err := decode(body, "bound tree", &n); err != nil {
		return dtab.Tree[namer.Bound]{}, err
	}
	return n.tree()
}

func (n Node) tree() (dtab.Tree[namer.Bound], error) {
	t := dtab.Tree[namer.Bound]{}
	switch n.Type {
	case "neg":
		return t, nil
	case "fail":
		t.Kind = dtab.Fail
		return t, nil
	case "empty":
		t.Kind = dtab.Empty
		return t, nil
	case "leaf":
		if n.Bound == nil {
			return t, errors.New("read bound tree: a leaf without bound")
		}
		b, err := n.Bound.bound()
		return dtab.LeafOf(b), err
	case "alt":
		t.Kind = dtab.Alt
		for _, c := range n.Alt {
			if err := add(&t, 1, c); err != nil {
				return t, err
			}
		}
		return t, nil
	case "union":
		t.Kind = dtab.Union
		for _, b := range n.Union {
			if !(b.Weight >= 0 && float64(b.Weight) <= math.MaxFloat64) {
				return t, fmt.Errorf("read bound tree: weight %v of a branch", float64(b.Weight))
			}
			if err := add(&t, float64(b.Weight), b.Tree); err != nil {
				return t, err
			}
		}
		return t, nil
	}
	return t, fmt.Errorf("read bound tree: unknown type %q", n.Type)
}

func add(t *dtab.Tree[namer.Bound], weight float64, n Node) error {
	child, err := n.tree()
	t.Branches = append(t.Branches, dtab.Branch[namer.Bound]{Weight: weight, Tree: child})
	return err
}

func (b Bound) bound() (namer.Bound, error) {
	id, err := dtab.ParsePath(b.ID)
	if err != nil {
		return namer.Bound{}, fmt.Errorf("read bound tree: id: %w", err)
	}
	residual, err := dtab.ParsePath(b.Path)
	if err != nil {
		return namer.Bound{}, fmt.Errorf("read bound tree: path: %w", err)
	}
	addr, weight, err := b.Addr.addr()
	return namer.Bound{ID: id, Residual: residual, Addr: addr, Weight: weight}, err
}

// Endpoints returns the addresses of a bound name of a delegation.
func (b Bound) Endpoints() (namer.Addr, error) {
	a, _, err := b.Addr.addr()
	return a, err
}
