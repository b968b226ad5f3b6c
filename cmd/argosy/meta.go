package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"github.com/hashicorp/cli"
	"github.com/hashicorp/go-hclog"

	"argosy/internal/settings"
)

// meta is what the subcommands share: where they write, how they parse flags, log, end, and take signals.
type meta struct {
	ui        cli.Ui
	in        io.Reader
	out, errs io.Writer
}

// list is a repeatable flag.
type list []string

func (l *list) String() string     { return strings.Join(*l, ",") }
func (l *list) Set(v string) error { *l = append(*l, v); return nil }

// flags makes a flag set that reports mistakes itself, with a hint instead of the whole help.
func (m *meta) flags(name string) *flag.FlagSet {
	f := flag.NewFlagSet(name, flag.ContinueOnError)
	f.SetOutput(io.Discard)
	return f
}

// parse parses flags that may also stand behind the other arguments, as in `argosy dtab get default -json`. When it
// is not ok the command returns code: it was asked for help, or wrongly used.
func (m *meta) parse(f *flag.FlagSet, args []string, help func() string) (rest []string, code int, ok bool) {
	for {
		if err := f.Parse(args); err != nil {
			if errors.Is(err, flag.ErrHelp) {
				fmt.Fprintln(m.out, strings.TrimSpace(help()))
				return nil, exitOK, false
			}
			return nil, m.usage("%s: %v", f.Name(), err), false
		}
		args = f.Args()
		for len(args) > 0 && (args[0] == "-" || !strings.HasPrefix(args[0], "-")) {
			rest, args = append(rest, args[0]), args[1:]
		}
		if len(args) == 0 {
			return rest, exitOK, true
		}
	}
}

// configured is parse for a command that takes configurations by -config, at least one, and no other arguments.
func (m *meta) configured(f *flag.FlagSet, args []string, help func() string) (paths list, code int, ok bool) {
	f.Var(&paths, "config", "")
	rest, code, ok := m.parse(f, args, help)
	switch {
	case !ok:
		return nil, code, false
	case len(rest) > 0:
		return nil, m.usage("%s: unexpected argument %q; configurations are given with -config", f.Name(), rest[0]), false
	case len(paths) == 0:
		return nil, m.usage("%s: -config is missing", f.Name()), false
	}
	return paths, exitOK, true
}

// usage reports a wrong call.
func (m *meta) usage(format string, a ...any) int {
	fmt.Fprintf(m.errs, "argosy: "+format+"\n", a...)
	fmt.Fprintln(m.errs, "argosy: -h shows the command's flags and an example")
	return exitUsage
}

// fail reports an error and returns the exit code for it: 2 for an invalid configuration, 1 for all others.
func (m *meta) fail(err error) int {
	var invalid interface{ InvalidConfig() }
	if errors.As(err, &invalid) {
		fmt.Fprintln(m.errs, strings.TrimRight(err.Error(), "\n"))
		return exitUsage
	}
	fmt.Fprintf(m.errs, "argosy: %v\n", err)
	return exitFailed
}

// json prints v for programs.
func (m *meta) json(v any) int {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetIndent("", "  ")
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		return m.fail(err)
	}
	m.out.Write(b.Bytes())
	return exitOK
}

// logger makes the process's logger. Logs go to standard error.
func (m *meta) logger(s settings.Log) hclog.Logger {
	return hclog.New(&hclog.LoggerOptions{
		Level:      hclog.LevelFromString(s.Level),
		JSONFormat: s.Format == "json",
		Output:     m.errs,
	})
}

// serve runs a long-lived command. The context that run gets ends with the first SIGTERM or SIGINT, upon which it is to
// drain and return; every SIGHUP puts something into reload, unless a reload is waiting there already. A second one
// of the two calls cut, after which run is expected to return at once; a third ends the process.
func (m *meta) serve(run func(ctx context.Context, reload <-chan struct{}) error, cut func()) int {
	ctx, stop := context.WithCancel(context.Background())
	defer stop()
	signals := make(chan os.Signal, 8)
	signal.Notify(signals, syscall.SIGTERM, syscall.SIGINT, syscall.SIGHUP)
	defer signal.Stop(signals)

	reload := make(chan struct{}, 1)
	done := make(chan error, 1)
	go func() { done <- run(ctx, reload) }()

	interrupts := 0
	for {
		select {
		case err := <-done:
			if err != nil && !errors.Is(err, context.Canceled) {
				return m.fail(err)
			}
			return exitOK
		case s := <-signals:
			switch s {
			case syscall.SIGHUP:
				select {
				case reload <- struct{}{}:
				default:
				}
			default:
				interrupts++
				if interrupts == 2 && cut != nil {
					fmt.Fprintln(m.errs, "argosy: told to end again: closing everything now")
					cut()
				}
				if interrupts > 2 {
					return exitFailed
				}
				stop()
			}
		}
	}
}
