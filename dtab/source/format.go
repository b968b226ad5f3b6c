package source

import (
	"strings"
	"unicode/utf8"
)

// Format prints the table with one entry after the other, its arrows in one column. Comments stay where they are, and
// so do blank lines, one at a time, and line ends inside a destination; numbers and paths are not changed. The result
// has the same entries, and formats to itself.
func (f *File) Format() string {
	p := &printer{}
	for _, e := range f.Entries {
		p.width = max(p.width, utf8.RuneCountInString(f.tokens[e.first].text))
	}
	next := 0
	for _, e := range f.Entries {
		p.between(f.tokens[next:e.first])
		p.blank(f.tokens[e.first].breaks)
		p.entry(f.tokens[e.first : e.last+1])
		next = e.last + 1
		for next < len(f.tokens) && f.tokens[next].text != ";" { // comments before the semicolon come behind it
			next++
		}
		p.write(" ;")
		rest := f.tokens[e.last+1 : next]
		next = min(next+1, len(f.tokens))
		if len(rest) == 0 && next < len(f.tokens) && f.tokens[next].kind == comment && f.tokens[next].breaks == 0 {
			rest, next = f.tokens[next:next+1], next+1
		}
		for i, c := range rest {
			if i == 0 && c.breaks == 0 {
				p.write(" " + c.text)
			} else {
				p.line()
				p.write(c.text)
			}
		}
		p.line()
	}
	p.between(f.tokens[next:])
	return p.b.String()
}

type printer struct {
	b     strings.Builder
	width int // of the widest prefix
	fresh bool
}

func (p *printer) write(s string) {
	p.b.WriteString(s)
	p.fresh = false
}

// line ends a line that has something in it.
func (p *printer) line() {
	if !p.fresh && p.b.Len() > 0 {
		p.b.WriteByte('\n')
		p.fresh = true
	}
}

// blank keeps a blank line, except at the start.
func (p *printer) blank(breaks int) {
	if breaks > 1 && p.b.Len() > 0 {
		p.b.WriteByte('\n')
	}
}

// between prints comments that stand outside of entries.
func (p *printer) between(comments []token) {
	for _, c := range comments {
		p.blank(c.breaks)
		p.write(c.text)
		p.line()
	}
}

// entry prints an entry without its semicolon. Line ends in the destination go on below its first tree.
func (p *printer) entry(tokens []token) {
	p.write(tokens[0].text)
	column := utf8.RuneCountInString(tokens[0].text)
	arrow := 1
	for tokens[arrow].kind == comment {
		arrow++
	}
	for _, c := range tokens[1:arrow] {
		p.write(" " + c.text)
		p.line()
		column = 0
	}
	p.write(strings.Repeat(" ", p.width-column) + " =>")
	before := tokens[arrow]
	for _, t := range tokens[arrow+1:] {
		switch {
		case before.kind == comment, t.breaks > 0 && before.text != "=>":
			p.line()
			p.write(strings.Repeat(" ", p.width+len(" => ")))
		case spaced(before, t):
			p.write(" ")
		}
		p.write(t.text)
		before = t
	}
}

// spaced reports whether there is a space between two tokens: not inside of parentheses.
func spaced(before, t token) bool { return before.text != "(" && t.text != ")" }
