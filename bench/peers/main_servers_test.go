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
		if !r.Holds && !notYet(r.Case) {
			t.Errorf("argosy: %s does not hold: %s", r.Case, r.Why)
		}
	}
	if got, want := strings.Split(table(cases, columns), "\n"), strings.Split(documented(t), "\n"); !t.Failed() {
		for i := range max(len(got), len(want)) {
			if i >= len(got) || i >= len(want) || got[i] != want[i] {
				t.Errorf("docs/security.md is not what was seen (make security renews it), from line %d on:\n%s", i+1, strings.Join(got[min(i, len(got)):], "\n"))
				break
			}
		}
	}
}
