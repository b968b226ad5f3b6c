package explanation

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"unicode/utf8"

	"argosy/internal/terminal"
)

// Style says how a picture is drawn.
type Style struct {
	Width     int  // columns of the terminal; 0: no limit
	Colour    bool // with ANSI escapes
	Addresses int  // how many of a leaf's are listed; 0: 3
}

// Draw writes the explanation as a tree for people. The errors are those of w.
func Draw(w io.Writer, x *Explanation, s Style) error {
	if s.Addresses <= 0 {
		s.Addresses = 3
	}
	p := &picture{x: x, Style: s}
	p.node(x.Tree, "", "", "", -1)
	var b strings.Builder
	p.header(&b)
	p.rows(&b)
	p.summary(&b)
	if x.Agent != nil {
		p.agent(&b)
	}
	_, err := io.WriteString(w, b.String())
	return err
}

type picture struct {
	Style
	x    *Explanation
	rowv []row
}

// row is one line of the tree: the rails, a mark, what stands there, and the entry that led there in a second column.
type row struct {
	rails  string
	label  string // what the parent calls it
	mark   string
	text   string
	entry  string
	below  string          // the rails of lines that belong to this one
	colour terminal.Colour // of mark
	faint  bool            // not taken
}

func (r row) width() int {
	return utf8.RuneCountInString(r.rails + r.label + r.mark + r.text)
}

func (p *picture) add(r row) {
	r.text, r.entry = terminal.OneLine(r.text), terminal.OneLine(r.entry)
	p.rowv = append(p.rowv, r)
}

// node draws a step and all below it. label is what its parent calls it, entry the parent's entry.
func (p *picture) node(s Step, rails, below, label string, entry int) {
	r := row{rails: rails, label: label, text: s.Path, faint: !s.Taken}
	if s.Entry != nil && *s.Entry != entry {
		entry = *s.Entry
		r.entry = p.entry(entry)
	}
	var notes []string
	switch s.Kind {
	case "leaf":
		r.mark, r.colour, notes = p.leaf(s)
		if id := s.Bound.ID + strings.TrimSuffix(s.Bound.Residual, "/"); id != s.Path {
			r.text += " is " + id
		}
	case "neg":
		r.mark, r.colour = "✗ ", terminal.Red
		if s.Path == "/" || s.Path == "~" {
			r.text = "~"
		} else {
			note := "nothing" + p.age(s)
			if s.Error != "" { // its source is in trouble
				note += ": " + s.Error
			}
			notes = append(notes, note)
		}
	case "fail":
		r.mark, r.colour, r.text = "✗ ", terminal.Red, "!"
	case "empty":
		r.mark, r.colour, r.text = "∅ ", terminal.Yellow, "$"
		notes = append(notes, "no endpoints, on purpose")
	case "exception":
		r.mark, r.colour = "✗ ", terminal.Red
		notes = append(notes, "failed"+p.age(s)+": "+s.Error)
	case "waiting":
		r.mark, r.colour = "… ", terminal.Yellow
		notes = append(notes, "not known yet"+p.age(s))
		if s.Error != "" {
			notes = append(notes, s.Error)
		}
	case "union":
		r.text += "  by weight"
	case "alt":
		r.text += fmt.Sprintf("  first of %d", len(s.Steps))
	case "transformation":
		r.text += "  transformed"
	}
	if s.Why != "" {
		notes = append(notes, "not taken: "+strings.TrimPrefix(s.Why, "not looked at: "))
	}
	r.below = below + strings.Repeat(" ", 2+utf8.RuneCountInString(label))
	if len(s.Steps) > 0 {
		r.below = below + "│ "
	}
	p.add(r)
	for _, n := range notes {
		p.add(row{rails: r.below, text: n, faint: true})
	}
	for i, c := range s.Steps {
		turn, on := "├─ ", "│  "
		if i == len(s.Steps)-1 {
			turn, on = "└─ ", "   "
		}
		shown := entry
		if i > 0 && c.Entry != nil && s.Steps[i-1].Entry != nil && *c.Entry == *s.Steps[i-1].Entry {
			shown = *c.Entry // as the one before
		}
		p.node(c, below+turn, below+on, labelOf(s, c, i), shown)
	}
}

// labelOf is what a step calls its child: a share, or a place in the order of preference.
func labelOf(s, child Step, i int) string {
	switch s.Kind {
	case "union":
		if !child.Taken {
			return " -    "
		}
		return fmt.Sprintf("%-5s ", terminal.Percent(child.Share))
	case "alt":
		return fmt.Sprintf("%d. ", i+1)
	}
	return ""
}

func (p *picture) leaf(s Step) (mark string, colour terminal.Colour, notes []string) {
	b := s.Bound
	mark, colour = "● ", terminal.Green
	switch n := b.Count; {
	case b.Status == "ok" && n > 0:
		notes = append(notes, terminal.Count(n, "endpoint")+p.age(s)+": "+p.addresses(b))
	case b.Status == "ok":
		colour = terminal.Yellow
		notes = append(notes, "no endpoints"+p.age(s))
	case b.Status == "pending":
		mark, colour = "… ", terminal.Yellow
		notes = append(notes, "endpoints not known yet"+p.age(s))
	case b.Status == "failed":
		mark, colour = "✗ ", terminal.Red
		notes = append(notes, "endpoints cannot be known"+p.age(s)+": "+b.Error)
	default:
		mark, colour = "✗ ", terminal.Red
		notes = append(notes, "no such endpoints"+p.age(s))
	}
	if b.Stale {
		notes = append(notes, "stale: the last that were known, their source is in trouble")
	}
	if !s.Taken {
		mark = "○ "
	}
	return mark, colour, notes
}

// addresses lists the first few.
func (p *picture) addresses(b *Bound) string {
	var list []string
	for _, e := range b.Endpoints[:min(p.Addresses, len(b.Endpoints))] {
		text := e.Address
		if e.Weight != 1 {
			text += fmt.Sprintf(" * %g", e.Weight)
		}
		list = append(list, text)
	}
	if more := b.Count - len(list); more > 0 {
		list = append(list, fmt.Sprintf("and %d more", more))
	}
	return strings.Join(list, ", ")
}

func (p *picture) age(s Step) string {
	if s.Since == nil {
		return ""
	}
	return " since " + terminal.Age(p.x.At.Sub(*s.Since))
}

// entry writes an entry with its place: "[3] /svc => /host", "[-dtab 1] ...".
func (p *picture) entry(i int) string {
	if i < 0 || i >= len(p.x.Entries) {
		return ""
	}
	e := p.x.Entries[i]
	place := fmt.Sprintf("[%d] ", e.Number)
	switch {
	case e.Table == Local:
		place = fmt.Sprintf("[local %d] ", e.Number)
	case e.Table == Request:
		place = fmt.Sprintf("[-dtab %d] ", e.Number)
	case e.Number == 0:
		place = ""
	}
	return place + e.Prefix + " => " + e.Dst
}

// narrowest is the least width that an entry gets beside the tree; where there is less it stands below.
const narrowest = 30

func (p *picture) rows(b *strings.Builder) {
	column := 0
	for _, r := range p.rowv {
		if r.entry != "" {
			column = max(column, r.width())
		}
	}
	column += 3
	beside := p.Width == 0 || p.Width-column >= narrowest
	for _, r := range p.rowv {
		text := r.text
		if p.Width > 0 {
			text = terminal.Clip(text, p.Width-utf8.RuneCountInString(r.rails+r.label+r.mark))
		}
		label := r.label
		if r.faint {
			label, text = p.paint(terminal.Dim, label), p.paint(terminal.Dim, text)
		}
		b.WriteString(p.paint(terminal.Dim, r.rails) + label + p.paint(r.colour, r.mark) + text)
		switch {
		case r.entry == "":
		case beside:
			entry := r.entry
			if p.Width > 0 {
				entry = terminal.Clip(entry, p.Width-column)
			}
			b.WriteString(strings.Repeat(" ", column-r.width()) + p.paint(terminal.Cyan, entry))
		default:
			b.WriteString("\n" + p.paint(terminal.Dim, r.below) + p.paint(terminal.Cyan, terminal.Clip(r.entry, p.Width-utf8.RuneCountInString(r.below))))
		}
		b.WriteByte('\n')
	}
}

func (p *picture) header(b *strings.Builder) {
	text := p.paint(terminal.Bold, p.x.Name)
	if p.x.Namespace != "" {
		text += " in " + p.x.Namespace
	}
	switch {
	case p.x.Total > 0:
		text += ", under " + terminal.Count(p.x.Total, "entry")
	case p.x.Total == 0:
		text += ", under an empty table"
	}
	b.WriteString(text + "\n")
	if p.x.Trouble != "" {
		b.WriteString(p.paint(terminal.Yellow, terminal.OneLine(p.x.Trouble)) + "\n")
	}
	if p.x.Connection != nil {
		p.connection(b)
	}
	b.WriteByte('\n')
}

// summary tells where connections end, with shares. Whoever only wants to know that need not read the tree.
func (p *picture) summary(b *strings.Builder) {
	shares, failed := map[string]float64{}, ""
	leaves := map[string]Step{}
	var order []string
	var walk func(s Step)
	walk = func(s Step) {
		if !s.Taken {
			return
		}
		id := ""
		switch {
		case s.Bound != nil:
			id = s.Bound.ID
		case s.Kind == "empty":
			id = "$"
		case s.Kind == "exception":
			failed = s.Error
		}
		if id != "" {
			if _, known := leaves[id]; !known {
				order = append(order, id)
				leaves[id] = s
			}
			shares[id] += s.Share
		}
		for _, c := range s.Steps {
			walk(c)
		}
	}
	walk(p.x.Tree)
	b.WriteByte('\n')
	if len(order) == 0 {
		text := "goes nowhere: every connection is refused"
		switch {
		case failed != "":
			text = "cannot be bound: " + failed
		case p.x.Waiting:
			text = "not known: connections wait"
		}
		b.WriteString(p.paint(terminal.Red, terminal.OneLine(text)) + "\n")
		return
	}
	widest := 0
	for _, id := range order {
		widest = max(widest, utf8.RuneCountInString(id))
	}
	live := slices.ContainsFunc(order, func(id string) bool { return serves(leaves[id]) })
	for i, id := range order {
		head := "goes to"
		if i > 0 {
			head = "       "
		}
		text := ""
		switch s := leaves[id]; {
		case serves(s):
			text = p.paint(terminal.Green, terminal.Count(s.Bound.Count, "endpoint"))
		case live:
			text = p.paint(terminal.Yellow, "no endpoints: its share goes to the others")
		default:
			text = p.paint(terminal.Red, "no endpoints")
		}
		fmt.Fprintf(b, "%s %6s  %-*s  %s\n", head, terminal.Percent(shares[id]), widest, id, text)
	}
}

func serves(s Step) bool {
	return s.Bound != nil && s.Bound.Status == "ok" && s.Bound.Count > 0
}

// paint puts a text into a colour, where there are any.
func (p *picture) paint(colour terminal.Colour, text string) string {
	if !p.Colour {
		return text
	}
	return colour.Paint(text)
}
