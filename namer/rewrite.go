package namer

import (
	"slices"
	"sync/atomic"
	"unicode/utf8"

	"argosy/dtab"
)

// Rewrite is the use of an entry of the table on the way from a name to what it is bound to. It is not changed.
type Rewrite struct {
	Entry  int // index into the stored table, and behind it the interpreter's own entries
	Dentry *dtab.Dentry
	Before *Rewrite // the one before, or nil

	text atomic.Pointer[string]
}

// All returns the rewrites up to r, in their order.
func (r *Rewrite) All() []*Rewrite {
	var all []*Rewrite
	for ; r != nil; r = r.Before {
		all = append(all, r)
	}
	slices.Reverse(all)
	return all
}

// longestText is how many bytes of an entry Text gives: entries may be large, and its number tells which one it is.
const longestText = 200

// Text is the entry as in a Dtab, or the beginning of it. It may be asked for often, and from any goroutine.
func (r *Rewrite) Text() string {
	if t := r.text.Load(); t != nil {
		return *t
	}
	text := r.Dentry.String()
	if end := longestText; len(text) > end {
		for end > 0 && !utf8.RuneStart(text[end]) {
			end--
		}
		text = text[:end] + "..."
	}
	r.text.Store(&text)
	return text
}

// credit notes in clusters which entries have led to the leaves of the tree that they were made of.
func credit(clusters []Cluster, t dtab.Tree[found]) {
	next := 0
	dtab.Map(t, func(f found) struct{} {
		for next < len(clusters) && len(clusters[next].ID) == 0 { // a $
			next++
		}
		if next < len(clusters) && clusters[next].ID.Equal(f.ID) {
			clusters[next].By = f.by
			next++
		}
		return struct{}{}
	})
}

// sameRewrites reports whether two bindings came about in the same way. Entries that are alike are told apart by their
// number.
func sameRewrites(a, b []Cluster) bool {
	return slices.EqualFunc(a, b, func(x, y Cluster) bool {
		m, n := x.By, y.By
		for ; m != nil && n != nil && m != n; m, n = m.Before, n.Before {
			if m.Entry != n.Entry || !m.Dentry.Equal(*n.Dentry) {
				return false
			}
		}
		return m == n
	})
}
