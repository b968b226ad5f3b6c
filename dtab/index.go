package dtab

import "slices"

// Index finds the entries of a table that match a path without trying all of them. It is made once for a table and not
// changed, so it may be used from any goroutine; the table must not be changed either.
//
// It is a trie over the elements of the prefixes. Entries with the same prefix end at the same node and are chained from
// the last to the first.
type Index struct {
	table  Dtab
	edges  map[edge]int32
	nodes  []indexNode // the first is the root
	before []int32     // for each entry: the entry before it with the same prefix, or none
}

// edge leads from a node to the one below it that stands for a label.
type edge struct {
	from  int32
	label string
}

type indexNode struct {
	wild int32 // the node below that stands for any one element, or none
	last int32 // the last entry whose prefix ends here, or none
}

const none = -1

// NewIndex makes the index of d, in time and memory linear in its size.
func NewIndex(d Dtab) *Index {
	x := &Index{
		table:  d,
		edges:  make(map[edge]int32, len(d)),
		nodes:  []indexNode{{wild: none, last: none}},
		before: make([]int32, len(d)),
	}
	for i, e := range d {
		at := &x.nodes[x.reach(e.Prefix)].last
		x.before[i], *at = *at, int32(i)
	}
	return x
}

// reach returns the node of a prefix, which it makes if there is none.
func (x *Index) reach(p Prefix) int32 {
	at := int32(0)
	for _, e := range p {
		var next int32
		var ok bool
		if e.Wild {
			next, ok = x.nodes[at].wild, x.nodes[at].wild != none
		} else {
			next, ok = x.edges[edge{at, e.Label}]
		}
		if !ok {
			next = int32(len(x.nodes))
			x.nodes = append(x.nodes, indexNode{wild: none, last: none})
			if e.Wild {
				x.nodes[at].wild = next
			} else {
				x.edges[edge{at, e.Label}] = next
			}
		}
		at = next
	}
	return at
}

// Dtab returns the table.
func (x *Index) Dtab() Dtab { return x.table }

// Match returns the indexes of the entries whose prefix matches path, the last entry first, and how many nodes it has
// looked at for that, which is what its time depends on: few, unless a table has wildcards beside labels at many places.
func (x *Index) Match(path Path) (entries []int, visited int) {
	if len(x.table) == 0 {
		return nil, 1
	}
	lists := 0
	var visit func(at int32, rest Path)
	visit = func(at int32, rest Path) {
		for {
			visited++
			n := x.nodes[at]
			if n.last != none {
				lists++
			}
			for i := n.last; i != none; i = x.before[i] {
				entries = append(entries, int(i))
			}
			if len(rest) == 0 {
				return
			}
			next, ok := x.edges[edge{at, rest[0]}]
			rest = rest[1:]
			switch { // calls itself only where the ways part: prefixes may be very long
			case ok && n.wild != none:
				visit(n.wild, rest)
				at = next
			case ok:
				at = next
			case n.wild != none:
				at = n.wild
			default:
				return
			}
		}
	}
	visit(0, path)
	if lists > 1 {
		slices.SortFunc(entries, func(a, b int) int { return b - a })
	}
	return entries, visited
}

// Lookup is the Lookup of the table.
func (x *Index) Lookup(path Path) Tree[Path] {
	entries, _ := x.Match(path)
	found := make([]Branch[Path], len(entries))
	for i, n := range entries {
		found[i].Tree = x.table[n].below(path)
	}
	return collapse(Alt, found)
}
