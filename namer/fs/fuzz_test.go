package fs

import (
	"math"
	"strings"
	"testing"
)

// The law: what is read of a file can be written down again, and reads the same.
func FuzzParse(f *testing.F) {
	for _, s := range []string{"", "a 1\n", "# x\n127.1 80 * 0.5 # y\n\n[::1]:2\n", "/run/x.sock * 2", "a 1 * 1e400", "a 1 * 0x1p-2", "\xff 1"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		targets, err := parse(text)
		if err != nil {
			return
		}
		var b strings.Builder
		for _, target := range targets {
			if !(target.Weight >= 0) || math.IsInf(target.Weight, 0) {
				t.Fatalf("%q: %+v", text, target)
			}
			b.WriteString(target.String() + "\n")
		}
		again, err := parse(b.String())
		if err != nil || len(again) != len(targets) {
			t.Fatalf("%q is written as %q and reads as %v, %v", text, b.String(), again, err)
		}
		for i := range again {
			if again[i] != targets[i] {
				t.Fatalf("%q: %+v reads back as %+v", text, targets[i], again[i])
			}
		}
	})
}
