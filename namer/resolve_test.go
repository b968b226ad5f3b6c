package namer_test

import (
	"errors"
	"slices"

	"argosy/dtab"
	"argosy/namer"
)

// resolve is Finagle's flat answer of a bound tree, weights ignored: all endpoints of the leaves it comes to. If none of
// these has any, they must agree on being Neg or Failed; whatever else is Pending. A tree that comes to nothing is Neg.
// Our connections go to the same endpoints, by weight.
func resolve(t dtab.Tree[namer.Bound]) namer.Addr {
	leaves, ok := t.Eval()
	if !ok {
		return namer.Addr{Status: namer.Neg}
	}
	var distinct []namer.Bound
	for _, l := range leaves {
		if !slices.ContainsFunc(distinct, func(d namer.Bound) bool { return d.ID.Equal(l.ID) }) {
			distinct = append(distinct, l)
		}
	}
	if len(distinct) == 1 {
		return distinct[0].Addr
	}
	return merge(distinct)
}

func merge(leaves []namer.Bound) namer.Addr {
	all := namer.Addr{Status: namer.OK}
	known, count := len(leaves) == 0, make(map[namer.Status]int)
	var errs []error
	for _, l := range leaves {
		count[l.Addr.Status]++
		switch l.Addr.Status {
		case namer.OK:
			known = true
			all.Endpoints = append(all.Endpoints, l.Addr.Endpoints...)
			all.Stale = all.Stale || l.Addr.Stale
		case namer.Failed:
			errs = append(errs, l.Addr.Err)
		}
	}
	switch {
	case known:
		all.Endpoints = namer.SortEndpoints(all.Endpoints)
		return all
	case count[namer.Neg] == len(leaves):
		return namer.Addr{Status: namer.Neg}
	case count[namer.Failed] == len(leaves):
		return namer.Addr{Status: namer.Failed, Err: errors.Join(errs...)}
	}
	return namer.Addr{Status: namer.Pending}
}
