package proxies

import (
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
)

// us is the proxy that the aims are for.
const us = "argosy"

// aim is what a figure of ours should be, as a ratio to that of another proxy, or by itself.
type aim struct {
	scenario, figure string
	against          string // a proxy; "" is by itself
	least, most      float64
	added            bool // to that without a proxy
}

// aims are those of this project. Of least and most one is set; a limit of 0 at the top is given as a little more.
func aims() []aim {
	return []aim{
		{scenario: "requests", figure: "requests", against: "haproxy", least: 1.15},
		{scenario: "requests", figure: "CPU per request", against: "haproxy", most: 0.85},
		{scenario: "requests", figure: "requests", against: "nginx", least: 1.15},
		{scenario: "requests", figure: "CPU per request", against: "nginx", most: 0.85},
		{scenario: "pipelined", figure: "requests", against: "haproxy", least: 1.15},
		{scenario: "pipelined", figure: "CPU per request", against: "haproxy", most: 0.85},
		{scenario: "connections", figure: "CPU per connection", against: "haproxy", most: 1},
		{scenario: "bulk", figure: "CPU, 1 stream", against: "haproxy", most: 1},
		{scenario: "bulk", figure: "CPU, 8 streams", against: "haproxy", most: 1},
		{scenario: "latency", figure: "p99", against: "haproxy", most: 1, added: true},
		{scenario: "idle", figure: "memory per connection", most: 0.5},
		{scenario: "idle-tls", figure: "memory per connection", against: "haproxy", most: 0.5},
		{scenario: "idle-mtls", figure: "memory per connection", against: "consul", most: 0.25},
		{scenario: "handshakes-tls", figure: "handshakes", against: "haproxy", least: 1.2},
		{scenario: "x25519-tls", figure: "handshakes", against: "haproxy", least: 1.2},
		{scenario: "requests-tls", figure: "CPU per request", against: "haproxy", most: 0.9},
		{scenario: "bulk-tls", figure: "CPU, 1 stream", against: "haproxy", most: 1},
		{scenario: "bulk-tls", figure: "CPU, 8 streams", against: "haproxy", most: 1},
		{scenario: "requests-mtls", figure: "requests", against: "consul", least: 1.5},
		{scenario: "bulk-mtls", figure: "1 stream", against: "consul", least: 1.5},
		{scenario: "bulk-mtls", figure: "8 streams", against: "consul", least: 1.5},
		{scenario: "process", figure: "memory", most: 15},
		{scenario: "process", figure: "CPU at rest", most: 0.05},
		{scenario: "process", figure: "start to listening", most: 50},
		{scenario: "churn", figure: "growth", most: 5},
		{scenario: "churn", figure: "descriptors left", most: 0.5},
	}
}

// verdict is what became of an aim.
type verdict struct {
	aim
	unit              string // of what is compared with nobody
	low, median, high float64
	reached           bool
}

// judge compares an aim with a report; ok is false where what it needs was not measured. The ratio is that of the
// medians; its spread is that of the rounds, each with its own ratio.
func (r *Report) judge(a aim) (v verdict, ok bool) {
	f := r.figure(a.scenario, a.figure)
	if f == nil {
		return v, false
	}
	ours, theirs, base := f.series(us), f.series(a.against), f.series("direct")
	if ours == nil || a.against != "" && theirs == nil || a.added && base == nil {
		return v, false
	}
	v = verdict{aim: a, unit: f.Unit}
	of := func(ours, theirs, base float64) float64 {
		if a.added {
			ours, theirs = ours-base, theirs-base
		}
		if a.against == "" {
			return ours
		}
		return ours / theirs
	}
	var each []float64
	for i := range ours {
		var t, b float64
		if a.against != "" {
			if i >= len(theirs) {
				break
			}
			t = theirs[i]
		}
		if a.added {
			if i >= len(base) {
				break
			}
			b = base[i]
		}
		each = append(each, of(ours[i], t, b))
	}
	v.low, _, v.high = Spread(each)
	v.median = of(middle(ours), middle(theirs), middle(base))
	if a.added && middle(theirs) <= middle(base) {
		return v, false // less than nothing was added: the machine was too busy to tell
	}
	v.reached = a.least > 0 && v.median >= a.least || a.most > 0 && v.median <= a.most
	return v, true
}

func middle(values []float64) float64 {
	if len(values) == 0 {
		return 0
	}
	_, m, _ := Spread(values)
	return m
}

// what says what is compared.
func (a aim) what() string {
	text := a.scenario + ": " + a.figure
	if a.added {
		text += " added"
	}
	if a.against != "" {
		text += ", ratio to " + a.against
	}
	return text
}

// limit says what should be.
func (a aim) limit() string {
	if a.least > 0 {
		return "at least " + trim(a.least)
	}
	if a.figure == "descriptors left" {
		return "0"
	}
	return "at most " + trim(a.most)
}

func trim(v float64) string { return fmt.Sprintf("%g", v) }

// printAims prints a line for each aim that was measured.
func (r *Report) printAims(to io.Writer) {
	w := tabwriter.NewWriter(to, 0, 0, 2, ' ', 0)
	first := true
	for _, a := range aims() {
		v, ok := r.judge(a)
		if !ok {
			continue
		}
		if first {
			fmt.Fprintln(to, "\naims")
			first = false
		}
		reached := "reached"
		if !v.reached {
			reached = "not reached"
		}
		fmt.Fprintf(w, "  %s\t%s\t%s (%s..%s)\t%s\n", a.what(), a.limit(), Show(v.median), Show(v.low), Show(v.high), reached)
	}
	w.Flush()
}

// aimTable is a table in Markdown; without aims that were measured it is empty.
func (r *Report) aimTable() string {
	var b strings.Builder
	for _, a := range aims() {
		v, ok := r.judge(a)
		if !ok {
			continue
		}
		if b.Len() == 0 {
			b.WriteString("| | aim | median | rounds | |\n|---|---|---|---|---|\n")
		}
		unit := ""
		if a.against == "" {
			unit = strings.TrimRight(" "+v.unit, " ")
		}
		reached := "reached"
		if !v.reached {
			reached = "**not reached**"
		}
		fmt.Fprintf(&b, "| %s | %s%s | %s%s | %s..%s | %s |\n", a.what(), a.limit(), unit, Show(v.median), unit, Show(v.low), Show(v.high), reached)
	}
	return b.String()
}
