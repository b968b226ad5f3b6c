package proxies

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"
)

// Report is what a run came to. It is what stands in the JSON file.
type Report struct {
	When     time.Time         `json:"when"`
	Machine  string            `json:"machine"`
	Rounds   int               `json:"rounds"`
	Slice    string            `json:"slice"`
	Versions map[string]string `json:"versions"`
	Results  []*Result         `json:"results"`
	Notes    []string          `json:"notes,omitempty"`
}

// Result is that of one scenario.
type Result struct {
	Name    string    `json:"name"`
	Title   string    `json:"title"`
	Figures []*Figure `json:"figures"`
	Notes   []string  `json:"notes,omitempty"`
}

// Figure is one quantity of all proxies.
type Figure struct {
	Name  string   `json:"name"`
	Unit  string   `json:"unit"`
	Peers []Series `json:"peers"`
}

// Series are the values of one proxy, one for each round.
type Series struct {
	Peer   string    `json:"peer"`
	Values []float64 `json:"values"`
}

// series returns the values of a proxy, or nil.
func (f *Figure) series(peer string) []float64 {
	for _, s := range f.Peers {
		if s.Peer == peer {
			return s.Values
		}
	}
	return nil
}

// figure finds a quantity, or nil.
func (r *Report) figure(scenario, name string) *Figure {
	for _, result := range r.Results {
		if result.Name == scenario {
			for _, f := range result.Figures {
				if f.Name == name {
					return f
				}
			}
		}
	}
	return nil
}

func (r *Result) put(peer, name, unit string, v float64) {
	i := slices.IndexFunc(r.Figures, func(f *Figure) bool { return f.Name == name })
	if i < 0 {
		i = len(r.Figures)
		r.Figures = append(r.Figures, &Figure{Name: name, Unit: unit})
	}
	f := r.Figures[i]
	for k := range f.Peers {
		if f.Peers[k].Peer == peer {
			f.Peers[k].Values = append(f.Peers[k].Values, v)
			return
		}
	}
	f.Peers = append(f.Peers, Series{Peer: peer, Values: []float64{v}})
}

// Read reads a report, and is an error for anything else.
func Read(from io.Reader) (*Report, error) {
	d := json.NewDecoder(from)
	d.DisallowUnknownFields()
	var r Report
	if err := d.Decode(&r); err != nil {
		return nil, fmt.Errorf("read a report: %w", err)
	}
	for _, result := range r.Results {
		if result == nil {
			return nil, fmt.Errorf("read a report: a result is null")
		}
		for _, f := range result.Figures {
			if f == nil || slices.ContainsFunc(f.Peers, func(s Series) bool { return len(s.Values) == 0 }) {
				return nil, fmt.Errorf("read a report: a figure of %s has no values", result.Name)
			}
		}
	}
	return &r, nil
}

// WriteFile writes it as JSON.
func (r *Report) WriteFile(path string) error {
	text, err := json.MarshalIndent(r, "", " ")
	if err == nil {
		err = os.WriteFile(path, append(text, '\n'), 0o644)
	}
	if err != nil {
		return fmt.Errorf("write the report: %w", err)
	}
	return nil
}

// Spread is the smallest, the middle and the largest of values, which must not be empty.
func Spread(values []float64) (low, median, high float64) {
	sorted := slices.Sorted(slices.Values(values))
	n := len(sorted)
	return sorted[0], (sorted[(n-1)/2] + sorted[n/2]) / 2, sorted[n-1]
}

// Show prints three digits that count, and all of those before the point.
func Show(v float64) string {
	decimals := 0
	size := max(v, -v)
	for limit := 100.0; decimals < 4 && size < limit && v != 0; limit /= 10 {
		decimals++
	}
	return strconv.FormatFloat(v, 'f', decimals, 64)
}

// span shows values as their median and, where they differ, from where to where they reach.
func span(values []float64) string {
	low, median, high := Spread(values)
	if len(values) == 1 || low == high {
		return Show(median)
	}
	return fmt.Sprintf("%s (%s..%s)", Show(median), Show(low), Show(high))
}

// peerNames are the columns of a result, in the order in which they were first measured.
func (r *Result) peerNames() (names []string) {
	for _, f := range r.Figures {
		for _, s := range f.Peers {
			if !slices.Contains(names, s.Peer) {
				names = append(names, s.Peer)
			}
		}
	}
	return names
}

// Print prints tables for a terminal: medians, and their spread in parentheses.
func (r *Report) Print(to io.Writer) {
	for _, result := range r.Results {
		fmt.Fprintf(to, "\n%s: %s\n", result.Name, result.Title)
		w := tabwriter.NewWriter(to, 0, 0, 2, ' ', 0)
		names := result.peerNames()
		for i, f := range result.Figures {
			if i == 0 {
				fmt.Fprint(w, "  proxy")
			}
			fmt.Fprintf(w, "\t%s", strings.TrimSuffix(f.Name+" ["+f.Unit+"]", " []"))
		}
		if len(result.Figures) > 0 {
			fmt.Fprintln(w, "\t")
		}
		for _, name := range names {
			fmt.Fprintf(w, "  %s", name)
			for _, f := range result.Figures {
				cell := "-"
				if v := f.series(name); v != nil {
					cell = span(v)
				}
				fmt.Fprintf(w, "\t%s", cell)
			}
			fmt.Fprintln(w, "\t")
		}
		w.Flush()
		for _, n := range result.Notes {
			fmt.Fprintf(to, "  not measured: %s\n", strings.ReplaceAll(n, "\n", "\n    "))
		}
	}
	r.printAims(to)
	for _, n := range r.Notes {
		fmt.Fprintf(to, "\n%s\n", n)
	}
}
