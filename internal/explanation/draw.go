package explanation

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
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

// The colours of a text.
const (
	plain  = ""
	dim    = "2"
	bold   = "1"
	red    = "31"
	green  = "32"
	yellow = "33"
	cyan   = "36"
)

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
	below  string // the rails of lines that belong to this one
	colour string // of mark
	faint  bool   // not taken
}

func (r row) width() int {
	return utf8.RuneCountInString(r.rails + r.label + r.mark + r.text)
}

func (p *picture) add(r row) {
	r.text = oneLine(r.text)
	p.rowv = append(p.rowv, r)
}

// oneLine takes out what would disturb a terminal: errors may have come from anywhere.
func oneLine(text string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsControl(r) {
			return ' '
		}
		return r
	}, text)
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
		r.mark, r.colour = "✗ ", red
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
		r.mark, r.colour, r.text = "✗ ", red, "!"
	case "empty":
		r.mark, r.colour, r.text = "∅ ", yellow, "$"
		notes = append(notes, "no endpoints, on purpose")
	case "exception":
		r.mark, r.colour = "✗ ", red
		notes = append(notes, "failed"+p.age(s)+": "+s.Error)
	case "waiting":
		r.mark, r.colour = "… ", yellow
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
		return fmt.Sprintf("%-5s ", percent(child.Share))
	case "alt":
		return fmt.Sprintf("%d. ", i+1)
	}
	return ""
}

func (p *picture) leaf(s Step) (mark, colour string, notes []string) {
	b := s.Bound
	mark, colour = "● ", green
	switch n := b.Count; {
	case b.Status == "ok" && n > 0:
		notes = append(notes, count(n, "endpoint")+p.age(s)+": "+p.addresses(b))
	case b.Status == "ok":
		colour = yellow
		notes = append(notes, "no endpoints"+p.age(s))
	case b.Status == "pending":
		mark, colour = "… ", yellow
		notes = append(notes, "endpoints not known yet"+p.age(s))
	case b.Status == "failed":
		mark, colour = "✗ ", red
		notes = append(notes, "endpoints cannot be known"+p.age(s)+": "+b.Error)
	default:
		mark, colour = "✗ ", red
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
	return " since " + Age(p.x.At.Sub(*s.Since))
}

// Age writes how long ago something was, in one unit: <1s, 12s, 3m, 7h, 12d.
func Age(d time.Duration) string {
	switch {
	case d < time.Second: // below 0 where a clock has been set
		return "<1s"
	case d < 2*time.Minute:
		return fmt.Sprintf("%ds", int(d.Seconds()))
	case d < 2*time.Hour:
		return fmt.Sprintf("%dm", int(d.Minutes()))
	case d < 48*time.Hour:
		return fmt.Sprintf("%dh", int(d.Hours()))
	}
	return fmt.Sprintf("%dd", int(d.Hours()/24))
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
			text = clip(text, p.Width-utf8.RuneCountInString(r.rails+r.label+r.mark))
		}
		label := r.label
		if r.faint {
			label, text = p.paint(dim, label), p.paint(dim, text)
		}
		b.WriteString(p.paint(dim, r.rails) + label + p.paint(r.colour, r.mark) + text)
		switch {
		case r.entry == "":
		case beside:
			entry := r.entry
			if p.Width > 0 {
				entry = clip(entry, p.Width-column)
			}
			b.WriteString(strings.Repeat(" ", column-r.width()) + p.paint(cyan, entry))
		default:
			b.WriteString("\n" + p.paint(dim, r.below) + p.paint(cyan, clip(r.entry, p.Width-utf8.RuneCountInString(r.below))))
		}
		b.WriteByte('\n')
	}
}

func (p *picture) header(b *strings.Builder) {
	text := p.paint(bold, p.x.Name)
	if p.x.Namespace != "" {
		text += " in " + p.x.Namespace
	}
	switch {
	case p.x.Total > 0:
		text += ", under " + count(p.x.Total, "entry")
	case p.x.Total == 0:
		text += ", under an empty table"
	}
	b.WriteString(text + "\n")
	if p.x.Trouble != "" {
		b.WriteString(p.paint(yellow, oneLine(p.x.Trouble)) + "\n")
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
		b.WriteString(p.paint(red, oneLine(text)) + "\n")
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
			text = p.paint(green, count(s.Bound.Count, "endpoint"))
		case live:
			text = p.paint(yellow, "no endpoints: its share goes to the others")
		default:
			text = p.paint(red, "no endpoints")
		}
		fmt.Fprintf(b, "%s %6s  %-*s  %s\n", head, percent(shares[id]), widest, id, text)
	}
}

func serves(s Step) bool {
	return s.Bound != nil && s.Bound.Status == "ok" && s.Bound.Count > 0
}

// paint puts a text into a colour.
func (p *picture) paint(colour, text string) string {
	if !p.Colour || colour == plain || text == "" {
		return text
	}
	return "\x1b[" + colour + "m" + text + "\x1b[0m"
}

// clip cuts a text to so many columns.
func clip(text string, width int) string {
	if width < 1 || utf8.RuneCountInString(text) <= width {
		return text
	}
	return string([]rune(text)[:width-1]) + "…"
}

func count(n int, what string) string {
	switch {
	case n == 1:
		return "1 " + what
	case strings.HasSuffix(what, "y"):
		return fmt.Sprintf("%d %sies", n, strings.TrimSuffix(what, "y"))
	}
	return fmt.Sprintf("%d %ss", n, what)
}

// percent writes a share: 90%, 33.3%, <0.1%.
func percent(share float64) string {
	switch v := 100 * share; {
	case v > 0 && v < 0.1:
		return "<0.1%"
	case v > 99.9 && v < 100:
		return ">99.9%"
	default:
		return strings.TrimSuffix(fmt.Sprintf("%.1f", v), ".0") + "%"
	}
}
