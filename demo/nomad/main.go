// Command nomad is the demo on the real thing: Consul, Nomad and Prometheus on loopback, with the jobs of jobs/. Run it
// from inside the repository:
//
//	make demo-nomad            watch it live
//	make demo-nomad ARGS=-once tell the story unattended
//
// Servers that are missing or too old are built first, which takes some minutes and is done once.
package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"
	"time"

	"argosy/demo/screen"
	"argosy/e2e/stack"
	"argosy/e2e/stack/servers"
)

// stopWithin is how long the end may take; the stack itself waits for no process longer than some seconds.
const stopWithin = 45 * time.Second

func main() { os.Exit(run(os.Args[1:], os.Stdin, os.Stdout, os.Stderr)) }

func run(args []string, in io.Reader, out, errs io.Writer) int {
	f := flag.NewFlagSet("demo-nomad", flag.ContinueOnError)
	f.SetOutput(errs)
	once := f.Bool("once", false, "tell the story once, print what was measured, exit with 1 if any step did not happen")
	keep := f.Bool("keep", false, "keep the folder with all logs, those of the tasks included")
	if err := f.Parse(args); err != nil {
		return 2
	}
	if f.NArg() > 0 {
		fmt.Fprintf(errs, "demo-nomad: unexpected argument %q\n", f.Arg(0))
		return 2
	}
	ctx, quit := context.WithCancel(context.Background())
	defer quit()
	signals := make(chan os.Signal, 4)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	defer signal.Stop(signals)
	done := make(chan int, 1)
	go func() { done <- tell(ctx, *once, *keep, in, out, errs) }()
	for asked := 0; ; {
		select {
		case code := <-done:
			return code
		case <-signals:
			quit()
			if asked++; asked > 2 {
				return 1 // the stack's guard ends what is left
			}
			fmt.Fprintln(errs, "demo-nomad: ending everything")
		}
	}
}

// tell gets what is needed and then shows the story.
func tell(ctx context.Context, once, keep bool, in io.Reader, out, errs io.Writer) int {
	fail := func(err error) int {
		fmt.Fprintf(errs, "demo-nomad: %v\n", err)
		return 1
	}
	fmt.Fprintln(errs, "demo-nomad: building argosy")
	binary, err := stack.Build(ctx, "./cmd/argosy")
	if err != nil {
		return fail(err)
	}
	paths := map[string]string{}
	for _, name := range servers.Names() {
		s, err := servers.Find(ctx, name, errs)
		if err != nil {
			return fail(err)
		}
		fmt.Fprintf(errs, "demo-nomad: %s %s (%s)\n", s.Name, s.Version, s.Path)
		paths[name] = s.Path
		if s.Source == servers.FromPath {
			paths[name] = name
		}
	}
	root, err := servers.Root()
	if err != nil {
		return fail(err)
	}
	s := newStage(options{binary: binary, root: root, keep: keep, nomad: paths[servers.Nomad], consul: paths[servers.Consul]})
	err = screen.Show(ctx, s, screen.Options{Once: once, In: in, Out: out, StopWithin: stopWithin})
	if err != nil {
		if logs := s.lastLogs(); logs != "" {
			fmt.Fprintln(errs, logs)
		}
		return fail(err)
	}
	return 0
}
