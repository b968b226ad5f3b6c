package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strconv"
	"strings"
	"time"

	"argosy/bench/conform/suite"
	"argosy/e2e/stack"
)

// variant is where TLS is.
type variant struct {
	name    string
	in, out bool
}

func variants() []variant {
	return []variant{
		{name: "plain"},
		{name: "TLS from clients", in: true},
		{name: "TLS to the backend", out: true},
		{name: "TLS on both sides", in: true, out: true},
	}
}

// place is what a proxy is started with.
type place struct {
	variant
	stack           *stack.Stack
	argosy          string // the program
	target, backend string
	certs           string // folder
}

// testAll starts one proxy after the other and tests each in all variants that it has. One that is not installed is
// left out, with a word about it.
func testAll(ctx context.Context, o options, cases []suite.Case, to io.Writer) ([]column, error) {
	chosen, err := chooseProxies(o.proxies)
	if err != nil {
		return nil, err
	}
	argosy, err := stack.Build(ctx, "./cmd/argosy")
	if err != nil {
		return nil, err
	}
	var columns []column
	for _, p := range chosen {
		version, err := p.version(ctx)
		if err != nil {
			fmt.Fprintf(to, "%s is left out: %v\n", p.name, err)
			continue
		}
		for _, v := range variants() {
			if p.plainOnly && (v.in || v.out) {
				continue
			}
			fmt.Fprintf(to, "%s, %s:\n", p.name, v.name)
			results, err := testProxy(ctx, p, v, o, cases, argosy, to)
			if errors.As(err, new(notStarted)) && !strings.HasPrefix(p.name, "argosy") {
				fmt.Fprintf(to, "%s is left out: %v\n", p.name, err)
				continue
			}
			if err != nil {
				return nil, fmt.Errorf("%s, %s: %w", p.name, v.name, err)
			}
			columns = append(columns, column{Proxy: p.name, Variant: v.name, Version: version, Results: results})
		}
	}
	if len(columns) == 0 {
		return nil, errors.New("no proxy to test")
	}
	return columns, nil
}

// notStarted is the error of a proxy that does not start, for instance since it was built without TLS.
type notStarted struct{ error }

func testProxy(ctx context.Context, p peer, v variant, o options, cases []suite.Case, argosy string, to io.Writer) (results []suite.Result, err error) {
	s, err := stack.Start(ctx, stack.Options{Consul: p.consul, Progress: to})
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	at := place{variant: v, stack: s, argosy: argosy, target: s.Addr(), backend: s.Addr(), certs: s.Path("certs")}
	if err := makeCertificates(at.certs); err != nil {
		return nil, err
	}
	o.certs, o.targetTLS, o.backendTLS = at.certs, v.in, v.out
	o.config.Target, o.config.Backend = at.target, at.backend
	if err := o.secure(); err != nil {
		return nil, err
	}
	procs, err := p.start(at)
	if err != nil {
		return nil, err
	}
	starting, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	if err := stack.Eventually(starting, 50*time.Millisecond, func(context.Context) error {
		c, err := net.DialTimeout("tcp", at.target, time.Second)
		if err == nil {
			c.Close()
		}
		return err
	}); err != nil {
		return nil, notStarted{fmt.Errorf("it does not listen: %w\n%s", err, s.Logs(20))}
	}
	for _, proc := range procs {
		o.config.Pids = append(o.config.Pids, proc.Pid())
		o.config.Pids = append(o.config.Pids, children(proc.Pid())...)
	}
	return test(ctx, o.config, cases, to)
}

// children are the processes that a process has started, as nginx starts its workers.
func children(pid int) []int {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/task/%d/children", pid, pid))
	if err != nil {
		return nil
	}
	var pids []int
	for _, f := range strings.Fields(string(text)) {
		if n, err := strconv.Atoi(f); err == nil {
			pids = append(pids, n)
		}
	}
	return pids
}
