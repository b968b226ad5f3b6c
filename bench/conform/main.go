// Command conform tests how a proxy treats TCP connections: half-closes, resets, slow peers, bulk, backends that are not
// there, TLS that breaks. It connects to the proxy, and listens itself where the proxy connects to.
//
//	conform -target 127.0.0.1:7474 -backend 127.0.0.1:9001    a proxy that runs and passes 7474 on to 9001
//	conform -all                                              argosy and the peers that are installed, started here
//	conform -list                                             the cases
//
// The exit code is 0 when no case has failed, 1 when one has, 2 for wrong use. With -all it is that of argosy's cases alone.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"argosy/bench/conform/suite"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	os.Exit(run(ctx, os.Args[1:], os.Stdout, os.Stderr))
}

const usage = `usage: conform -target ADDRESS -backend ADDRESS [flags]
       conform -all [-doc FILE] [flags]
       conform -list

conform tests how a proxy treats TCP connections. The proxy must listen at -target and pass each connection on to
-backend, where conform itself listens. An address is host:port or unix:PATH. For example:

  haproxy -f tcp.cfg &     # bind 127.0.0.1:7474, server s 127.0.0.1:9001
  conform -target 127.0.0.1:7474 -backend 127.0.0.1:9001 -pid $(pidof haproxy)

With TLS, certificates for both sides are in the folder that -certs names. conform makes them when the folder has none
yet, and ends, so that the proxy can be started with them: target.pem and target-key.pem for the proxy's own side, ca.pem
to check conform's, whose name is backend.test.

Flags:
`

// options are what the flags say.
type options struct {
	config                        suite.Config
	all, asJSON, list             bool
	targetTLS, backendTLS         bool
	only, proxies, doc            string
	certs, ca, name               string
	clientCert, clientKey, people string
}

func (o *options) flags(stderr io.Writer) *flag.FlagSet {
	f := flag.NewFlagSet("conform", flag.ContinueOnError)
	f.SetOutput(stderr)
	f.Usage = func() {
		fmt.Fprint(stderr, usage)
		f.PrintDefaults()
	}
	c := &o.config
	f.StringVar(&c.Target, "target", "", "where the proxy listens")
	f.StringVar(&c.Backend, "backend", "", "where the proxy connects to, and conform listens")
	f.StringVar(&o.people, "pid", "", "process ids of the proxy, separated by commas, to look at its memory and its sockets")
	f.BoolVar(&o.targetTLS, "target-tls", false, "speak TLS to the proxy; needs -certs or -ca")
	f.BoolVar(&o.backendTLS, "backend-tls", false, "speak TLS with the proxy as its server; needs -certs")
	f.StringVar(&o.certs, "certs", "", "folder of the certificates")
	f.StringVar(&o.ca, "ca", "", "CA certificates (PEM) of the proxy's certificate; those in -certs unless set")
	f.StringVar(&o.name, "name", "target.test", "name in the proxy's certificate")
	f.StringVar(&o.clientCert, "client-cert", "", "certificate (PEM) to show to the proxy")
	f.StringVar(&o.clientKey, "client-key", "", "its private key (PEM)")
	f.Int64Var(&c.Bulk, "bulk", 1<<30, "bytes each way in the bulk case")
	f.IntVar(&c.Many, "many", 500, "connections at once")
	f.DurationVar(&c.Patience, "patience", time.Second, "how long a slow peer waits before its next byte")
	f.DurationVar(&c.Limit, "limit", 20*time.Second, "time for a case, beside its own waiting and the time for bulk")
	f.StringVar(&o.only, "only", "", "cases to run, separated by commas; all unless set")
	f.BoolVar(&o.list, "list", false, "print the cases")
	f.BoolVar(&o.asJSON, "json", false, "print the results as JSON")
	f.BoolVar(&o.all, "all", false, "start argosy and the peers that are installed, and test each")
	f.StringVar(&o.proxies, "proxies", "", "with -all: the proxies to test, separated by commas; all unless set")
	f.StringVar(&o.doc, "doc", "", "with -all: the page to write the tables to")
	return f
}

func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	var o options
	f := o.flags(stderr)
	if err := f.Parse(args); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			return 0
		}
		return 2
	}
	cases, err := choose(o.only)
	if err == nil {
		err = o.check(f.Args())
	}
	if err != nil {
		fmt.Fprintf(stderr, "conform: %v\n", err)
		return 2
	}
	if o.list {
		for _, c := range cases {
			fmt.Fprintf(stdout, "%-20s%s\n", c.Name, c.Title)
		}
		return 0
	}
	var columns []column
	if o.all {
		columns, err = testAll(ctx, o, cases, progress(o, stdout, stderr))
	} else {
		columns, err = testOne(ctx, o, cases, progress(o, stdout, stderr))
	}
	var made *certificatesMade
	if errors.As(err, &made) {
		fmt.Fprintln(stderr, made)
		return 0
	}
	if err == nil && o.doc != "" {
		err = writePage(o.doc, columns, o.config)
	}
	if err == nil && o.asJSON {
		err = printJSON(stdout, columns)
	}
	if err == nil && !o.asJSON {
		printSummary(stdout, columns)
	}
	if err != nil {
		fmt.Fprintf(stderr, "conform: %v\n", err)
		return 1
	}
	if failures(columns, o.all) > 0 {
		return 1
	}
	return 0
}

// progress is where it is told what happens: not among the JSON.
func progress(o options, stdout, stderr io.Writer) io.Writer {
	if o.asJSON {
		return stderr
	}
	return stdout
}

func (o *options) check(rest []string) error {
	switch {
	case len(rest) > 0:
		return fmt.Errorf("unexpected argument %q", rest[0])
	case o.list:
		return nil
	case o.all && (o.config.Target != "" || o.config.Backend != ""):
		return errors.New("-all starts the proxies itself: leave -target and -backend out")
	case !o.all && (o.config.Target == "" || o.config.Backend == ""):
		return errors.New("-target and -backend are needed, or -all; -h shows an example")
	case !o.all && (o.doc != "" || o.proxies != ""):
		return errors.New("-doc and -proxies need -all")
	case o.backendTLS && o.certs == "":
		return errors.New("-backend-tls needs -certs, for the certificate")
	case o.targetTLS && o.certs == "" && o.ca == "":
		return errors.New("-target-tls needs -certs or -ca, to check the proxy's certificate")
	case (o.clientCert == "") != (o.clientKey == ""):
		return errors.New("-client-cert and -client-key need each other")
	case o.config.Bulk < 1, o.config.Many < 1, o.config.Many > 10_000:
		return errors.New("-bulk is at least 1, -many from 1 to 10000")
	case o.config.Patience < time.Millisecond, o.config.Limit < time.Second:
		return errors.New("-patience is at least 1ms, -limit at least 1s")
	}
	if o.people == "" {
		return nil
	}
	for text := range strings.SplitSeq(o.people, ",") {
		pid, err := strconv.Atoi(strings.TrimSpace(text))
		if err != nil || pid < 1 {
			return fmt.Errorf("-pid: %q is no process id", text)
		}
		o.config.Pids = append(o.config.Pids, pid)
	}
	return nil
}

func choose(only string) ([]suite.Case, error) {
	all := suite.Cases()
	if only == "" {
		return all, nil
	}
	var chosen []suite.Case
	for name := range strings.SplitSeq(only, ",") {
		i := slices.IndexFunc(all, func(c suite.Case) bool { return c.Name == strings.TrimSpace(name) })
		if i < 0 {
			return nil, fmt.Errorf("there is no case %q; -list shows what there is", name)
		}
		chosen = append(chosen, all[i])
	}
	return chosen, nil
}

// column is what came of one proxy.
type column struct {
	Proxy   string         `json:"proxy"`
	Variant string         `json:"variant"`
	Version string         `json:"version,omitempty"`
	Results []suite.Result `json:"results"`
}

// test runs the cases.
func test(ctx context.Context, c suite.Config, cases []suite.Case, to io.Writer) ([]suite.Result, error) {
	s, err := suite.New(c)
	if err != nil {
		return nil, err
	}
	defer s.Close()
	var results []suite.Result
	for _, one := range cases {
		r := s.Run(ctx, one)
		if ctx.Err() != nil {
			return nil, errors.New("interrupted")
		}
		fmt.Fprintf(to, "  %-5s%-21s%6.1f s  %s\n", r.Status, r.Case, r.Took.Seconds(), r.Note)
		results = append(results, r)
	}
	return results, nil
}

func testOne(ctx context.Context, o options, cases []suite.Case, to io.Writer) ([]column, error) {
	if err := o.secure(); err != nil {
		return nil, err
	}
	results, err := test(ctx, o.config, cases, to)
	return []column{{Proxy: o.config.Target, Results: results}}, err
}
