package main

import (
	"context"
	"fmt"
	"os"
	"strings"
	"sync"
	"time"

	"argosy/dev"
	"argosy/internal/settings"
)

// devStop is how long everything may take to end before it is killed.
const devStop = 10 * time.Second

type devCommand struct{ *meta }

func (c *devCommand) Synopsis() string {
	return "Run local services behind real proxies, without servers"
}

func (c *devCommand) Help() string {
	return strings.TrimSpace(`
Usage: argosy dev [-quiet] [-log LEVEL] FILE.hcl

  Laptop mode. Runs the services of a file as processes on this machine, behind
  fleets of agents, with namerd and a table of their own, and lets the
  scheduler set how many there are of each. Nothing has to be installed, and
  nothing is left when it ends, by Ctrl-C. It is not meant for production.

Options:

  -quiet      Do not show what the services write.
  -log LEVEL  Of laptop mode itself: trace, debug, info, warn (default) or error.

Exit codes: 0 ended by a signal, 1 failed, 2 wrong usage or invalid file.

Example:

    argosy dev demo/dev-example.hcl`)
}

func (c *devCommand) Run(args []string) int {
	f := c.flags("dev")
	quiet := f.Bool("quiet", false, "")
	level := f.String("log", "warn", "")
	rest, code, ok := c.parse(f, args, c.Help)
	if !ok {
		return code
	}
	if len(rest) != 1 {
		return c.usage("dev: one file is needed, not %d", len(rest))
	}
	config, err := dev.Load(rest[0])
	if err != nil {
		return c.fail(err)
	}
	binary, err := os.Executable()
	if err != nil {
		return c.fail(fmt.Errorf("find this program: %w", err))
	}
	options := dev.Options{Binary: binary, Logger: c.logger(settings.Log{Level: *level})}
	if !*quiet {
		var mu sync.Mutex
		options.Output = func(group string, instance int, line string) {
			mu.Lock()
			defer mu.Unlock()
			fmt.Fprintf(c.errs, "%s.%d | %s\n", group, instance, line)
		}
	}
	cutting, cut := context.WithCancel(context.Background())
	defer cut()
	return c.serve(func(ctx context.Context, hangup <-chan struct{}) error {
		ctx, quit := untilHangup(ctx, hangup)
		defer quit()
		e, err := dev.Start(ctx, config, options)
		if err != nil {
			return err
		}
		ready, cancel := context.WithTimeout(ctx, time.Minute)
		err = e.Ready(ready)
		cancel()
		if err == nil {
			c.describe(ctx, e, config)
			<-ctx.Done()
		} else if ctx.Err() != nil {
			err = nil
		}
		stop, cancel := context.WithTimeout(cutting, devStop)
		defer cancel()
		if e := e.Stop(stop); err == nil {
			err = e
		}
		return err
	}, cut)
}

// describe prints where things are.
func (c *devCommand) describe(ctx context.Context, e *dev.Env, config *dev.Config) {
	fmt.Fprintf(c.out, "%s is up\n", config.Name)
	for _, p := range config.Proxies {
		fmt.Fprintf(c.out, "  proxy %-12s %s -> %s\n", p.Name, e.ProxyAddress(p.Name), p.Destination)
		if p.MTLS {
			fmt.Fprintf(c.out, "  %-18s certificates for clients are in %s\n", "", e.CertDir())
		}
		for _, i := range e.Instances(p.Name) {
			fmt.Fprintf(c.out, "  %-18s agent %d: http://%s/v1/routes\n", "", i.Index, dev.AdminAddress(i))
		}
	}
	for _, s := range config.Services {
		for _, i := range e.Instances(s.Name) {
			for _, label := range s.Ports {
				fmt.Fprintf(c.out, "  service %-10s %s %s\n", s.Name, dev.Address(i, label), label)
			}
		}
		if url := e.SchedulerURL(ctx, s.Name); url != "" {
			fmt.Fprintf(c.out, "  %-18s scheduler: %s/v1/decisions\n", "", url)
		}
	}
	for _, p := range config.Proxies {
		if url := e.SchedulerURL(ctx, p.Name); url != "" {
			fmt.Fprintf(c.out, "  scheduler of %s: %s/v1/decisions\n", p.Name, url)
		}
	}
	fmt.Fprintf(c.out, "  the table: argosy dtab get %s -addr %s\n", dev.Namespace, e.NamerdURL())
}
