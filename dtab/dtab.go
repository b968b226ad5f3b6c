package dtab

import (
	"slices"
	"strings"
)

// Dentry is one entry of a table: what names below Prefix stand for.
type Dentry struct {
	Prefix Prefix
	Dst    Tree[Path]
}

// Dtab is a table. The order of its entries is their precedence: later ones come first.
type Dtab []Dentry

// String prints the entry so that a table of it can be read back.
func (e Dentry) String() string {
	var b strings.Builder
	e.print(&b)
	return b.String()
}

func (e Dentry) print(b *strings.Builder) {
	e.Prefix.print(b)
	b.WriteString("=>")
	show(b, e.Dst, Path.String)
}

// Equal reports whether the entries have equal prefixes and trees.
func (e Dentry) Equal(f Dentry) bool {
	return e.Prefix.Equal(f.Prefix) && EqualTrees(e.Dst, f.Dst, Path.Equal)
}

// String prints the table in canonical form, on one line. Parse reads an equal table back, but for weights: they have
// two decimals, see WeightsKept.
func (d Dtab) String() string {
	var b strings.Builder
	for i, e := range d {
		if i > 0 {
			b.WriteByte(';')
		}
		e.print(&b)
	}
	return b.String()
}

// Equal reports whether the tables have the same entries in the same order.
func (d Dtab) Equal(e Dtab) bool { return slices.EqualFunc(d, e, Dentry.Equal) }

// Lookup takes one step: it returns the trees of all entries whose prefix matches, the last entry first, as an Alt if
// there are several, with what the prefix does not cover of path appended to their leaves. Neg means that none matches,
// or that the only one says so. It tries all entries; an Index does not.
func (d Dtab) Lookup(path Path) Tree[Path] {
	var found []Branch[Path]
	for _, e := range slices.Backward(d) {
		if e.Prefix.Matches(path) {
			found = append(found, Branch[Path]{Tree: e.below(path)})
		}
	}
	return collapse(Alt, found)
}

// below is what the entry makes of a path that its prefix matches: what the prefix does not cover goes behind the leaves.
func (e Dentry) below(path Path) Tree[Path] {
	rest := path[len(e.Prefix):]
	if len(rest) == 0 {
		return e.Dst
	}
	return Map(e.Dst, func(leaf Path) Path { return leaf.Concat(rest) })
}

// Concat returns a new table: the entries of d, then those of e, which so take precedence.
func (d Dtab) Concat(e Dtab) Dtab { return slices.Concat(d, e) }

// StripPrefix returns d without the entries of p if d starts with all of them, else d.
func (d Dtab) StripPrefix(p Dtab) Dtab {
	if len(d) >= len(p) && d[:len(p)].Equal(p) {
		return d[len(p):]
	}
	return d
}

// Simplified returns the table with every destination simplified, and without the entries that come to Neg.
func (d Dtab) Simplified() Dtab {
	s := make(Dtab, 0, len(d))
	for _, e := range d {
		if t := e.Dst.Simplified(); t.Kind != Neg {
			s = append(s, Dentry{Prefix: e.Prefix, Dst: t})
		}
	}
	return s
}
