package shift

import (
	"errors"
	"fmt"
	"math"
	"slices"

	"argosy/dtab"
)

// Split is a name in a table on its way from what it stands for to another name. It is a value that is not changed.
type Split struct {
	Name, To dtab.Path
	Old      dtab.Tree[dtab.Path] // what the name stands for without To
	Percent  int                  // of the connections that go to To in the table that was found
	Resumed  bool                 // the table was left on the way by a shift

	found  dtab.Dtab
	entry  int  // that the shift writes, as an index into found
	insert bool // there is none yet: it is to be put before that index
}

// Find looks for the name in a table. The entry that is written is the name's own, where it stands; where there is none,
// or where another entry goes before it, it is put behind the last entry that matches, so that all others keep their
// places. What the name then stands for is written out, because to name it would lead back to itself.
func Find(table dtab.Dtab, name, to dtab.Path) (*Split, error) {
	switch {
	case len(name) == 0:
		return nil, errors.New("the root stands for every name: shift one name")
	case to.Equal(name):
		return nil, fmt.Errorf("%s is to be shifted to itself", name)
	case to.HasPrefix(name):
		return nil, fmt.Errorf("%s lies below %s, so the entry would match it again and lead on and on", to, name)
	}
	s := &Split{Name: name, To: to, found: table}
	var matching []int
	own := -1
	for i, e := range table {
		if e.Prefix.Matches(name) {
			matching = append(matching, i)
			if isOwn(e.Prefix, name) {
				own = i
			}
		}
	}
	if len(matching) == 0 {
		return nil, fmt.Errorf("no entry of the table matches %s: there is nothing to shift from", name)
	}
	last := matching[len(matching)-1]
	if own == last {
		s.entry = own
		s.take(table[own].Dst)
	} else {
		s.entry, s.insert, s.Old = last+1, true, table.Lookup(name).Simplified()
		if err := s.between(matching); err != nil {
			return nil, err
		}
	}
	if s.Old.Kind == dtab.Neg && !s.Done() { // its own entry says ~, and others decide
		s.Old = table.Lookup(name).Simplified()
	}
	switch s.Old.Kind {
	case dtab.Fail, dtab.Empty, dtab.Neg:
		if !s.Done() {
			return nil, fmt.Errorf("%s stands for %s now: there is nothing to shift from", name, dtab.TreeString(s.Old))
		}
	}
	return s, s.leadsBack()
}

func isOwn(p dtab.Prefix, name dtab.Path) bool {
	return len(p) == len(name) && !slices.ContainsFunc(p, func(e dtab.Elem) bool { return e.Wild })
}

// take reads the destination of the name's own entry. A union that has To in it is a shift on its way.
func (s *Split) take(dst dtab.Tree[dtab.Path]) {
	isTo := func(b dtab.Branch[dtab.Path]) bool { return b.Tree.Kind == dtab.Leaf && b.Tree.Leaf.Equal(s.To) }
	switch {
	case isTo(dtab.Branch[dtab.Path]{Tree: dst}):
		s.Percent = 100
	case dst.Kind == dtab.Union && slices.ContainsFunc(dst.Branches, isTo):
		total, part := 0.0, 0.0
		var others []dtab.Branch[dtab.Path]
		for _, b := range dst.Branches {
			total += b.Weight
			if isTo(b) {
				part += b.Weight
			} else {
				others = append(others, b)
			}
		}
		if total > 0 {
			s.Percent = int(math.Round(100 * part / total))
		}
		switch len(others) {
		case 0:
			s.Percent = 100
		case 1:
			s.Old = others[0].Tree
		default:
			s.Old = dtab.Tree[dtab.Path]{Kind: dtab.Union, Branches: others}
		}
		s.Resumed = len(dst.Branches) == 2 && len(others) == 1 && isTo(dst.Branches[1]) && math.Abs(total-1) < 1e-9
	default:
		s.Old = dst
	}
}

// between refuses tables in which an entry for names below stands between those that match: the new entry would go
// before it for these names, where it has gone before some of them.
func (s *Split) between(matching []int) error {
	first, last := matching[0], matching[len(matching)-1]
	for i, e := range s.found {
		if i > first && i < last && len(e.Prefix) > len(s.Name) && e.Prefix[:len(s.Name)].Matches(s.Name) {
			return fmt.Errorf("entry %d, %s, is for names below %s and could not keep its place: give %s an entry of its own first",
				i+1, e.Prefix, s.Name, s.Name)
		}
	}
	return nil
}

// mostVisited bounds the search for a way back.
const mostVisited = 10_000

// leadsBack refuses a To that the table leads to the name again: it would go round and round.
func (s *Split) leadsBack() error {
	final := s.At(100)
	seen := map[string]bool{}
	ahead := []dtab.Path{s.To}
	for len(ahead) > 0 && len(seen) < mostVisited {
		path := ahead[len(ahead)-1]
		ahead = ahead[:len(ahead)-1]
		if seen[path.String()] {
			continue
		}
		seen[path.String()] = true
		if path.HasPrefix(s.Name) {
			return fmt.Errorf("%s leads back to %s in this table, so that the name would go round and round", s.To, s.Name)
		}
		if len(path) > 100 { // it grows with every step
			return fmt.Errorf("%s leads on and on in this table", s.To)
		}
		dtab.Map(final.Lookup(path), func(p dtab.Path) struct{} {
			ahead = append(ahead, p)
			return struct{}{}
		})
	}
	return nil
}

// Done reports whether all connections went to To in the table that was found.
func (s *Split) Done() bool { return s.Percent == 100 && !s.insert }

// At is the table with so many of a hundred connections going to To, from 1 to 100. Weights have two decimals, which all
// stores keep.
func (s *Split) At(percent int) dtab.Dtab {
	dst := dtab.LeafOf(s.To)
	if percent < 100 {
		dst = dtab.Tree[dtab.Path]{Kind: dtab.Union, Branches: []dtab.Branch[dtab.Path]{
			{Weight: float64(100-percent) / 100, Tree: s.Old}, {Weight: float64(percent) / 100, Tree: dst},
		}}
	}
	return s.with(dst)
}

// with is the table with another destination of the name.
func (s *Split) with(dst dtab.Tree[dtab.Path]) dtab.Dtab {
	prefix := make(dtab.Prefix, len(s.Name))
	for i, label := range s.Name {
		prefix[i].Label = label
	}
	entry := dtab.Dentry{Prefix: prefix, Dst: dst}
	table := slices.Clone(s.found)
	if s.insert {
		return slices.Insert(table, s.entry, entry)
	}
	table[s.entry] = entry
	return table
}

// Before is the table to go back to: the one that was found, or, if that was left on the way, the one without To. An
// entry that then says no more than the others is taken out, as the shift has put it in.
func (s *Split) Before() dtab.Dtab {
	if !s.Resumed {
		return s.found
	}
	without := slices.Delete(slices.Clone(s.found), s.entry, s.entry+1)
	if dtab.EqualTrees(without.Lookup(s.Name).Simplified(), s.Old, dtab.Path.Equal) {
		return without
	}
	return s.with(s.Old)
}
