// Command servers finds the servers that the end-to-end tests and the Nomad demo run on, builds those that are missing,
// and prints their paths.
//
//	go run ./e2e/stack/cmd/servers [-json] [consul|nomad|prometheus ...]
package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"argosy/e2e/stack/servers"
)

func main() { os.Exit(run()) }

func run() int {
	asJSON := flag.Bool("json", false, "print name, path, version and source as JSON")
	flag.Usage = func() {
		fmt.Fprintln(flag.CommandLine.Output(), "usage: servers [-json] [consul|nomad|prometheus ...]")
		flag.PrintDefaults()
	}
	flag.Parse()
	names := flag.Args()
	if len(names) == 0 {
		names = servers.Names()
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()

	var found []servers.Server
	for _, name := range names {
		s, err := servers.Find(ctx, name, os.Stderr)
		if err != nil {
			fmt.Fprintln(os.Stderr, "servers:", err)
			return 1
		}
		if !*asJSON {
			fmt.Printf("%s %s (%s): %s\n", s.Name, s.Version, s.Source, s.Path)
		}
		found = append(found, s)
	}
	if *asJSON {
		e := json.NewEncoder(os.Stdout)
		e.SetIndent("", "  ")
		if err := e.Encode(found); err != nil {
			fmt.Fprintln(os.Stderr, "servers:", err)
			return 1
		}
	}
	return 0
}
