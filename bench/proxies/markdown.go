package proxies

import (
	"fmt"
	"slices"
	"strings"
)

// Markdown is the report for the documentation. chart is where the page finds its chart.
func (r *Report) Markdown(chart string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "\nThe run: %s; rounds: %d, each measurement %s.\n", r.Machine, r.Rounds, r.Slice)
	names := make([]string, 0, len(r.Versions))
	for name, version := range r.Versions {
		if version != "" {
			names = append(names, fmt.Sprintf("%s: %s", name, version))
		}
	}
	slices.Sort(names)
	if len(names) > 0 {
		b.WriteString("\n- " + strings.Join(names, "\n- ") + "\n")
	}
	fmt.Fprintf(&b, "\n![What the proxies cost, by scenario; shorter bars are better unless a title says otherwise](%s)\n", chart)
	if table := r.aimTable(); table != "" {
		fmt.Fprintf(&b, "\n### Against the aims\n\nRatios are those of the medians; under `rounds` are the smallest and the largest ratio within one round.\n\n%s", table)
	}
	for _, t := range []struct{ suffix, title string }{{"", "Plain TCP"}, {"-tls", "TLS from the client"}, {"-mtls", "mTLS between two proxies"}} {
		titled := false
		for _, result := range r.Results {
			if suffix(result.Name) != t.suffix || len(result.Figures) == 0 {
				continue
			}
			if !titled {
				fmt.Fprintf(&b, "\n### %s\n", t.title)
				titled = true
			}
			b.WriteString(result.table())
		}
	}
	for _, n := range r.Notes {
		fmt.Fprintf(&b, "\n%s.\n", n)
	}
	return b.String()
}

// suffix is the topology in a scenario's name.
func suffix(name string) string {
	if i := strings.LastIndexByte(name, '-'); i >= 0 {
		return name[i:]
	}
	return ""
}

// table has a line for each proxy.
func (r *Result) table() string {
	var b strings.Builder
	fmt.Fprintf(&b, "\n`%s`: %s.\n\n|", r.Name, r.Title)
	for _, f := range r.Figures {
		fmt.Fprintf(&b, " | %s", f.Name)
		if f.Unit != "" {
			fmt.Fprintf(&b, ", %s", f.Unit)
		}
	}
	b.WriteString(" |\n|" + strings.Repeat("---|", len(r.Figures)+1) + "\n")
	for _, name := range r.peerNames() {
		fmt.Fprintf(&b, "| %s", name)
		for _, f := range r.Figures {
			cell := ""
			if v := f.series(name); v != nil {
				cell = span(v)
			}
			fmt.Fprintf(&b, " | %s", cell)
		}
		b.WriteString(" |\n")
	}
	for _, n := range r.Notes {
		line, _, _ := strings.Cut(n, "\n")
		fmt.Fprintf(&b, "\nNot measured: %s.\n", line)
	}
	return b.String()
}
