package source

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"argosy/dtab"
)

// Finding is something in a table that is likely not meant.
type Finding struct {
	Offset  int // in bytes
	Rule    string
	Note    bool // may well be meant
	Message string
	Hint    string // what to do about it
}

// The rules.
const (
	RuleShadowed  = "shadowed"  // an entry that later ones never let come to its turn
	RuleDuplicate = "duplicate" // two entries of one prefix
	RuleLoop      = "loop"      // names that are rewritten for ever
	RuleWeight    = "weight"    // weights that are lost, or are not what they look like
	RuleNamer     = "namer"     // names of a namer that is not there
	RuleDeadEnd   = "dead-end"  // names that no entry and no namer knows
)

// Options say what is known of where the table is used.
type Options struct {
	Namers []dtab.Path // the prefixes of all namers; without any, every name below /#/ is taken for good
}

// Check finds what is likely not meant in a table, in the order of its text.
func (f *File) Check(o Options) []Finding {
	c := &checker{File: f, options: o, index: newIndex(f.Table)}
	c.weights()
	c.duplicates()
	c.leaves()
	c.loops()
	slices.SortStableFunc(c.found, func(a, b Finding) int { return cmp.Compare(a.Offset, b.Offset) })
	return c.found
}

type checker struct {
	*File
	options Options
	index   *index
	found   []Finding
}

// add reports a finding at an entry.
func (c *checker) add(entry int, rule string, note bool, hint, format string, a ...any) {
	c.addAt(c.Entries[entry].Offset, rule, note, hint, format, a...)
}

func (c *checker) addAt(offset int, rule string, note bool, hint, format string, a ...any) {
	c.found = append(c.found, Finding{Offset: offset, Rule: rule, Note: note, Message: fmt.Sprintf(format, a...), Hint: hint})
}

// at tells where an entry is.
func (c *checker) at(entry int) string {
	line, _ := c.Position(c.Entries[entry].Offset)
	return fmt.Sprintf("line %d", line)
}

// weights looks at the numbers, many of which do not survive being parsed or stored.
func (c *checker) weights() {
	for _, e := range c.Entries {
		// A union is what stands between | and parentheses.
		type union struct {
			weights  []token
			branches int
		}
		open := []union{{branches: 1}}
		end := func() {
			u := &open[len(open)-1]
			if u.branches == 1 {
				for _, w := range u.weights {
					c.addAt(w.offset, RuleWeight, false, "a weight counts beside others, as in 9 * /a & 1 * /b",
						"the weight %s is lost: what it stands before is no part of a union", w.text)
				}
			}
			*u = union{branches: 1}
		}
		for i := e.first + 1; i <= e.last; i++ {
			u := &open[len(open)-1]
			switch t := c.tokens[i]; {
			case t.text == "(":
				open = append(open, union{branches: 1})
			case t.text == ")":
				end()
				open = open[:len(open)-1]
			case t.text == "|":
				end()
			case t.text == "&":
				u.branches++
			case t.kind == word && (t.text[0] == '.' || t.text[0] >= '0' && t.text[0] <= '9'):
				u.weights = append(u.weights, t)
				c.number(t)
			}
		}
		end()
	}
}

// number looks at one weight: stored tables have two decimals.
func (c *checker) number(t token) {
	weight, err := strconv.ParseFloat(t.text, 64)
	if err != nil || weight == 1 {
		return
	}
	stored, _, _ := strings.Cut(dtab.TreeString(dtab.Tree[dtab.Path]{
		Kind: dtab.Union, Branches: []dtab.Branch[dtab.Path]{{Weight: weight}, {Weight: 1}},
	}), "*")
	switch kept, _ := strconv.ParseFloat(stored, 64); {
	case weight == 0:
		c.addAt(t.offset, RuleWeight, true, "", "a branch of weight 0 gets no connections while another has weight")
	case kept != weight:
		c.addAt(t.offset, RuleWeight, false, "multiply all weights of the union by 10 or 100", "the weight %s is stored as %s: tables have two decimals", t.text, stored)
	}
}

// duplicates finds entries that have no effect, or another one than it seems, because of later ones.
func (c *checker) duplicates() {
	for i, e := range c.Table {
		for _, j := range c.index.covering(e.Prefix) {
			if j > i && c.duplicate(i, j) {
				break
			}
		}
	}
}

// duplicate looks at an entry and a later one that matches all names that it matches. It reports whether there was
// something to tell.
func (c *checker) duplicate(i, j int) bool {
	e, later := c.Table[i], c.Table[j]
	switch {
	case e.Equal(later):
		c.add(i, RuleDuplicate, false, "leave it out", "the same entry is at %s again", c.at(j))
	case decided(later.Dst):
		c.add(i, RuleShadowed, false, "leave it out, or move it behind "+c.at(j),
			"no name ever comes to this entry: %s at %s is tried first, and always has an answer", later.Prefix, c.at(j))
	case later.Prefix.Equal(e.Prefix):
		c.add(i, RuleDuplicate, true, fmt.Sprintf("where that is meant, %s => ... | %s says so", e.Prefix, dtab.TreeString(e.Dst)),
			"%s is there again at %s, so that this one is only used where that one comes to nothing", e.Prefix, c.at(j))
	default:
		return false
	}
	return true
}

// decided reports whether a destination has an answer whatever the rest of the table and the namers say.
func decided(t dtab.Tree[dtab.Path]) bool {
	switch t.Kind {
	case dtab.Fail, dtab.Empty:
		return true
	case dtab.Leaf: // /$/nil and /$/fail are the same as $ and !
		return len(t.Leaf) > 1 && t.Leaf[0] == "$" && (t.Leaf[1] == "nil" || t.Leaf[1] == "fail")
	case dtab.Alt:
		return slices.ContainsFunc(t.Branches, func(b dtab.Branch[dtab.Path]) bool { return decided(b.Tree) })
	case dtab.Union: // a $ in it is positive, and nothing else is for sure
		return slices.ContainsFunc(t.Branches, func(b dtab.Branch[dtab.Path]) bool { return b.Tree.Kind == dtab.Empty })
	}
	return false
}

// leaves looks where destinations lead.
func (c *checker) leaves() {
	for i, e := range c.Table {
		dtab.Map(e.Dst, func(leaf dtab.Path) struct{} {
			c.leaf(i, leaf)
			return struct{}{}
		})
	}
}

func (c *checker) leaf(entry int, leaf dtab.Path) {
	if c.index.mayMatch(leaf) {
		return
	}
	namers := len(leaf) > 0 && leaf[0] == "#"
	switch {
	case len(leaf) == 0, leaf[0] == "$":
	case namers && len(c.options.Namers) == 0:
	case slices.ContainsFunc(c.options.Namers, func(p dtab.Path) bool { return leaf.HasPrefix(p) || p.HasPrefix(leaf) }):
	case namers:
		known := make([]string, len(c.options.Namers))
		for i, p := range c.options.Namers {
			known[i] = p.String()
		}
		c.add(entry, RuleNamer, false, "the namers are "+strings.Join(known, ", "), "no namer answers for %s", leaf)
	default:
		c.add(entry, RuleDeadEnd, true, "", "%s is nothing: no entry matches it, and it is no namer's", leaf)
	}
}
