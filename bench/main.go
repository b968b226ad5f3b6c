// Command bench measures the program: the same figures each time, with their spread, in tables. docs/performance.md
// quotes what it prints.
//
//	bench                         everything; about half an hour
//	bench -quick                  a first look, in a few minutes
//	bench -only parse,bulk        some of it
//	bench -only bulk -argosy PATH with another binary of argosy
//	bench -list                   what there is
//	bench -report FILE            put what was written to FILE by -json into the documentation, and measure nothing
//
// What needs servers starts them on free loopback ports, and ends them. The exit code is 0 when everything was measured,
// 1 when something could not be, 2 for wrong use.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"
	"time"

	"argosy/bench/proxies"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	log.SetOutput(io.Discard) // net/http complains there about servers that hang up
	os.Exit(run(ctx, os.Args[1:], os.Stdout, os.Stderr))
}

// settings say how much is measured.
type settings struct {
	runs     int // repetitions of what is quick
	entries  int // of a table
	services int // that one agent follows
	watchers int // of one namerd
	files    int // that one namer follows
	rest     time.Duration
	progress io.Writer

	proxies proxies.Settings // of the comparison with other proxies
	json    string           // where its figures go; nowhere unless set
}

// section measures one thing. Those without a function of their own compare proxies, and are measured together at the end.
type section struct {
	name, title string
	measure     func(context.Context, settings) ([]figure, error)
}

func sections() []section {
	list := []section{
		{"parse", "reading a table", parseTable},
		{"bind", "binding a name", bindName},
		{"files", "the io.l5d.fs namer", followFiles},
		{"services", "an agent that follows services in Consul", followServices},
		{"watchers", "a namerd with watchers", serveWatchers},
	}
	for _, c := range scenarios() {
		list = append(list, section{name: c[0], title: c[1]})
	}
	return list
}

func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	s := settings{progress: stderr}
	flags := flag.NewFlagSet("bench", flag.ContinueOnError)
	flags.SetOutput(stderr)
	only := flags.String("only", "", "sections to measure, separated by commas; all unless set")
	list := flags.Bool("list", false, "print the names of the sections")
	quick := flags.Bool("quick", false, "measure less, for a first look")
	from := flags.String("report", "", "read the proxies' figures from this file, write them into the documentation, and measure nothing")
	docs := flags.String("docs", "docs/performance.md", "the page that -report writes")
	full := proxies.Full()
	flags.StringVar(&s.json, "json", "", "write the proxies' figures to this file")
	flags.StringVar(&s.proxies.Argosy, "argosy", "", "the binary to compare with other proxies; built unless set")
	flags.IntVar(&s.proxies.Rounds, "rounds", full.Rounds, "how often each figure of proxies is taken")
	flags.DurationVar(&s.proxies.Slice, "slice", full.Slice, "how long one measurement of a proxy takes")
	flags.IntVar(&s.proxies.Idle, "idle", full.Idle, "connections that do nothing")
	peers := flags.String("proxies", "", "proxies to compare, separated by commas; all unless set")
	flags.IntVar(&s.runs, "runs", 7, "how often each figure is taken")
	flags.IntVar(&s.entries, "entries", 10_000, "entries of the table")
	flags.IntVar(&s.services, "services", 5_000, "services that the agent follows")
	flags.IntVar(&s.watchers, "watchers", 10_000, "watchers of the namerd")
	flags.IntVar(&s.files, "files", 10_000, "files that the namer follows")
	flags.DurationVar(&s.rest, "rest", time.Minute, "how long what is at rest is looked at")
	if err := flags.Parse(args); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			return 0
		}
		return 2
	}
	if *from != "" {
		if err := writeReport(*from, *docs); err != nil {
			fmt.Fprintf(stderr, "bench: %v\n", err)
			return 1
		}
		return 0
	}
	s.proxies.Rest, s.proxies.Churn = full.Rest, full.Churn
	if *quick {
		s.hurry(flags)
	}
	if *peers != "" {
		s.proxies.Peers = strings.Split(*peers, ",")
	}
	chosen, err := choose(*only)
	if err == nil && flags.NArg() > 0 {
		err = fmt.Errorf("unexpected argument %q", flags.Arg(0))
	}
	if err == nil {
		err = errors.Join(s.check(), s.proxies.Check())
	}
	if err != nil {
		fmt.Fprintf(stderr, "bench: %v\n", err)
		return 2
	}
	if *list {
		for _, c := range chosen {
			fmt.Fprintf(stdout, "%-18s%s\n", c.name, c.title)
		}
		return 0
	}
	fmt.Fprintf(stdout, "commit %s, %s\n", revision(), machine())
	code := 0
	var compared []string
	for _, c := range chosen {
		if c.measure == nil {
			compared = append(compared, c.name)
			continue
		}
		fmt.Fprintf(stderr, "measuring %s ...\n", c.name)
		figures, err := c.measure(ctx, s)
		fmt.Fprintf(stdout, "\n%s: %s\n", c.name, c.title)
		printFigures(stdout, figures)
		if err != nil {
			fmt.Fprintf(stdout, "  not measured to the end: %v\n", err)
			code = 1
		}
		if ctx.Err() != nil {
			return 1
		}
	}
	if len(compared) > 0 {
		if err := compare(ctx, s, compared, stdout); err != nil {
			fmt.Fprintf(stdout, "  not measured to the end: %v\n", err)
			code = 1
		}
	}
	return code
}

// hurry lowers what was not set by a flag.
func (s *settings) hurry(flags *flag.FlagSet) {
	set := make(map[string]bool)
	flags.Visit(func(f *flag.Flag) { set[f.Name] = true })
	q := proxies.Quick()
	s.proxies.Rest, s.proxies.Churn = q.Rest, q.Churn
	for name, lower := range map[string]func(){
		"rounds":   func() { s.proxies.Rounds = q.Rounds },
		"slice":    func() { s.proxies.Slice = q.Slice },
		"idle":     func() { s.proxies.Idle = q.Idle },
		"runs":     func() { s.runs = 3 },
		"services": func() { s.services = 200 },
		"watchers": func() { s.watchers = 500 },
		"files":    func() { s.files = 1000 },
		"rest":     func() { s.rest = 3 * time.Second },
	} {
		if !set[name] {
			lower()
		}
	}
}

func choose(only string) ([]section, error) {
	all := sections()
	if only == "" {
		return all, nil
	}
	var chosen []section
	for name := range strings.SplitSeq(only, ",") {
		i := slices.IndexFunc(all, func(s section) bool { return s.name == strings.TrimSpace(name) })
		if i < 0 {
			return nil, fmt.Errorf("there is no section %q; -list shows what there is", name)
		}
		chosen = append(chosen, all[i])
	}
	return chosen, nil
}

func (s settings) check() error {
	for _, c := range []struct {
		name          string
		value, lo, hi int
	}{
		{"runs", s.runs, 1, 1000}, {"entries", s.entries, 10, 1_000_000}, {"services", s.services, probes + 1, 15_000},
		{"watchers", s.watchers, 1, 25_000}, {"files", s.files, 1, 100_000},
	} {
		if c.value < c.lo || c.value > c.hi {
			return fmt.Errorf("-%s is %d, not from %d to %d", c.name, c.value, c.lo, c.hi)
		}
	}
	if s.rest < time.Second || s.rest > time.Hour {
		return fmt.Errorf("-rest is %v, not from 1s to 1h", s.rest)
	}
	return nil
}
