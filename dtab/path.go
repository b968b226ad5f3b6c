// Package dtab is the language of delegation tables: paths, name trees and tables, as Finagle and Linkerd 1 have them.
//
// A table is an ordered list of entries, each a prefix and a tree of paths that names below the prefix stand for:
//
//	d, err := dtab.Parse(`/svc => /#/io.l5d.consul/dc1; /svc/cache => 9 * /svc/redis1 & /svc/redis2`)
//	tree := d.Lookup(dtab.MustParsePath("/svc/cache"))
//	fmt.Println(dtab.TreeString(tree)) // (9.00*/svc/redis1 & /svc/redis2) | ...
//
// The package is pure: it parses, prints, looks up, simplifies and compares. All its types are values; a value that
// others can see must not be changed, and then everything may be used from any goroutine.
package dtab

import (
	"slices"
	"strings"
)

// Path is a name: a list of elements. An element is a non-empty string of any bytes, not only of UTF-8. The empty path
// is the root, "/".
type Path []string

// Elem is one element of a prefix: a label, or the wildcard that stands for any one element.
type Elem struct {
	Wild  bool
	Label string // unless Wild
}

// Prefix is the left side of a table's entry.
type Prefix []Elem

// MustParsePath is ParsePath for paths known to be right; it panics on others.
func MustParsePath(s string) Path {
	p, err := ParsePath(s)
	if err != nil {
		panic("dtab: path: " + err.Error())
	}
	return p
}

// MustParsePrefix is ParsePrefix for prefixes known to be right; it panics on others.
func MustParsePrefix(s string) Prefix {
	p, err := ParsePrefix(s)
	if err != nil {
		panic("dtab: prefix: " + err.Error())
	}
	return p
}

// String prints the path so that ParsePath reads it back.
func (p Path) String() string {
	var b strings.Builder
	p.print(&b)
	return b.String()
}

func (p Path) print(b *strings.Builder) {
	if len(p) == 0 {
		b.WriteByte('/')
	}
	for _, e := range p {
		b.WriteByte('/')
		printLabel(b, e)
	}
}

// Equal reports whether the two paths have the same elements.
func (p Path) Equal(q Path) bool { return slices.Equal(p, q) }

// HasPrefix reports whether p starts with all elements of q.
func (p Path) HasPrefix(q Path) bool { return len(p) >= len(q) && slices.Equal(p[:len(q)], q) }

// Concat returns a new path: the elements of p, then those of the others.
func (p Path) Concat(others ...Path) Path {
	n := len(p)
	for _, o := range others {
		n += len(o)
	}
	all := append(make(Path, 0, n), p...)
	for _, o := range others {
		all = append(all, o...)
	}
	return all
}

// String prints the prefix so that ParsePrefix reads it back.
func (p Prefix) String() string {
	var b strings.Builder
	p.print(&b)
	return b.String()
}

func (p Prefix) print(b *strings.Builder) {
	if len(p) == 0 {
		b.WriteByte('/')
	}
	for _, e := range p {
		b.WriteByte('/')
		if e.Wild {
			b.WriteByte('*')
		} else {
			printLabel(b, e.Label)
		}
	}
}

// Equal reports whether the two prefixes are written the same. A wildcard equals only a wildcard.
func (p Prefix) Equal(q Prefix) bool {
	return slices.EqualFunc(p, q, func(a, b Elem) bool {
		return a.Wild == b.Wild && (a.Wild || a.Label == b.Label)
	})
}

// Matches reports whether path starts with the prefix.
func (p Prefix) Matches(path Path) bool {
	if len(p) > len(path) {
		return false
	}
	for i, e := range p {
		if !e.Wild && e.Label != path[i] {
			return false
		}
	}
	return true
}

// printLabel prints an element as it is, or every byte of it as an escape if one byte needs that.
func printLabel(b *strings.Builder, label string) {
	for i := range len(label) {
		if !labelByte(label[i]) {
			printEscaped(b, label)
			return
		}
	}
	b.WriteString(label)
}

func printEscaped(b *strings.Builder, label string) {
	const hex = "0123456789abcdef"
	for i := range len(label) {
		b.WriteString(`\x`)
		b.WriteByte(hex[label[i]>>4])
		b.WriteByte(hex[label[i]&15])
	}
}

// labelByte reports whether c may stand in an element as it is.
func labelByte(c byte) bool { return labelBytes[c] }

var labelBytes = func() (is [256]bool) {
	for _, c := range []byte("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_:.#$%-") {
		is[c] = true
	}
	return is
}()
