package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"argosy/bench/conform/suite"
)

func printJSON(to io.Writer, columns []column) error {
	e := json.NewEncoder(to)
	e.SetIndent("", "  ")
	return e.Encode(columns)
}

// failures counts the cases that failed; oursOnly leaves the peers out.
func failures(columns []column, oursOnly bool) int {
	n := 0
	for _, c := range columns {
		if oursOnly && !strings.HasPrefix(c.Proxy, "argosy") {
			continue
		}
		n += count(c, suite.Fail)
	}
	return n
}

func count(c column, s suite.Status) int {
	n := 0
	for _, r := range c.Results {
		if r.Status == s {
			n++
		}
	}
	return n
}

func printSummary(to io.Writer, columns []column) {
	w := tabwriter.NewWriter(to, 0, 0, 2, ' ', 0)
	fmt.Fprint(w, "\nproxy\tvariant\tpass\tfail\tn.a.\n")
	for _, c := range columns {
		fmt.Fprintf(w, "%s\t%s\t%d\t%d\t%d\n", c.Proxy, c.Variant, count(c, suite.Pass), count(c, suite.Fail), count(c, suite.None))
	}
	w.Flush()
}

const pageHead = `# How TCP is treated

Written by ` + "`make conform`" + ` from a run; do not edit. Its command, ` + "`bench/conform`" + `, can be pointed at any proxy: ` + "`conform -target HOST:PORT -backend HOST:PORT`" + `; ` + "`conform -h`" + ` shows how.

The suite is the client of the proxy and the server behind it, so that it sees whether what is done to one end of a connection arrives at the other. Every byte is compared with what was sent.
A reset must arrive as a reset; under TLS an end without close_notify will do, since it can be told from an orderly end. All proxies run on loopback, with 2 s to connect, one attempt, no idle timeout,
and half-closes switched on where there is a setting; ` + "`bench/conform/peers.go`" + ` has their configurations. The exit code of ` + "`make conform`" + ` says whether argosy has passed all.
`

// writePage writes the tables.
func writePage(path string, columns []column, c suite.Config) error {
	var b strings.Builder
	b.WriteString(pageHead)
	fmt.Fprintf(&b, "\nRun of %s: %d MiB each way in the bulk case, %d connections at once, pauses of %v. ",
		time.Now().UTC().Format("2006-01-02"), c.Bulk>>20, c.Many, c.Patience)
	b.WriteString("`argosy` is the event loop, `argosy-goroutines` the same with `engine = \"goroutines\"`. ")
	b.WriteString("`consul` is a pair of `consul connect proxy`, which speak TLS with certificates on both sides between them.\n\n")
	var told []string
	for _, col := range columns {
		if !strings.HasPrefix(col.Proxy, "argosy") && !slices.Contains(told, col.Proxy) {
			told = append(told, col.Proxy)
			fmt.Fprintf(&b, "- %s: %s\n", col.Proxy, col.Version)
		}
	}
	for _, v := range variants() {
		var of []column
		for _, col := range columns {
			if col.Variant == v.name {
				of = append(of, col)
			}
		}
		if len(of) > 0 {
			writeTable(&b, v, of)
		}
	}
	return os.WriteFile(path, []byte(b.String()), 0o644)
}

// writeTable writes the table of one variant, with its footnotes. All columns have the same cases.
func writeTable(b *strings.Builder, v variant, columns []column) {
	fmt.Fprintf(b, "\n## %s%s\n\n| case | what must hold |", strings.ToUpper(v.name[:1]), v.name[1:])
	for _, c := range columns {
		fmt.Fprintf(b, " %s |", c.Proxy)
	}
	b.WriteString("\n|---|---|" + strings.Repeat("---|", len(columns)) + "\n")
	var notes []string
	for i, r := range columns[0].Results {
		if !slices.ContainsFunc(columns, func(c column) bool { return c.Results[i].Status != suite.None }) {
			continue
		}
		fmt.Fprintf(b, "| `%s` | %s |", r.Case, r.Title)
		for _, c := range columns {
			b.WriteString(" " + cell(c.Results[i], &notes) + " |")
		}
		b.WriteString("\n")
	}
	if len(notes) > 0 {
		b.WriteString("\n")
	}
	for i, n := range notes {
		fmt.Fprintf(b, "%d. %s.\n", i+1, strings.ToUpper(n[:1])+n[1:])
	}
}

// cell is a status with the number of its footnote. Those who behave alike share one.
func cell(r suite.Result, notes *[]string) string {
	text := string(r.Status)
	if r.Status == suite.Fail {
		text = "**fail**"
	}
	if r.Note == "" {
		return text
	}
	i := slices.Index(*notes, r.Note)
	if i < 0 {
		*notes = append(*notes, r.Note)
		i = len(*notes) - 1
	}
	return fmt.Sprintf("%s (%d)", text, i+1)
}
