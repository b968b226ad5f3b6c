package wire

import (
	"errors"
	"fmt"

	"argosy/dtab"
	"argosy/namer"
)

// LargestDelegation is about how many bytes a delegation may have. Every node tells the whole entry that led to it, so a
// table of a few kilobytes with many alternatives in one entry can come to gigabytes.
const LargestDelegation = 16 << 20

// ErrTooLarge is the error of a delegation that would be larger than LargestDelegation.
var ErrTooLarge = fmt.Errorf("the delegation is larger than %d MB", LargestDelegation>>20)

// Delegation writes how a name is delegated, all alternatives included. It fails with ErrTooLarge.
func Delegation(x *namer.Explanation) ([]byte, error) {
	d := &delegation{x: x, entries: map[int]*Dentry{}, left: LargestDelegation}
	n := d.node(x.Root)
	if d.left < 0 {
		return nil, ErrTooLarge
	}
	return Encode(n), nil
}

type delegation struct {
	x       *namer.Explanation
	entries map[int]*Dentry // those that have been printed
	left    int             // bytes
}

// node is a step with all below it, or less where nothing is left.
func (d *delegation) node(s namer.Step) Node {
	s = s.AsNamerd()
	n := Node{Path: s.Path.String(), Dentry: d.entry(s)}
	d.left -= len(n.Path) + sizeOfNode
	switch s.Kind {
	case namer.StepFail:
		n.Type = "fail"
		if !s.Path.HasPrefix(dtab.Path{"$", "fail"}) {
			n.Path = "!"
		}
	case namer.StepEmpty:
		n.Type = "empty"
	case namer.StepLeaf:
		b := *s.Bound
		b.Weight = nil // only bind shows it
		if d.left -= sizeOfEndpoints(b.Addr); d.left >= 0 {
			n.Type, n.Bound = "leaf", boundOf(b)
		}
	case namer.StepDelegate:
		child := d.node(s.Steps[0])
		n.Type, n.Delegate = "delegate", &child
	case namer.StepAlt:
		n.Type = "alt"
		for i := 0; i < len(s.Steps) && d.left >= 0; i++ {
			n.Alt = append(n.Alt, d.node(s.Steps[i]))
		}
	case namer.StepUnion:
		n.Type = "union"
		for i := 0; i < len(s.Steps) && d.left >= 0; i++ {
			n.Union = append(n.Union, Branch{Weight: Double(s.Steps[i].Weight), Tree: d.node(s.Steps[i])})
		}
	case namer.StepException, namer.StepWaiting:
		n.Type, n.Message = "exception", "not known yet"
		if s.Err != nil {
			n.Message = s.Err.Error()
		}
		d.left -= len(n.Message)
	default:
		n.Type = "neg"
		if len(s.Path) == 0 {
			n.Path = "~"
		}
	}
	return n
}

// What is written of a node and of an endpoint beside the texts in them, about.
const (
	sizeOfNode     = 64
	sizeOfEndpoint = 32
)

// entry is the entry that led to a step. Each is printed once.
func (d *delegation) entry(s namer.Step) *Dentry {
	e := d.x.Entry(s)
	if e == nil {
		return nil
	}
	printed := d.entries[s.Entry]
	if printed == nil {
		printed = &Dentry{Prefix: e.Prefix.String(), Dst: dtab.TreeString(e.Dst)}
		d.entries[s.Entry] = printed
	}
	d.left -= len(printed.Prefix) + len(printed.Dst)
	return printed
}

// DecodeDelegation reads a delegation. Nodes of a kind that is not known are kept as they are.
func DecodeDelegation(body []byte) (*Node, error) {
	var n Node
	if err := decode(body, "delegation", &n); err != nil {
		return nil, err
	}
	if n.Type == "" {
		return nil, errors.New("read delegation: it has no type")
	}
	return &n, nil
}
