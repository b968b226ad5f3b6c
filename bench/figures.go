package main

import (
	"cmp"
	"fmt"
	"io"
	"os/exec"
	"runtime"
	"strings"
	"text/tabwriter"
	"time"
	"unicode/utf8"

	"argosy/bench/proxies"
)

// figure is one quantity, taken several times.
type figure struct {
	name   string
	unit   string
	values []float64
	note   string
}

// in turns durations into values.
func in(unit time.Duration, durations []time.Duration) []float64 {
	values := make([]float64, 0, len(durations))
	for _, d := range durations {
		values = append(values, float64(d)/float64(unit))
	}
	return values
}

func printFigures(to io.Writer, figures []figure) {
	w := tabwriter.NewWriter(to, 0, 0, 2, ' ', tabwriter.AlignRight)
	names := 0 // the names are to begin in one column, the numbers to end in one
	for _, f := range figures {
		names = max(names, utf8.RuneCountInString(f.name))
	}
	fmt.Fprintf(w, "%-*s\tmin\tmedian\tmax\tunit\tn\t\n", names, "")
	for _, f := range figures {
		low, median, high := "-", "-", "-"
		if len(f.values) > 0 {
			l, m, h := proxies.Spread(f.values)
			low, median, high = proxies.Show(l), proxies.Show(m), proxies.Show(h)
		}
		fmt.Fprintf(w, "%-*s\t%s\t%s\t%s\t%s\t%d\t  %s\n", names, f.name, low, median, high, f.unit, len(f.values), f.note)
	}
	w.Flush()
}

// revision is the commit that is measured.
func revision() string {
	commit := "unknown"
	if out, err := exec.Command("git", "rev-parse", "--short=12", "HEAD").Output(); err == nil {
		commit = strings.TrimSpace(string(out))
		if out, err := exec.Command("git", "status", "--porcelain", "--untracked-files=no").Output(); err != nil || len(out) > 0 {
			commit += " with changes"
		}
	}
	return commit
}

// machine says where it is measured.
func machine() string {
	return fmt.Sprintf("%s %s/%s, %d CPUs, load %s, %s", runtime.Version(), runtime.GOOS, runtime.GOARCH,
		runtime.NumCPU(), cmp.Or(load(), "unknown"), time.Now().UTC().Format("2006-01-02 15:04 UTC"))
}
