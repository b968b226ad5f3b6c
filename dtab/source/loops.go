package source

import (
	"fmt"
	"slices"
	"strings"

	"argosy/dtab"
)

// Limits of the search for loops. The first is how many rewrites binding allows on the way to a name.
const (
	maxRewrites = 100
	maxNames    = 10_000 // beside those of the entries themselves
)

// anything stands for what a name may have where a prefix says nothing. No table has it.
const anything = "-anything-"

// search goes all the ways that names can go through the table.
type search struct {
	*checker
	done  map[string]bool // names from where there is no loop
	limit int             // of names
	chain []step
	told  map[int]bool // entries with a loop that was reported
	names int
}

// step is a name and the entry that rewrites it.
type step struct {
	name  string
	entry int
}

// loops finds names that are rewritten for ever: in a circle, or growing. It takes every alternative, for which one is
// tried depends on the namers.
func (c *checker) loops() {
	s := &search{checker: c, done: map[string]bool{}, told: map[int]bool{}, limit: maxNames + 2*len(c.Table)}
	for _, e := range c.Table {
		name := make(dtab.Path, 0, len(e.Prefix)+1)
		for _, elem := range e.Prefix {
			if elem.Wild {
				elem.Label = anything
			}
			name = append(name, elem.Label)
		}
		s.from(name)
		s.from(append(name, anything))
		if s.names > s.limit {
			return
		}
	}
}

// from follows a name. It reports whether a loop was found.
func (s *search) from(name dtab.Path) bool {
	key := name.String()
	if s.done[key] || s.names > s.limit {
		return false
	}
	if s.names++; s.names > s.limit {
		s.add(0, RuleLoop, false, "", "the table multiplies names: more than %d come out of its prefixes", s.limit)
		return true
	}
	if i := slices.IndexFunc(s.chain, func(x step) bool { return x.name == key }); i >= 0 {
		s.loop(s.chain[i:], false)
		return true
	}
	if len(s.chain) >= maxRewrites {
		s.loop(s.chain, true)
		return true
	}
	looped := false
	for _, i := range slices.Backward(s.index.matching(name)) {
		e := s.Table[i]
		s.chain = append(s.chain, step{key, i})
		dtab.Map(e.Dst, func(leaf dtab.Path) struct{} {
			looped = looped || s.from(leaf.Concat(name[len(e.Prefix):])) // one is enough: there are many ways to it
			return struct{}{}
		})
		s.chain = s.chain[:len(s.chain)-1]
	}
	if !looped {
		s.done[key] = true
	}
	return looped
}

// loop reports a circle at its last entry, once for each entry that begins one.
func (s *search) loop(circle []step, grows bool) {
	if grows {
		circle = circle[len(circle)-1:]
	}
	if slices.ContainsFunc(circle, func(x step) bool { return s.told[x.entry] }) {
		return
	}
	var lines []string
	for _, x := range circle {
		s.told[x.entry] = true
		if at := s.at(x.entry); !slices.Contains(lines, at) {
			lines = append(lines, at)
		}
	}
	entry := circle[0].entry
	prefix := s.Table[entry].Prefix
	if grows {
		s.add(entry, RuleLoop, false, "lead it to a name that the entry does not match itself",
			"names below %s are rewritten for ever, longer each time", prefix)
		return
	}
	text := fmt.Sprintf("names below %s come back to themselves", prefix)
	if len(lines) > 1 {
		text += ", by way of " + strings.Join(lines[1:], ", ")
	}
	s.add(entry, RuleLoop, false, "names in a circle cannot be bound", "%s", text)
}
