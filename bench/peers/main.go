// Command peers tests how a proxy of Consul's mesh treats its peers: clients that are not allowed or not who they say,
// servers that are not who they should be, intentions that change, a Consul that is gone. It starts argosy and
// `consul connect proxy`, each with a real Consul of its own, and has both in a table.
//
//	peers                          all cases on both
//	peers -only expired,drain      some of them; those without Consul come last in any case
//	peers -doc docs/security.md    the table, into the page
//	peers -list                    the cases
//
// The exit code is 0 when all of argosy's cases hold, 1 when one does not or could not be tested, 2 for wrong use.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"slices"
	"strings"
	"sync"
	"syscall"

	"argosy/bench/page"
	"argosy/bench/peers/suite"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	os.Exit(run(ctx, os.Args[1:], os.Stdout, os.Stderr))
}

// options are what the flags say.
type options struct {
	config       suite.Config
	only, doc    string
	list, asJSON bool
}

func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	var o options
	f := flag.NewFlagSet("peers", flag.ContinueOnError)
	f.SetOutput(stderr)
	f.StringVar(&o.only, "only", "", "cases to run, separated by commas; all unless set")
	f.StringVar(&o.doc, "doc", "", "the page to write the table to")
	f.IntVar(&o.config.Sockets, "sockets", 500, "sockets that never finish their handshake")
	f.BoolVar(&o.list, "list", false, "print the cases")
	f.BoolVar(&o.asJSON, "json", false, "print the results as JSON")
	if err := f.Parse(args); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			return 0
		}
		return 2
	}
	cases, err := choose(o.only)
	switch {
	case err != nil:
	case f.NArg() > 0:
		err = fmt.Errorf("unexpected argument %q", f.Arg(0))
	case o.doc != "" && o.only != "":
		err = errors.New("-doc needs all cases: leave -only out")
	case o.config.Sockets < 1 || o.config.Sockets > 20_000:
		err = errors.New("-sockets is from 1 to 20000")
	}
	if err != nil {
		fmt.Fprintf(stderr, "peers: %v\n", err)
		return 2
	}
	if o.list {
		for _, c := range cases {
			fmt.Fprintf(stdout, "%-28s%s\n", c.Name, c.Title)
		}
		return 0
	}
	columns, err := testAll(ctx, o.config, cases, stderr)
	if err == nil && o.doc != "" {
		err = page.Write(o.doc, command, table(cases, columns))
	}
	if err == nil && o.asJSON {
		e := json.NewEncoder(stdout)
		e.SetIndent("", "  ")
		err = e.Encode(columns)
	}
	if err != nil {
		fmt.Fprintf(stderr, "peers: %v\n", err)
		return 1
	}
	if wrong := columns[0].broken(); len(wrong) > 0 {
		fmt.Fprintf(stderr, "peers: %s: %s\n", columns[0].Proxy, strings.Join(wrong, ", "))
		return 1
	}
	return 0
}

func choose(only string) ([]suite.Case, error) {
	all := suite.Cases()
	if only == "" {
		return all, nil
	}
	names := strings.Split(only, ",")
	for _, name := range names {
		if !slices.ContainsFunc(all, func(c suite.Case) bool { return c.Name == name }) {
			return nil, fmt.Errorf("there is no case %q; -list shows what there is", name)
		}
	}
	return slices.DeleteFunc(all, func(c suite.Case) bool { return !slices.Contains(names, c.Name) }), nil
}

// column is what came of one proxy.
type column struct {
	Proxy   string         `json:"proxy"`
	Results []suite.Result `json:"results"`
}

// broken are the cases that do not hold.
func (c column) broken() []string {
	var names []string
	for _, r := range c.Results {
		if !r.Holds {
			names = append(names, r.Case)
		}
	}
	return names
}

// besides is up to how many sockets the proxies are tested beside one another: all sockets are this process's, too.
const besides = 2000

// testAll tests the proxies beside one another, since they spend most of the time waiting. Argosy is the first one.
func testAll(ctx context.Context, config suite.Config, cases []suite.Case, progress io.Writer) ([]column, error) {
	progress = &lines{to: progress}
	proxies := []suite.Proxy{argosy(), consul()}
	columns, errs := make([]column, len(proxies)), make([]error, len(proxies))
	var all sync.WaitGroup
	for i, p := range proxies {
		if config.Sockets > besides {
			all.Wait()
		}
		all.Go(func() { columns[i], errs[i] = test(ctx, p, config, cases, progress) })
	}
	all.Wait()
	return columns, errors.Join(errs...)
}

func test(ctx context.Context, p suite.Proxy, config suite.Config, cases []suite.Case, progress io.Writer) (c column, err error) {
	w, err := suite.Start(ctx, p, config, progress)
	if err != nil {
		return c, err
	}
	defer func() { err = errors.Join(err, w.Close()) }()
	c.Proxy = p.Name
	var failed []error
	for _, one := range cases {
		r, err := w.Run(ctx, one)
		if ctx.Err() != nil {
			return c, errors.New("interrupted")
		}
		status, says := "holds", r.Says()
		switch {
		case err != nil:
			status, says = "ERROR", err.Error()
			failed = append(failed, err)
		case !r.Holds:
			status = "NOT"
		}
		fmt.Fprintf(progress, "%-8s%-7s%-28s%5.1f s  %s\n", p.Name, status, r.Case, r.Took.Seconds(), strings.TrimSpace(strings.Join(append(r.Notes, says), "; ")))
		c.Results = append(c.Results, r)
	}
	return c, errors.Join(failed...)
}

// lines is a writer for several goroutines.
type lines struct {
	mu sync.Mutex
	to io.Writer
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.to.Write(p)
}
