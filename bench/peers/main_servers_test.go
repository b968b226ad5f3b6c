//go:build servers

package main

import (
	"os"
	"strings"
	"testing"

	"argosy/bench/peers/suite"
)

// All cases hold for argosy, and what the page says of the other proxy is so.
func TestPeers(t *testing.T) {
	cases := suite.Cases()
	columns, err := testAll(t.Context(), suite.Config{}, cases, os.Stderr)
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range columns[0].Results {
		if !r.Holds {
			t.Errorf("argosy: %s does not hold: %s", r.Case, r.Why)
		}
	}
	got, want := strings.Split(strings.TrimSpace(table(cases, columns)), "\n"), strings.Split(strings.TrimSpace(documented(t)), "\n")
	for i := range max(len(got), len(want)) {
		g, w := line(got, i), line(want, i)
		if g != w {
			t.Errorf("docs/security.md is not what was seen (make security renews it); it says\n%s\nand it should say\n%s", w, g)
			break // the footnotes that follow have other numbers
		}
	}
}

func line(of []string, i int) string {
	if i < len(of) {
		return of[i]
	}
	return "(nothing)"
}
