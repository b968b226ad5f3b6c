package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"

	"github.com/hashicorp/go-hclog"

	"argosy/demo/child"
	"argosy/demo/laptop"
	"argosy/demo/screen"
	"argosy/internal/settings"
)

type demoCommand struct{ *meta }

func (c *demoCommand) Synopsis() string { return "Watch a fleet at work on this machine" }

func (c *demoCommand) Help() string {
	return strings.TrimSpace(`
Usage: argosy demo [-once] [-log FILE]

  Runs a whole fleet on this machine, with nothing installed: web servers that
  cache in Redis through the proxies, and two Redis clusters. All traffic goes
  to redis1; one Dtab update moves it to redis2, without a restart and without
  a failed request; then the load rises and the fleet grows, falls and it
  shrinks. Afterwards it is yours: keys shift the traffic and change the load.
  Ctrl-C or q ends every process it has started.

Options:

  -once      Unattended: tell the story once, print what was measured at each
             step, and exit with 1 if any step did not happen.
  -log FILE  Write what all the processes say to a file.

Exit codes: 0 the story was told, 1 a step failed, 2 wrong usage.

Example:

    argosy demo
    argosy demo -once -log demo.log`)
}

func (c *demoCommand) Run(args []string) int {
	f := c.flags("demo")
	once := f.Bool("once", false, "")
	logFile := f.String("log", "", "")
	rest, code, ok := c.parse(f, args, c.Help)
	if !ok {
		return code
	}
	if len(rest) > 0 {
		return c.usage("demo: unexpected argument %q", rest[0])
	}
	binary, err := os.Executable()
	if err != nil {
		return c.fail(fmt.Errorf("find this program: %w", err))
	}
	options := laptop.Options{Binary: binary, Name: called(binary), Logger: hclog.NewNullLogger()}
	if *logFile != "" {
		log, err := os.Create(*logFile)
		if err != nil {
			return c.fail(fmt.Errorf("write the log: %w", err))
		}
		defer log.Close()
		var mu sync.Mutex
		options.Logger = hclog.New(&hclog.LoggerOptions{Output: log, Mutex: &mu, Level: hclog.Debug})
		options.Output = func(group string, instance int, line string) {
			mu.Lock()
			defer mu.Unlock()
			fmt.Fprintf(log, "%s.%d | %s\n", group, instance, line)
		}
	}
	stage, err := laptop.New(options)
	if err != nil {
		return c.fail(err)
	}
	cutting, cut := context.WithCancel(context.Background())
	defer cut()
	return c.serve(func(ctx context.Context, hangup <-chan struct{}) error {
		ctx, stop := untilHangup(ctx, hangup)
		defer stop()
		return screen.Show(ctx, stage, screen.Options{Once: *once, In: c.in, Out: c.out, Cut: cutting.Done()})
	}, cut)
}

// untilHangup returns a context that also ends when the terminal is closed: laptop mode has nothing to reload, and must
// not go on where nobody sees it.
func untilHangup(ctx context.Context, hangup <-chan struct{}) (context.Context, context.CancelFunc) {
	ctx, stop := context.WithCancel(ctx)
	go func() {
		select {
		case <-hangup:
			stop()
		case <-ctx.Done():
		}
	}()
	return ctx, stop
}

// called is how to call this program from here: by its name if it is the one in PATH, else by the shortest path.
func called(binary string) string {
	if path, err := exec.LookPath("argosy"); err == nil && path == binary {
		return "argosy"
	}
	if dir, err := os.Getwd(); err == nil {
		if rel, err := filepath.Rel(dir, binary); err == nil && len(rel) < len(binary) && !strings.HasPrefix(rel, "..") {
			return "." + string(filepath.Separator) + rel
		}
	}
	return binary
}

// demoChildCommand runs the demo's own workloads. It is hidden: people have no use for it.
type demoChildCommand struct{ *meta }

func (c *demoChildCommand) Synopsis() string { return "Run a workload of the demo" }

func (c *demoChildCommand) Help() string {
	return strings.TrimSpace(`
Usage: argosy demo-child redis [-name N] [-address A] [-built-in]
       argosy demo-child web [-address A] [-redis A] [-tls-cert F -tls-key F -tls-ca F] ...

  The demo runs its Redis and web servers by this.`)
}

func (c *demoChildCommand) Run(args []string) int {
	run, err := child.Parse(args)
	if err != nil {
		var wrong child.UsageError
		if errors.As(err, &wrong) {
			return c.usage("%v", err)
		}
		return c.fail(err)
	}
	log := c.logger(settings.Log{Level: "info"}).Named("demo")
	return c.serve(func(ctx context.Context, _ <-chan struct{}) error { return run(ctx, log) }, nil)
}
