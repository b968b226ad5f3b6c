//go:build servers

package main

import (
	"encoding/json"
	"strings"
	"testing"

	"argosy/bench/conform/suite"
)

// Every proxy that is installed here starts in each of its variants, and passes bytes on.
func TestAllProxies(t *testing.T) {
	var out, progress strings.Builder
	if code := run(t.Context(), []string{"-all", "-json", "-only", "exchange,server-first,half-close-client,leftovers", "-patience", "10ms"}, &out, &progress); code != 0 {
		t.Fatalf("code %d:\n%s", code, progress.String())
	}
	var columns []column
	if err := json.Unmarshal([]byte(out.String()), &columns); err != nil {
		t.Fatal(err)
	}
	ours := 0
	for _, c := range columns {
		if r := c.Results[0]; r.Status != suite.Pass {
			t.Errorf("%s, %s: %s", c.Proxy, c.Variant, r.Note)
		}
		if strings.HasPrefix(c.Proxy, "argosy") {
			ours++
		}
	}
	if ours != 2*len(variants()) {
		t.Errorf("%d columns are argosy's:\n%s", ours, progress.String())
	}
}
