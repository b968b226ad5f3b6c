package namer

import (
	"argosy/dtab"
)

// Clusters returns the leaves of a bound tree in its order, and its $ branches as clusters without ID or endpoints, each
// with its share of all connections: the product of the weights on the way to it, normalised at every union. Where all
// weights of a union are zero, its branches share evenly. A $ of weight zero is left out. What is nothing as a whole has
// no clusters.
func Clusters(t dtab.Tree[Bound]) []Cluster { return clusters(nil, t, 1) }

func clusters(to []Cluster, t dtab.Tree[Bound], share float64) []Cluster {
	switch t.Kind {
	case dtab.Leaf:
		return append(to, Cluster{ID: t.Leaf.ID, Residual: t.Leaf.Residual, Share: share, Addr: t.Leaf.Addr})
	case dtab.Empty:
		return append(to, Cluster{Share: share, Addr: Addr{Status: OK}})
	case dtab.Alt: // the interpreter leaves none; its first child is what it would be
		if len(t.Branches) > 0 {
			return clusters(to, t.Branches[0].Tree, share)
		}
	case dtab.Union:
		branches, heaviest := counted(t.Branches)
		total := 0.0
		for _, b := range branches {
			total += relative(b.Weight, heaviest)
		}
		for _, b := range branches {
			to = clusters(to, b.Tree, share*relative(b.Weight, heaviest)/total)
		}
	}
	return to
}

// counted returns the branches that take part, and the heaviest weight among them.
func counted(all []dtab.Branch[Bound]) (branches []dtab.Branch[Bound], heaviest float64) {
	for _, b := range all {
		if b.Weight > 0 || b.Tree.Kind != dtab.Empty {
			branches = append(branches, b)
			heaviest = max(heaviest, b.Weight)
		}
	}
	if len(branches) == 0 {
		return all, 0
	}
	return branches, heaviest
}

// relative is a weight in terms of the heaviest, so that sums of huge and tiny ones stay numbers.
func relative(weight, heaviest float64) float64 {
	if heaviest == 0 {
		return 1
	}
	return weight / heaviest
}
