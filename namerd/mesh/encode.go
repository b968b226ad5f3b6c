package mesh

import (
	"cmp"

	"google.golang.org/protobuf/proto"

	"argosy/dtab"
	"argosy/namer"
	"argosy/namerd/mesh/meshpb"
	"argosy/namerd/wire"
)

// Every scalar is set here, also where it is zero: see meshpb.

func toPath(p dtab.Path) *meshpb.Path {
	elems := make([][]byte, len(p))
	for i, e := range p {
		elems[i] = []byte(e)
	}
	return &meshpb.Path{Elems: elems}
}

func toTable(d dtab.Dtab) *meshpb.Dtab {
	table := &meshpb.Dtab{Dentries: make([]*meshpb.Dtab_Dentry, len(d))}
	for i, e := range d {
		table.Dentries[i] = toDentry(e)
	}
	return table
}

func toDentry(e dtab.Dentry) *meshpb.Dtab_Dentry {
	prefix := &meshpb.Dtab_Dentry_Prefix{Elems: make([]*meshpb.Dtab_Dentry_Prefix_Elem, len(e.Prefix))}
	for i, elem := range e.Prefix {
		prefix.Elems[i] = &meshpb.Dtab_Dentry_Prefix_Elem{}
		if elem.Wild {
			prefix.Elems[i].Value = &meshpb.Dtab_Dentry_Prefix_Elem_Wildcard_{Wildcard: &meshpb.Dtab_Dentry_Prefix_Elem_Wildcard{}}
		} else {
			prefix.Elems[i].Value = &meshpb.Dtab_Dentry_Prefix_Elem_Label{Label: []byte(elem.Label)}
		}
	}
	return &meshpb.Dtab_Dentry{Prefix: prefix, Dst: toTree(e.Dst)}
}

func toTree(t dtab.Tree[dtab.Path]) *meshpb.PathNameTree {
	switch t.Kind {
	case dtab.Fail:
		return &meshpb.PathNameTree{Node: &meshpb.PathNameTree_Fail_{Fail: &meshpb.PathNameTree_Fail{}}}
	case dtab.Empty:
		return &meshpb.PathNameTree{Node: &meshpb.PathNameTree_Empty_{Empty: &meshpb.PathNameTree_Empty{}}}
	case dtab.Leaf:
		return &meshpb.PathNameTree{Node: &meshpb.PathNameTree_Leaf_{Leaf: &meshpb.PathNameTree_Leaf{Id: toPath(t.Leaf)}}}
	case dtab.Alt:
		alt := &meshpb.PathNameTree_Alt{}
		for _, b := range t.Branches {
			alt.Trees = append(alt.Trees, toTree(b.Tree))
		}
		return &meshpb.PathNameTree{Node: &meshpb.PathNameTree_Alt_{Alt: alt}}
	case dtab.Union:
		union := &meshpb.PathNameTree_Union{}
		for _, b := range t.Branches {
			union.Trees = append(union.Trees, &meshpb.PathNameTree_Union_Weighted{Weight: proto.Float64(b.Weight), Tree: toTree(b.Tree)})
		}
		return &meshpb.PathNameTree{Node: &meshpb.PathNameTree_Union_{Union: union}}
	}
	return &meshpb.PathNameTree{Node: &meshpb.PathNameTree_Neg_{Neg: &meshpb.PathNameTree_Neg{}}}
}

func boundTree(b namer.Binding) *meshpb.BoundTreeRsp {
	return &meshpb.BoundTreeRsp{Tree: toBoundTree(b.Tree)}
}

func toBoundTree(t dtab.Tree[namer.Bound]) *meshpb.BoundNameTree {
	switch t.Kind {
	case dtab.Fail:
		return &meshpb.BoundNameTree{Node: &meshpb.BoundNameTree_Fail_{Fail: &meshpb.BoundNameTree_Fail{}}}
	case dtab.Empty:
		return &meshpb.BoundNameTree{Node: &meshpb.BoundNameTree_Empty_{Empty: &meshpb.BoundNameTree_Empty{}}}
	case dtab.Leaf:
		return &meshpb.BoundNameTree{Node: &meshpb.BoundNameTree_Leaf_{Leaf: &meshpb.BoundNameTree_Leaf{
			Id: toPath(t.Leaf.ID), Residual: toPath(t.Leaf.Residual),
		}}}
	case dtab.Alt:
		alt := &meshpb.BoundNameTree_Alt{}
		for _, b := range t.Branches {
			alt.Trees = append(alt.Trees, toBoundTree(b.Tree))
		}
		return &meshpb.BoundNameTree{Node: &meshpb.BoundNameTree_Alt_{Alt: alt}}
	case dtab.Union:
		union := &meshpb.BoundNameTree_Union{}
		for _, b := range t.Branches {
			union.Trees = append(union.Trees, &meshpb.BoundNameTree_Union_Weighted{Weight: proto.Float64(b.Weight), Tree: toBoundTree(b.Tree)})
		}
		return &meshpb.BoundNameTree{Node: &meshpb.BoundNameTree_Union_{Union: union}}
	}
	return &meshpb.BoundNameTree{Node: &meshpb.BoundNameTree_Neg_{Neg: &meshpb.BoundNameTree_Neg{}}}
}

// noEntry stands for the entry where none has led to a node. Its prefix has an element that nobody can write.
func noEntry() dtab.Dentry { return dtab.Dentry{Prefix: dtab.Prefix{{Label: "/"}}} }

// delegateTree is an explanation. Every node tells the whole entry that led to it, so it is bounded as that of the HTTP API.
func delegateTree(x *namer.Explanation) (*meshpb.BoundDelegateTree, error) {
	d := &delegation{x: x, entries: map[int]sized{namer.NoEntry: {toDentry(noEntry()), 0}}, left: wire.LargestDelegation}
	t := d.node(x.Root)
	if d.left < 0 {
		return nil, wire.ErrTooLarge
	}
	return t, nil
}

type delegation struct {
	x       *namer.Explanation
	entries map[int]sized // those that have been encoded
	left    int           // bytes
}

type sized struct {
	dentry *meshpb.Dtab_Dentry
	size   int
}

func (d *delegation) entry(s namer.Step) *meshpb.Dtab_Dentry {
	e := d.x.Entry(s)
	if e == nil {
		return d.entries[namer.NoEntry].dentry
	}
	encoded, ok := d.entries[s.Entry]
	if !ok {
		encoded.dentry = toDentry(*e)
		encoded.size = proto.Size(encoded.dentry)
		d.entries[s.Entry] = encoded
	}
	d.left -= encoded.size
	return encoded.dentry
}

// node is a step with all below it, or less where nothing is left. Linkerd refuses a node without path or dentry.
func (d *delegation) node(s namer.Step) *meshpb.BoundDelegateTree {
	s = s.AsNamerd()
	t := &meshpb.BoundDelegateTree{Path: toPath(s.Path), Dentry: d.entry(s)}
	d.left -= proto.Size(t.Path)
	switch s.Kind {
	case namer.StepFail:
		t.Node = &meshpb.BoundDelegateTree_Fail_{Fail: &meshpb.BoundDelegateTree_Fail{}}
	case namer.StepEmpty:
		t.Node = &meshpb.BoundDelegateTree_Empty_{Empty: &meshpb.BoundDelegateTree_Empty{}}
	case namer.StepLeaf:
		t.Node = &meshpb.BoundDelegateTree_Leaf_{Leaf: &meshpb.BoundDelegateTree_Leaf{
			Id: toPath(s.Bound.ID), Residual: toPath(s.Bound.Residual),
		}}
	case namer.StepDelegate:
		t.Node = &meshpb.BoundDelegateTree_Delegate{Delegate: d.node(s.Steps[0])}
	case namer.StepAlt:
		alt := &meshpb.BoundDelegateTree_Alt{}
		for i := 0; i < len(s.Steps) && d.left >= 0; i++ {
			alt.Trees = append(alt.Trees, d.node(s.Steps[i]))
		}
		t.Node = &meshpb.BoundDelegateTree_Alt_{Alt: alt}
	case namer.StepUnion:
		union := &meshpb.BoundDelegateTree_Union{}
		for i := 0; i < len(s.Steps) && d.left >= 0; i++ {
			union.Trees = append(union.Trees, &meshpb.BoundDelegateTree_Union_Weighted{Weight: proto.Float64(s.Steps[i].Weight), Tree: d.node(s.Steps[i])})
		}
		t.Node = &meshpb.BoundDelegateTree_Union_{Union: union}
	case namer.StepException:
		t.Node = exception(s.Err)
	case namer.StepWaiting: // there is no word for it
		t.Node = exception(cmp.Or(s.Err, errNotKnown))
	default:
		t.Node = &meshpb.BoundDelegateTree_Neg_{Neg: &meshpb.BoundDelegateTree_Neg{}}
	}
	return t
}

func exception(err error) *meshpb.BoundDelegateTree_Exception {
	text := "No underlying exception message"
	if err != nil {
		text = err.Error()
	}
	return &meshpb.BoundDelegateTree_Exception{Exception: valid("BoundDelegateTree Exception: " + text)}
}
