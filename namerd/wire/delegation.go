package wire

import (
	"errors"

	"argosy/dtab"
	"argosy/namer"
)

// Delegation writes how a name is delegated, all alternatives included.
func Delegation(x *namer.Explanation) []byte { return Encode(delegation(x, x.Root)) }

func delegation(x *namer.Explanation, s namer.Step) Node {
	s = s.AsNamerd()
	n := Node{Path: s.Path.String()}
	if e := x.Entry(s); e != nil {
		n.Dentry = &Dentry{Prefix: e.Prefix.String(), Dst: dtab.TreeString(e.Dst)}
	}
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
		n.Type, n.Bound = "leaf", boundOf(b)
	case namer.StepDelegate:
		child := delegation(x, s.Steps[0])
		n.Type, n.Delegate = "delegate", &child
	case namer.StepAlt:
		n.Type = "alt"
		for _, c := range s.Steps {
			n.Alt = append(n.Alt, delegation(x, c))
		}
	case namer.StepUnion:
		n.Type = "union"
		for _, c := range s.Steps {
			n.Union = append(n.Union, Branch{Weight: Double(c.Weight), Tree: delegation(x, c)})
		}
	case namer.StepException, namer.StepWaiting:
		n.Type, n.Message = "exception", "not known yet"
		if s.Err != nil {
			n.Message = s.Err.Error()
		}
	default:
		n.Type = "neg"
		if len(s.Path) == 0 {
			n.Path = "~"
		}
	}
	return n
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
