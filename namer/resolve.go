package namer

import (
	"errors"
	"slices"

	"argosy/dtab"
)

// Resolve is the flat answer of a bound tree, weights ignored: all endpoints of the leaves it comes to. If none of these
// has any, they must agree on being Neg or Failed; whatever else is Pending. A tree that comes to nothing is Neg.
func Resolve(t dtab.Tree[Bound]) Addr {
	leaves, ok := t.Eval()
	if !ok {
		return Addr{Status: Neg}
	}
	var distinct []Bound
	for _, l := range leaves {
		if !slices.ContainsFunc(distinct, func(d Bound) bool { return d.ID.Equal(l.ID) }) {
			distinct = append(distinct, l)
		}
	}
	if len(distinct) == 1 {
		return distinct[0].Addr
	}
	return merge(distinct)
}

func merge(leaves []Bound) Addr {
	all := Addr{Status: OK}
	known, count := len(leaves) == 0, make(map[Status]int)
	var errs []error
	for _, l := range leaves {
		count[l.Addr.Status]++
		switch l.Addr.Status {
		case OK:
			known = true
			all.Endpoints = append(all.Endpoints, l.Addr.Endpoints...)
			all.Stale = all.Stale || l.Addr.Stale
		case Failed:
			errs = append(errs, l.Addr.Err)
		}
	}
	switch {
	case known:
		all.Endpoints = SortEndpoints(all.Endpoints)
		return all
	case count[Neg] == len(leaves):
		return Addr{Status: Neg}
	case count[Failed] == len(leaves):
		return Addr{Status: Failed, Err: errors.Join(errs...)}
	}
	return Addr{Status: Pending}
}
