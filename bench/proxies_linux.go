package main

import (
	"context"
	"errors"
	"io"
	"path/filepath"

	"argosy/bench/proxies"
	"argosy/e2e/stack"
)

// compare measures scenarios with several proxies, prints what they came to, and writes it to a file.
func compare(ctx context.Context, s settings, names []string, stdout io.Writer) error {
	c := s.proxies
	c.Progress = s.progress
	var err error
	if c.Argosy != "" { // it is started in another folder
		if c.Argosy, err = filepath.Abs(c.Argosy); err != nil {
			return err
		}
	}
	if c.Argosy == "" {
		if c.Argosy, err = stack.Build(ctx, "./cmd/argosy"); err != nil {
			return err
		}
	}
	c.Machine = machine()
	report, err := proxies.Run(ctx, c, names)
	report.Print(stdout)
	if s.json != "" {
		err = errors.Join(err, report.WriteFile(s.json))
	}
	return err
}

func scenarios() [][2]string { return proxies.Scenarios() }
