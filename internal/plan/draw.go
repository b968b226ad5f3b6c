package plan

import (
	"fmt"
	"io"
	"strings"

	"argosy/internal/terminal"
)

// mostListed is how many names of one verdict are written for people.
const mostListed = 50

var colours = map[Verdict]terminal.Colour{
	Lost: terminal.Red, Unknown: terminal.Yellow, Moves: terminal.Cyan, Shares: terminal.Cyan, Gained: terminal.Green,
}

// Draw writes for people what a proposal would change, in colour or not, and returns the errors of w.
func Draw(w io.Writer, f *Fleet, colour bool) error {
	paint := func(v Verdict, text string) string {
		if colour {
			return colours[v].Paint(text)
		}
		return text
	}
	var b strings.Builder
	connections := 0
	for _, n := range f.Names {
		connections += n.Connections
	}
	fmt.Fprintf(&b, "%s asked about namespace %s: %s in use, %s open\n", terminal.Count(f.Counted(), "agent"), f.Namespace,
		terminal.Count(len(f.Names), "name"), terminal.Count(connections, "connection"))
	for _, a := range f.Agents {
		switch {
		case a.Error != "":
			fmt.Fprintf(&b, "  not asked: %s: %s\n", a.URL, terminal.OneLine(a.Error))
		case !a.Counted:
			fmt.Fprintf(&b, "  not counted: %s (%s): %s\n", terminal.OneLine(a.Agent), a.URL, terminal.OneLine(a.Why))
		}
	}
	for _, v := range Verdicts() {
		names := f.With(v)
		if v == Same || len(names) == 0 {
			continue
		}
		b.WriteByte('\n')
		for _, n := range names[:min(mostListed, len(names))] {
			n.draw(&b, paint)
		}
		if more := len(names) - mostListed; more > 0 {
			fmt.Fprintf(&b, "%s and %d more names\n", paint(v, fmt.Sprintf("%-7s", v)), more)
		}
	}
	b.WriteByte('\n')
	f.sum(&b, paint)
	_, err := io.WriteString(w, b.String())
	return err
}

func (n Name) draw(b *strings.Builder, paint func(Verdict, string) string) {
	fmt.Fprintf(b, "%s  %s  %s open", paint(n.Verdict, fmt.Sprintf("%-7s", n.Verdict)), n.Name, terminal.Count(n.Connections, "connection"))
	if n.Agents > 1 {
		fmt.Fprintf(b, " on %d agents", n.Agents)
	}
	if n.Touched > 0 {
		fmt.Fprintf(b, ", %d touched", n.Touched)
	}
	b.WriteByte('\n')
	widest := 0
	for _, c := range append(n.Before[:len(n.Before):len(n.Before)], n.After...) {
		widest = max(widest, len(c.ID))
	}
	drawClusters(b, "now ", n.Before, widest, "nothing")
	nothing, why := "nothing", terminal.OneLine(n.Error)
	switch {
	case why != "":
		nothing = why
	case n.Verdict == Unknown:
		nothing = "not known in time"
	}
	drawClusters(b, "then", n.After, widest, nothing)
	if why != "" && len(n.After) > 0 {
		fmt.Fprintf(b, "               %s\n", why)
	}
}

func drawClusters(b *strings.Builder, when string, all []Cluster, widest int, nothing string) {
	if len(all) == 0 {
		fmt.Fprintf(b, "         %s  %s\n", when, nothing)
	}
	for i, c := range all {
		if i > 0 {
			when = "    "
		}
		state := terminal.Count(c.Endpoints, "endpoint")
		switch {
		case c.Status != "ok":
			state = "endpoints " + c.Status
		case c.Endpoints == 0:
			state = "no endpoints"
		}
		fmt.Fprintf(b, "         %s  %6s  %-*s  %s\n", when, terminal.Percent(c.Share), widest, c.ID, state)
	}
}

// sum says in a line or two what it comes to.
func (f *Fleet) sum(b *strings.Builder, paint func(Verdict, string) string) {
	if f.Counted() == 0 {
		fmt.Fprintln(b, paint(Unknown, "nothing is known: no agent that uses this namespace could be asked"))
		return
	}
	var parts []string
	for _, v := range Verdicts() {
		if n := len(f.With(v)); n > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", n, v))
		}
	}
	if len(parts) > 0 {
		fmt.Fprintf(b, "names: %s\n", strings.Join(parts, ", "))
	}
	open, touched := 0, 0
	for _, n := range f.Names {
		touched += n.Touched
	}
	for _, n := range f.With(Lost) {
		open += n.Connections
	}
	fmt.Fprintf(b, "connections: %d touched; those that are open stay open, new ones go elsewhere\n", touched)
	switch lost := len(f.With(Lost)); {
	case lost > 0:
		fmt.Fprintln(b, paint(Lost, fmt.Sprintf("%s would be lost, with %s open now", terminal.Count(lost, "name"), terminal.Count(open, "connection"))))
	case len(f.With(Unknown)) > 0:
		fmt.Fprintln(b, paint(Unknown, "nothing is known to be lost, but not everything is known"))
	default:
		fmt.Fprintln(b, "nothing would be lost")
	}
}
