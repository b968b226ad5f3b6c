package remote

import (
	"argosy/dtab"
	"argosy/namer"
	"argosy/namerd/wire"
)

// takeTree reads a document of a bind stream.
func takeTree(document []byte, _ state[answer]) (answer, error) {
	tree, err := wire.DecodeTree(document)
	if err != nil {
		return answer{}, &saidError{"namerd: " + err.Error()}
	}
	leaves := map[string]bool{}
	dtab.Map(tree, func(leaf namer.Bound) struct{} {
		leaves[leaf.ID.String()] = true
		return struct{}{}
	})
	if len(leaves) > maxLeaves {
		return answer{}, said("namerd: a bound tree has more than %d leaves", maxLeaves)
	}
	return answer{tree: tree.Simplified()}, nil
}

// takeAddr reads an address set. One that is pending or failed says nothing about where to connect, so that the last
// good one stays.
func takeAddr(document []byte, old state[namer.Addr]) (namer.Addr, error) {
	addr, err := wire.DecodeAddr(document)
	if err != nil {
		return namer.Addr{}, &saidError{"namerd: " + err.Error()}
	}
	unknown := addr.Status == namer.Pending || addr.Status == namer.Failed
	if unknown && old.known && old.value.Status == namer.OK {
		addr = old.value
		addr.Stale = true
	}
	return addr, nil
}

// takeResolved reads an address set of resolve, with linkerd-tcp's rules: only a bound set is a good answer, and one
// without addresses is good too. Whatever else it is, the last endpoints stay. The tree is one leaf, the name itself.
func takeResolved(document []byte, name dtab.Path, old state[answer]) (answer, error) {
	addr, err := wire.DecodeAddr(document)
	switch {
	case err != nil:
		return answer{}, &saidError{"namerd: " + err.Error()}
	case addr.Status == namer.OK:
		return answer{tree: dtab.LeafOf(namer.Bound{ID: name, Addr: addr}), flat: true}, nil
	case addr.Status == namer.Neg && !(old.known && hasLeaf(old.value.tree)):
		return answer{flat: true}, nil
	case addr.Status == namer.Neg:
		return answer{}, said("namerd says that the name is nothing")
	case addr.Status == namer.Failed:
		return answer{}, said("namerd: %v", addr.Err)
	}
	return answer{}, errPending
}

// hasLeaf reports whether a tree is worth keeping.
func hasLeaf(t dtab.Tree[namer.Bound]) bool {
	leaves, _ := t.Eval()
	return len(leaves) > 0
}
