package main

import (
	"fmt"
	"slices"
	"strings"

	"argosy/bench/peers/suite"
)

// command is who writes the table.
const command = "make security"

// section is one table of the page.
type section struct {
	kind      suite.Kind
	title     string
	good, bad string // what is said of a case that holds, and of one that does not
}

func sections() []section {
	return []section{
		{suite.Peers, "Who is let in, and who is believed", "safe", "**unsafe**"},
		{suite.Service, "What connections get", "yes", "**no**"},
	}
}

// table is the page's part. It says nothing that would be another after the next run.
func table(cases []suite.Case, columns []column) string {
	var b strings.Builder
	for _, s := range sections() {
		fmt.Fprintf(&b, "\n### %s\n\n| case | what must hold |", s.title)
		for _, c := range columns {
			fmt.Fprintf(&b, " %s |", strings.Replace(c.Proxy, "consul", "`consul connect proxy`", 1))
		}
		b.WriteString("\n|---|---|" + strings.Repeat("---|", len(columns)) + "\n")
		var notes []string
		for i, c := range cases {
			if c.Kind != s.kind {
				continue
			}
			fmt.Fprintf(&b, "| `%s` | %s |", c.Name, c.Title)
			for _, col := range columns {
				b.WriteString(" " + s.cell(col.Results[i], &notes) + " |")
			}
			b.WriteString("\n")
		}
		if len(notes) > 0 {
			b.WriteString("\n")
		}
		for i, n := range notes {
			fmt.Fprintf(&b, "%d. %s.\n", i+1, strings.ToUpper(n[:1])+n[1:])
		}
	}
	return b.String()
}

// cell is a verdict with the number of its footnote. Those of whom the same was seen share one.
func (s section) cell(r suite.Result, notes *[]string) string {
	text := s.good
	if !r.Holds {
		text = s.bad
	}
	says := r.Says()
	if says == "" {
		return text
	}
	if !slices.Contains(*notes, says) {
		*notes = append(*notes, says)
	}
	return fmt.Sprintf("%s (%d)", text, slices.Index(*notes, says)+1)
}
