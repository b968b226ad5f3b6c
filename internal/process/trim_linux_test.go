package process

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"testing"
)

// resident is how much of the program's file is in memory, in KiB.
func resident(t *testing.T) int {
	t.Helper()
	text, err := os.ReadFile("/proc/self/status")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		if rest, ok := strings.CutPrefix(line, "RssFile:"); ok {
			n, err := strconv.Atoi(strings.TrimSpace(strings.TrimSuffix(strings.TrimSpace(rest), "kB")))
			if err != nil {
				t.Fatal(err)
			}
			return n
		}
	}
	t.Fatal("no RssFile")
	return 0
}

func TestTrim(t *testing.T) {
	before := resident(t)
	given, err := Trim()
	if err != nil || given < 1<<20 {
		t.Fatalf("%d bytes given back: %v", given, err)
	}
	if after := resident(t); after >= before {
		t.Errorf("%d KiB of the program resident before, %d after", before, after)
	}
	if got := fmt.Sprintf("%q %v", "still here", []int{1}); got != `"still here" [1]` {
		t.Error(got)
	}
}
