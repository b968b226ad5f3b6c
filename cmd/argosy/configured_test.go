package main

import (
	"bytes"
	"strings"
	"testing"
)

// The commands that run until they are told to stop take -config, at least once, and nothing else.
func TestWrongCallsOfServersAreRefused(t *testing.T) {
	for _, name := range []string{"agent", "namerd", "scheduler"} {
		for _, c := range []struct {
			args []string
			want int
			says string
		}{
			{[]string{name}, exitUsage, name + ": -config is missing"},
			{[]string{name, "x.hcl"}, exitUsage, name + `: unexpected argument "x.hcl"`},
			{[]string{name, "-config", "x.hcl", "y.hcl"}, exitUsage, name + `: unexpected argument "y.hcl"`},
			{[]string{name, "-nonsense"}, exitUsage, name + ": flag provided but not defined"},
			{[]string{name, "-config", t.TempDir() + "/missing.hcl"}, exitUsage, "missing.hcl"},
			{[]string{name, "-h"}, exitOK, "Example:"},
		} {
			var out bytes.Buffer
			if got := run(c.args, strings.NewReader(""), &out, &out); got != c.want || !strings.Contains(out.String(), c.says) {
				t.Errorf("argosy %s: %d, not %d, and it says %q, not %q", strings.Join(c.args, " "), got, c.want, out.String(), c.says)
			}
		}
	}
}
