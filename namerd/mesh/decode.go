package mesh

import (
	"math"
	"strings"

	"argosy/dtab"
	"argosy/namerd/mesh/meshpb"
)

// pathOf is a path from the wire; one that is absent is the root.
func pathOf(p *meshpb.Path) (dtab.Path, error) {
	path := make(dtab.Path, len(p.GetElems()))
	for i, e := range p.GetElems() {
		if len(e) == 0 {
			return nil, malformed("illegal path: element %d is empty", i)
		}
		path[i] = string(e)
	}
	return path, nil
}

// tableOf is a table from the wire; one that is absent is empty.
func tableOf(d *meshpb.Dtab) (dtab.Dtab, error) {
	table := make(dtab.Dtab, len(d.GetDentries()))
	for i, e := range d.GetDentries() {
		if e.GetPrefix() == nil || e.GetDst() == nil {
			return nil, malformed("illegal dentry %d: it needs a prefix and a destination", i)
		}
		prefix, err := prefixOf(e.Prefix)
		if err != nil {
			return nil, err
		}
		dst, err := treeOf(e.Dst)
		if err != nil {
			return nil, err
		}
		table[i] = dtab.Dentry{Prefix: prefix, Dst: dst}
	}
	return table, nil
}

func prefixOf(p *meshpb.Dtab_Dentry_Prefix) (dtab.Prefix, error) {
	prefix := make(dtab.Prefix, len(p.GetElems()))
	for i, e := range p.GetElems() {
		switch v := e.GetValue().(type) {
		case *meshpb.Dtab_Dentry_Prefix_Elem_Wildcard_:
			prefix[i].Wild = true
		case *meshpb.Dtab_Dentry_Prefix_Elem_Label:
			prefix[i].Label = string(v.Label)
		}
		if prefix[i] == (dtab.Elem{}) {
			return nil, malformed("illegal prefix: element %d is empty", i)
		}
	}
	return prefix, nil
}

// treeOf is a tree of names from the wire.
func treeOf(t *meshpb.PathNameTree) (dtab.Tree[dtab.Path], error) {
	tree := dtab.Tree[dtab.Path]{}
	switch n := t.GetNode().(type) {
	case *meshpb.PathNameTree_Neg_:
		tree.Kind = dtab.Neg
	case *meshpb.PathNameTree_Fail_:
		tree.Kind = dtab.Fail
	case *meshpb.PathNameTree_Empty_:
		tree.Kind = dtab.Empty
	case *meshpb.PathNameTree_Leaf_:
		if n.Leaf.GetId() == nil {
			return tree, malformed("illegal name tree: a leaf without a path")
		}
		path, err := pathOf(n.Leaf.Id)
		return dtab.LeafOf(path), err
	case *meshpb.PathNameTree_Alt_:
		tree.Kind = dtab.Alt
		for _, child := range n.Alt.GetTrees() {
			if err := branch(&tree, 1, child); err != nil {
				return tree, err
			}
		}
	case *meshpb.PathNameTree_Union_:
		tree.Kind = dtab.Union
		for _, w := range n.Union.GetTrees() {
			if err := branch(&tree, w.GetWeight(), w.GetTree()); err != nil {
				return tree, err
			}
		}
	default:
		return tree, malformed("illegal name tree: a node of no kind")
	}
	return tree, nil
}

func branch(to *dtab.Tree[dtab.Path], weight float64, child *meshpb.PathNameTree) error {
	if !(weight >= 0) || math.IsInf(weight, 0) {
		return malformed("illegal name tree: %v is no weight", weight)
	}
	tree, err := treeOf(child)
	if err != nil {
		return err
	}
	to.Branches = append(to.Branches, dtab.Branch[dtab.Path]{Weight: weight, Tree: tree})
	return nil
}

// valid is a text that may go into a message: gRPC refuses to send what is not UTF-8.
func valid(text string) string { return strings.ToValidUTF8(text, "\uFFFD") }
