// Command bench measures the program: the same figures each time, with their spread, in tables. docs/performance.md
// quotes what it prints.
//
//	bench                    everything; about five minutes
//	bench -only parse,bind   some of it
//	bench -list              what there is
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
}

// section measures one thing.
type section struct {
	name, title string
	measure     func(context.Context, settings) ([]figure, error)
}

func sections() []section {
	return []section{
		{"parse", "reading a table", parseTable},
		{"bind", "binding a name", bindName},
		{"files", "the io.l5d.fs namer", followFiles},
		{"services", "an agent that follows services in Consul", followServices},
		{"watchers", "a namerd with watchers", serveWatchers},
	}
}

func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	s := settings{progress: stderr}
	flags := flag.NewFlagSet("bench", flag.ContinueOnError)
	flags.SetOutput(stderr)
	only := flags.String("only", "", "sections to measure, separated by commas; all unless set")
	list := flags.Bool("list", false, "print the names of the sections")
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
	chosen, err := choose(*only)
	if err == nil && flags.NArg() > 0 {
		err = fmt.Errorf("unexpected argument %q", flags.Arg(0))
	}
	if err == nil {
		err = s.check()
	}
	if err != nil {
		fmt.Fprintf(stderr, "bench: %v\n", err)
		return 2
	}
	if *list {
		for _, c := range chosen {
			fmt.Fprintf(stdout, "%-10s%s\n", c.name, c.title)
		}
		return 0
	}
	fmt.Fprintf(stdout, "%s\n", machine())
	code := 0
	for _, c := range chosen {
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
	return code
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
