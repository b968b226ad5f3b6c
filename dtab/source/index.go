package source

import (
	"slices"

	"argosy/dtab"
)

// index finds entries by their prefixes: a tree with a level for each element.
type index struct {
	next    map[string]*index
	wild    *index
	entries []int // whose prefixes end here
}

func newIndex(table dtab.Dtab) *index {
	root := &index{}
	for i, e := range table {
		at := root
		for _, elem := range e.Prefix {
			at = at.down(elem)
		}
		at.entries = append(at.entries, i)
	}
	return root
}

// down is the node below for an element, made if there is none.
func (x *index) down(e dtab.Elem) *index {
	if e.Wild {
		if x.wild == nil {
			x.wild = &index{}
		}
		return x.wild
	}
	if x.next == nil {
		x.next = map[string]*index{}
	}
	if x.next[e.Label] == nil {
		x.next[e.Label] = &index{}
	}
	return x.next[e.Label]
}

// covering are the entries, in their order, that match every name that p matches.
func (x *index) covering(p dtab.Prefix) []int {
	level := []*index{x}
	all := slices.Clone(x.entries)
	for _, e := range p {
		var below []*index
		for _, at := range level {
			if at.wild != nil {
				below = append(below, at.wild)
			}
			if n := at.next[e.Label]; n != nil && !e.Wild {
				below = append(below, n)
			}
		}
		for _, at := range below {
			all = append(all, at.entries...)
		}
		level = below
	}
	slices.Sort(all)
	return all
}

// matching are the entries, in their order, that match a name.
func (x *index) matching(name dtab.Path) []int { return x.covering(literal(name)) }

func literal(name dtab.Path) dtab.Prefix {
	p := make(dtab.Prefix, len(name))
	for i, label := range name {
		p[i].Label = label
	}
	return p
}

// mayMatch reports whether an entry matches a name that starts with path.
func (x *index) mayMatch(path dtab.Path) bool {
	if len(x.entries) > 0 || len(path) == 0 {
		return len(x.entries) > 0 || x.wild != nil || len(x.next) > 0
	}
	n := x.next[path[0]]
	return n != nil && n.mayMatch(path[1:]) || x.wild != nil && x.wild.mayMatch(path[1:])
}
