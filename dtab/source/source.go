// Package source looks at tables as people write them: with comments, layout, lines, and weights that mean nothing. The
// value of a table, which dtab.Parse returns, has none of these.
package source

import (
	"strings"
	"unicode/utf8"

	"argosy/dtab"
)

// File is the text of a table that parses.
type File struct {
	text    string
	tokens  []token
	Table   dtab.Dtab
	Entries []Entry // those of Table
}

// Entry is the place of an entry of the table.
type Entry struct {
	Offset int // of its prefix, in bytes
	first  int // token
	last   int // token, before its semicolon
}

// kind of a token. Symbols are kinds of their own.
type kind uint8

const (
	word    kind = iota // a path, a prefix, a number, or one of ~ ! $
	symbol              // => | & * ( ) ;
	comment             // up to the end of its line, without it
)

// token is a piece of the text that is no white space.
type token struct {
	kind   kind
	text   string
	offset int
	breaks int // line ends between the token before and this one
}

// Parse reads a table. Errors are *dtab.SyntaxError.
func Parse(text string) (*File, error) {
	table, err := dtab.Parse(text)
	if err != nil {
		return nil, err
	}
	f := &File{text: text, tokens: scan(text), Table: table}
	first := -1
	for i, t := range f.tokens {
		switch {
		case t.kind == comment:
		case t.text == ";":
			f.entry(first, i)
			first = -1
		case first < 0:
			first = i
		}
	}
	if first >= 0 {
		f.entry(first, len(f.tokens))
	}
	return f, nil
}

// entry adds the entry of the tokens from first to before end, without comments at its end.
func (f *File) entry(first, end int) {
	for end > first && f.tokens[end-1].kind == comment {
		end--
	}
	f.Entries = append(f.Entries, Entry{Offset: f.tokens[first].offset, first: first, last: end - 1})
}

// Position is the line and column, in characters, of an offset; both from 1.
func (f *File) Position(offset int) (line, column int) {
	before := f.text[:offset]
	start := strings.LastIndexByte(before, '\n') + 1
	return strings.Count(before, "\n") + 1, utf8.RuneCountInString(before[start:]) + 1
}

// scan cuts a text that parses into tokens.
func scan(text string) []token {
	var all []token
	breaks := 0
	for i := 0; i < len(text); {
		start := i
		switch c := text[i]; {
		case c == '#':
			if n := strings.IndexByte(text[i:], '\n'); n >= 0 {
				i += n
			} else {
				i = len(text)
			}
			all = append(all, token{comment, strings.TrimRight(text[start:i], " \t\r"), start, breaks})
		case c == '/':
			for i < len(text) && inPath(text[i]) {
				i++
			}
			all = append(all, token{word, text[start:i], start, breaks})
		case c >= '0' && c <= '9' || c == '.':
			for i < len(text) && (text[i] >= '0' && text[i] <= '9' || text[i] == '.') {
				i++
			}
			all = append(all, token{word, text[start:i], start, breaks})
		case c == '~' || c == '!' || c == '$':
			i++
			all = append(all, token{word, text[start:i], start, breaks})
		case c == '=':
			i += len("=>")
			all = append(all, token{symbol, text[start:i], start, breaks})
		case strings.IndexByte("|&*();", c) >= 0:
			i++
			all = append(all, token{symbol, text[start:i], start, breaks})
		default: // white space, which may have several bytes
			if c == '\n' {
				breaks++
			}
			i++
			continue
		}
		breaks = 0
	}
	return all
}

// inPath reports whether a byte goes on with a path or a prefix. Where a * is not an element of a prefix, no path
// stands before it.
func inPath(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || strings.IndexByte(`_:.#$%-\/*`, c) >= 0
}
