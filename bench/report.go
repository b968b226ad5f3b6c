package main

import (
	"fmt"
	"os"
	"strings"

	"argosy/bench/proxies"
)

// writeReport puts the proxies' figures of a run into a page, and draws the chart beside it. Nothing is written unless
// all could be read.
func writeReport(from, page string) error {
	f, err := os.Open(from)
	if err != nil {
		return fmt.Errorf("read a report: %w (make bench ARGS=-quick writes one)", err)
	}
	defer f.Close()
	report, err := proxies.Read(f)
	if err != nil {
		return err
	}
	old, err := os.ReadFile(page)
	if err != nil {
		return fmt.Errorf("write the report: %w", err)
	}
	chart := strings.TrimSuffix(page, ".md") + ".svg"
	text, err := proxies.Insert(string(old), report.Markdown(chart[strings.LastIndexByte(chart, '/')+1:]))
	if err != nil {
		return fmt.Errorf("write the report: %s: %w", page, err)
	}
	if err := os.WriteFile(chart, []byte(report.Chart()), 0o644); err != nil {
		return fmt.Errorf("write the report: %w", err)
	}
	if err := os.WriteFile(page, []byte(text), 0o644); err != nil {
		return fmt.Errorf("write the report: %w", err)
	}
	return nil
}
