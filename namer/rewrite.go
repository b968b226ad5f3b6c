package namer

import (
	"slices"
	"unicode/utf8"

	"argosy/dtab"
)

// Rewrite is the use of an entry of the table on the way from a name to what it is bound to. It is not changed, and
// holds on to nothing of the table: connections may keep it for as long as they live.
type Rewrite struct {
	Entry  int      // index into the stored table, and behind it the interpreter's own entries
	Text   string   // "/prefix => /path", or the beginning of it
	Before *Rewrite // the one before, or nil
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

func (r *Rewrite) equal(s *Rewrite) bool {
	for ; r != nil && s != nil && r != s; r, s = r.Before, s.Before {
		if r.Entry != s.Entry || r.Text != s.Text {
			return false
		}
	}
	return r == s
}

// sameRewrites reports whether two bindings came about in the same way.
func sameRewrites(a, b []Cluster) bool {
	return slices.EqualFunc(a, b, func(x, y Cluster) bool { return x.By.equal(y.By) })
}

// use is the use of an entry in an evaluation.
type use struct {
	entry  int
	dentry *dtab.Dentry
	before *use
}

// longestText is how many bytes of an entry a Rewrite has: entries may be large, and the number tells which one it is.
const longestText = 200

// rewrites turns uses into what may be kept. It writes each entry once, as long as it stays in use.
type rewrites struct {
	texts map[*dtab.Dentry]string // of the last time
}

// credit notes in clusters which entries have led to the leaves of the tree that they were made of. Where that is as it
// was in the clusters before, it is the same Rewrite.
func (r *rewrites) credit(clusters []Cluster, t dtab.Tree[found], before []Cluster) {
	texts, done := map[*dtab.Dentry]string{}, map[*use]*Rewrite{}
	next := 0
	dtab.Map(t, func(f found) struct{} {
		for next < len(clusters) && len(clusters[next].ID) == 0 { // a $
			next++
		}
		if next < len(clusters) && clusters[next].ID.Equal(f.ID) {
			clusters[next].By = r.keep(f.by, texts, done)
			if next < len(before) && before[next].By.equal(clusters[next].By) {
				clusters[next].By = before[next].By
			}
			next++
		}
		return struct{}{}
	})
	r.texts = texts
}

func (r *rewrites) keep(u *use, texts map[*dtab.Dentry]string, done map[*use]*Rewrite) *Rewrite {
	if u == nil {
		return nil
	}
	if done[u] == nil {
		text, ok := r.texts[u.dentry]
		if !ok {
			text = beginning(u.dentry.Prefix.String() + " => " + dtab.TreeString(u.dentry.Dst))
		}
		texts[u.dentry] = text
		done[u] = &Rewrite{Entry: u.entry, Text: text, Before: r.keep(u.before, texts, done)}
	}
	return done[u]
}

func beginning(text string) string {
	end := longestText
	if len(text) <= end {
		return text
	}
	for end > 0 && !utf8.RuneStart(text[end]) {
		end--
	}
	return text[:end] + "..."
}
