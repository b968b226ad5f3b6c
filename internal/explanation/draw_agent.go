package explanation

import (
	"fmt"
	"strings"
	"unicode/utf8"

	"argosy/internal/terminal"
)

// agent draws what an agent does with the name, which may differ from what the tree says.
func (p *picture) agent(b *strings.Builder) {
	a := p.x.Agent
	b.WriteByte('\n')
	if !a.Followed {
		fmt.Fprintf(b, "agent %s does not use this name now: no listener leads to it, and no connection has asked for it lately\n", a.Name)
		return
	}
	fmt.Fprintf(b, "agent %s, %s open\n", p.paint(terminal.Bold, a.Name), terminal.Count(a.Open, "connection"))
	if a.LastGood {
		b.WriteString(p.paint(terminal.Yellow, "  goes on with the last good binding: "+a.Bound) + "\n")
		if a.Error != "" {
			b.WriteString(p.paint(terminal.Yellow, "  because: "+terminal.OneLine(a.Error)) + "\n")
		}
	} else if a.Error != "" {
		b.WriteString(p.paint(terminal.Red, "  "+a.Status+": "+terminal.OneLine(a.Error)) + "\n")
	}
	for _, c := range a.Clusters {
		state := ""
		switch {
		case c.Status == "gone":
			state = p.paint(terminal.Yellow, "  leaving: no new connections")
		case c.Stale:
			state = p.paint(terminal.Yellow, "  stale")
		case c.Status != "ok":
			state = p.paint(terminal.Red, "  "+c.Status)
		}
		fmt.Fprintf(b, "  %6s  %s  %d open%s\n", terminal.Percent(c.Share), c.Cluster, c.Open, state)
		widest := 0
		for _, e := range c.Endpoints {
			widest = max(widest, utf8.RuneCountInString(e.Address))
		}
		for _, e := range c.Endpoints {
			colour := map[string]terminal.Colour{"active": terminal.Green, "ejected": terminal.Red, "probing": terminal.Yellow, "draining": terminal.Yellow}[e.State]
			weight := ""
			if e.Weight != 1 {
				weight = fmt.Sprintf("  weight %g", e.Weight)
			}
			fmt.Fprintf(b, "          %-*s  %s%s  %d open%s\n", widest, e.Address,
				p.paint(colour, e.State), strings.Repeat(" ", max(0, len("draining")-len(e.State))), e.Open, weight)
		}
	}
}

// connection draws a live connection: where it went, and whether a new one could go there too.
func (p *picture) connection(b *strings.Builder) {
	c := p.x.Connection
	fmt.Fprintf(b, "connection %d of listener %s, from %s, %s since %s, %d bytes in, %d out\n", c.ID, c.Listener, c.Client, c.Phase,
		terminal.Age(p.x.At.Sub(c.Opened)), c.In, c.Out)
	if c.Endpoint == "" {
		return
	}
	fmt.Fprintf(b, "it went to %s of %s, at attempt %d\n", c.Endpoint, c.Cluster, c.Attempts)
	for _, u := range c.Dtab {
		fmt.Fprintf(b, "  [%d] %s\n", u.Entry, terminal.OneLine(u.Text))
	}
	if c.Draining {
		b.WriteString(p.paint(terminal.Yellow, "a new one would not go there any more") + "\n")
	}
}
