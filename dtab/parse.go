package dtab

import (
	"fmt"
	"strconv"
	"strings"
	"unicode/utf8"
)

// deepest is how many parentheses may be open at once. No table written for a reason comes near it, and everything
// that walks a tree may then do so by recursion.
const deepest = 1000

// ParsePath reads a path, with white space and comments around it. Errors are *SyntaxError.
func ParsePath(s string) (Path, error) { return parseAll(s, (*parser).path) }

// ParsePrefix reads a prefix, with white space and comments around it. Errors are *SyntaxError.
func ParsePrefix(s string) (Prefix, error) { return parseAll(s, (*parser).prefix) }

// ParseTree reads the destination of a table's entry. Errors are *SyntaxError.
func ParseTree(s string) (Tree[Path], error) { return parseAll(s, (*parser).tree) }

// Parse reads a table. Errors are *SyntaxError.
func Parse(s string) (Dtab, error) { return parseAll(s, (*parser).dtab) }

// parser reads s by recursive descent with one byte of look-ahead. The first error sticks, and from then on every
// method returns without reading further.
type parser struct {
	s    string
	at   int // offset of the next byte
	open int // parentheses around it
	err  *SyntaxError
}

// parseAll reads the whole of s as one production.
func parseAll[T any](s string, production func(*parser) T) (T, error) {
	p := &parser{s: s}
	v := production(p)
	p.skip()
	if p.err == nil && p.at < len(p.s) {
		p.fail("end of input")
	}
	if p.err != nil {
		var none T
		return none, p.err
	}
	return v, nil
}

// end stands for the end of the input where a byte is expected. It is not in UTF-8 and nothing in the language.
const end = 0xFF

// peek returns the next byte, or end when there is none or reading has failed.
func (p *parser) peek() byte {
	if p.err == nil && p.at < len(p.s) {
		return p.s[p.at]
	}
	return end
}

// found describes the next character.
func (p *parser) found() string {
	if p.at >= len(p.s) {
		return "end of input"
	}
	r, _ := utf8.DecodeRuneInString(p.s[p.at:])
	return quoted(r)
}

func quoted(r rune) string { return "'" + string(r) + "'" }

func (p *parser) fail(expected string) { p.failFound(expected, p.found()) }

func (p *parser) failFound(expected, found string) {
	if p.err == nil {
		p.err = &SyntaxError{Expected: expected, Found: found, Input: p.s, Offset: p.at}
	}
}

// take reads c if it is next.
func (p *parser) take(c byte) bool {
	if p.peek() != c {
		return false
	}
	p.at++
	return true
}

// want reads c or fails.
func (p *parser) want(c byte) {
	if !p.take(c) {
		p.fail(quoted(rune(c)))
	}
}

// skip reads white space and comments.
func (p *parser) skip() {
	for p.err == nil && p.at < len(p.s) {
		if p.s[p.at] == '#' {
			n := strings.IndexByte(p.s[p.at:], '\n')
			if n < 0 {
				p.at = len(p.s)
				return
			}
			p.at += n + 1
			continue
		}
		if c := p.s[p.at]; '!' <= c && c < utf8.RuneSelf {
			return
		}
		r, n := utf8.DecodeRuneInString(p.s[p.at:])
		if !isSpace(r) {
			return
		}
		p.at += n
	}
}

// isSpace is Java's Character.isWhitespace, which is what tables have always been read with: it knows the separators of
// ASCII, and not the spaces that do not break.
func isSpace(r rune) bool {
	switch r {
	case 0x20, 0x1680, 0x2028, 0x2029, 0x205F, 0x3000:
		return true
	case 0x2007:
		return false
	}
	return 0x09 <= r && r <= 0x0D || 0x1C <= r && r <= 0x1F || 0x2000 <= r && r <= 0x200A
}

func (p *parser) path() Path {
	p.skip()
	p.want('/')
	if !p.atElement() {
		return Path{}
	}
	path := make(Path, 0, p.elements())
	for {
		path = append(path, p.element())
		if !p.take('/') {
			return path
		}
	}
}

func (p *parser) prefix() Prefix {
	p.skip()
	p.want('/')
	if !p.atElement() && p.peek() != '*' {
		return Prefix{}
	}
	prefix := make(Prefix, 0, p.elements())
	for {
		if p.take('*') {
			prefix = append(prefix, Elem{Wild: true})
		} else {
			prefix = append(prefix, Elem{Label: p.element()})
		}
		if !p.take('/') {
			return prefix
		}
	}
}

// elements is how many elements the path at an element has, or less: it is for making room.
func (p *parser) elements() int {
	n := 1
	for _, c := range []byte(p.s[p.at:min(p.at+256, len(p.s))]) {
		if c == '/' {
			n++
		} else if !labelByte(c) && c != '\\' && c != '*' {
			break
		}
	}
	return n
}

func (p *parser) atElement() bool { return labelByte(p.peek()) || p.peek() == '\\' }

func (p *parser) element() string {
	start := p.at
	for p.err == nil && p.at < len(p.s) && labelByte(p.s[p.at]) {
		p.at++
	}
	if p.peek() != '\\' { // no escape: the label is a part of the text
		if p.at == start {
			p.fail("label char")
		}
		return p.s[start:p.at]
	}
	label := []byte(p.s[start:p.at])
	for {
		switch c := p.peek(); {
		case labelByte(c):
			label = append(label, c)
			p.at++
		case c == '\\':
			p.at++
			p.want('x')
			high := p.hex()
			label = append(label, high<<4|p.hex())
		default:
			return string(label)
		}
	}
}

func (p *parser) hex() byte {
	c := p.peek()
	switch {
	case '0' <= c && c <= '9':
		c -= '0'
	case 'a' <= c && c <= 'f':
		c -= 'a' - 10
	case 'A' <= c && c <= 'F':
		c -= 'A' - 10
	default:
		p.fail("hex char")
		return 0
	}
	p.at++
	return c
}

func (p *parser) tree() Tree[Path] {
	first := p.union()
	if p.peek() != '|' {
		return first // most trees: without a list of one
	}
	branches := []Branch[Path]{{Tree: first}}
	for p.take('|') {
		branches = append(branches, Branch[Path]{Tree: p.union()})
	}
	return Tree[Path]{Kind: Alt, Branches: branches}
}

func (p *parser) union() Tree[Path] {
	first := p.branch()
	p.skip()
	if p.peek() != '&' {
		return first.Tree
	}
	branches := []Branch[Path]{first}
	for p.take('&') {
		branches = append(branches, p.branch())
		p.skip()
	}
	return Tree[Path]{Kind: Union, Branches: branches}
}

func (p *parser) branch() Branch[Path] {
	p.skip()
	weight := 1.0
	if c := p.peek(); digit(c) || c == '.' {
		weight = p.number()
		p.skip()
		p.want('*')
		p.skip()
	}
	return Branch[Path]{Weight: weight, Tree: p.simple()}
}

func digit(c byte) bool { return '0' <= c && c <= '9' }

func (p *parser) number() float64 {
	start, dot := p.at, false
	for digit(p.peek()) || p.peek() == '.' {
		if p.peek() == '.' {
			if dot {
				p.fail("number char")
				return 0
			}
			dot = true
		}
		p.at++
	}
	text := p.s[start:p.at]
	if text == "." {
		p.failFound("weight", "'.'")
		return 0
	}
	w, err := strconv.ParseFloat(text, 64)
	if err != nil { // only a number that no float64 can hold is left
		p.at = start
		p.fail("weight below 1.8e308")
	}
	return w
}

func (p *parser) simple() Tree[Path] {
	switch p.peek() {
	case '(':
		if p.open == deepest {
			p.fail(fmt.Sprintf("no more than %d open parentheses", deepest))
			return Tree[Path]{}
		}
		p.at++
		p.open++
		t := p.tree()
		p.open--
		p.want(')')
		return t
	case '/':
		return LeafOf(p.path())
	case '!':
		p.at++
		return Tree[Path]{Kind: Fail}
	case '~':
		p.at++
		return Tree[Path]{Kind: Neg}
	case '$':
		p.at++
		return Tree[Path]{Kind: Empty}
	}
	p.fail("simple")
	return Tree[Path]{}
}

func (p *parser) dtab() Dtab {
	var d Dtab
	for {
		p.skip()
		if p.err != nil || p.at == len(p.s) {
			return d
		}
		prefix := p.prefix()
		p.skip()
		p.want('=')
		p.want('>')
		d = append(d, Dentry{Prefix: prefix, Dst: p.tree()})
		if !p.take(';') {
			return d
		}
	}
}
