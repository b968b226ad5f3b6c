package namer

import (
	"sync"

	"argosy/dtab"
)

// TableState is what is known of the table that names are bound under. Make that of a known one with Table.
type TableState struct {
	Status Status // Pending, OK or Failed
	Dtab   dtab.Dtab
	Err    error // for Failed; with another status, what is wrong with where the table comes from

	compiled *compiled // nil: to be compiled for each evaluation
}

// compiled is the index of a table, made when it is first needed and then shared by all names.
type compiled struct {
	once  sync.Once
	index *dtab.Index
}

// Table is the state of a known table; err is what is wrong with where it comes from now, or nil. It is compiled once,
// for all names that are ever bound under it; d must not be changed.
func Table(d dtab.Dtab, err error) TableState {
	return TableState{Status: OK, Dtab: d, Err: err, compiled: &compiled{}}
}

// Equal reports whether two states are the same to a reader.
func (s TableState) Equal(t TableState) bool {
	return s.Status == t.Status && errText(s.Err) == errText(t.Err) && s.Dtab.Equal(t.Dtab)
}

func (s TableState) index() *dtab.Index {
	if s.compiled == nil {
		return dtab.NewIndex(s.Dtab)
	}
	s.compiled.once.Do(func() { s.compiled.index = dtab.NewIndex(s.Dtab) })
	return s.compiled.index
}

// layers are a stored table and the entries behind it, which so win over its own.
type layers struct{ stored, local *dtab.Index }

// match returns the indexes of the entries that match, as in all, the last one first, and what finding them has cost.
func (l layers) match(path dtab.Path) (entries []int, cost int) {
	entries, cost = l.local.Match(path)
	for i := range entries {
		entries[i] += len(l.stored.Dtab())
	}
	stored, more := l.stored.Match(path)
	if entries == nil {
		return stored, cost + more
	}
	return append(entries, stored...), cost + more
}

// entry is the one at an index that match has returned.
func (l layers) entry(i int) *dtab.Dentry {
	if n := len(l.stored.Dtab()); i >= n {
		return &l.local.Dtab()[i-n]
	}
	return &l.stored.Dtab()[i]
}

// all is the whole table.
func (l layers) all() dtab.Dtab {
	if len(l.local.Dtab()) == 0 {
		return l.stored.Dtab()
	}
	return l.stored.Dtab().Concat(l.local.Dtab())
}
