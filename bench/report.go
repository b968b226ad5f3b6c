package main

import (
	"fmt"
	"os"
	"strings"

	"argosy/bench/page"
	"argosy/bench/proxies"
)

// writeReport puts the proxies' figures of a run into a page, and draws the chart beside it. Nothing is written unless
// all could be read.
func writeReport(from, to string) error {
	f, err := os.Open(from)
	if err != nil {
		return fmt.Errorf("read a report: %w (make bench ARGS=-quick writes one)", err)
	}
	defer f.Close()
	report, err := proxies.Read(f)
	if err != nil {
		return err
	}
	chart := strings.TrimSuffix(to, ".md") + ".svg"
	if err := page.Write(to, "make bench-report", report.Markdown(chart[strings.LastIndexByte(chart, '/')+1:])); err != nil {
		return err
	}
	if err := os.WriteFile(chart, []byte(report.Chart()), 0o644); err != nil {
		return fmt.Errorf("write the report: %w", err)
	}
	return nil
}
