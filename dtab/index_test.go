package dtab

import (
	"fmt"
	"math/rand/v2"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"
)

// TestIndexFindsWhatTheScanFinds is the law of the index, on random tables over few labels, so that much matches.
func TestIndexFindsWhatTheScanFinds(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	labels := []string{"a", "b", "*", "c", "\xff/"}
	dsts := []string{"/x", "~", "!", "$", "/x | /y", "2*/x & /y", "~ | ~"}
	matched := 0
	for range 1000 {
		var d Dtab
		for range r.IntN(12) {
			var p Prefix
			for range r.IntN(5) {
				label := labels[r.IntN(len(labels))]
				p = append(p, Elem{Wild: label == "*" && r.IntN(4) > 0, Label: label})
			}
			dst, err := ParseTree(dsts[r.IntN(len(dsts))])
			if err != nil {
				t.Fatal(err)
			}
			d = append(d, Dentry{Prefix: p, Dst: dst})
		}
		x := NewIndex(d)
		for range 10 {
			var path Path
			for range r.IntN(6) {
				path = append(path, labels[r.IntN(len(labels))])
			}
			got, want := x.Lookup(path), d.Lookup(path)
			if !EqualTrees(got, want, Path.Equal) {
				t.Fatalf("%s under %s: got %s, want %s", path, d, TreeString(got), TreeString(want))
			}
			entries, _ := x.Match(path)
			matched += len(entries)
			if !slices.IsSortedFunc(entries, func(a, b int) int { return b - a }) {
				t.Fatalf("%s under %s: entries %v are not the last first", path, d, entries)
			}
		}
	}
	if matched < 4000 {
		t.Errorf("only %d matches: the tables test nothing", matched)
	}
}

// wideTable has n services below /svc, and rewrites on the way there.
func wideTable(n int) string {
	var b strings.Builder
	b.WriteString("/a1 => /a2; /a2 => /a3; /a3 => /a4; /a4 => /svc;\n")
	for i := range n - 4 {
		fmt.Fprintf(&b, "/svc/service-%d => /#/io.l5d.consul/dc1/service-%d;\n", i, i)
	}
	return b.String()
}

func TestIndexVisitsFewNodes(t *testing.T) {
	x := NewIndex(mustParse(t, wideTable(10_000)))
	entries, visited := x.Match(MustParsePath("/svc/service-77/more"))
	if len(entries) != 1 || x.Dtab()[entries[0]].Prefix.String() != "/svc/service-77" {
		t.Errorf("got %v", entries)
	}
	if visited > 3 {
		t.Errorf("looked at %d nodes", visited)
	}
}

// A table of wildcards and labels in all combinations is the worst there is; Match says what it cost.
func TestIndexCountsItsWork(t *testing.T) {
	var b strings.Builder
	for i := range 1 << 12 {
		for bit := range 12 {
			b.WriteString([]string{"/a", "/*"}[i>>bit&1])
		}
		b.WriteString("/z => /x;")
	}
	entries, visited := NewIndex(mustParse(t, b.String())).Match(MustParsePath("/a/a/a/a/a/a/a/a/a/a/a/a/b"))
	if len(entries) != 0 || visited != 1<<13-1 {
		t.Errorf("%d entries, %d visited", len(entries), visited)
	}
}

func TestIndexOfAMillionEntries(t *testing.T) {
	begun := time.Now()
	d := mustParse(t, strings.Repeat("/svc/a => /b;", 500_000)+strings.Repeat("/* => /c;", 500_000))
	entries, visited := NewIndex(d).Match(Path{"svc", "a"})
	if len(entries) != 1_000_000 || entries[0] != 999_999 || visited != 4 {
		t.Errorf("%d entries, %d visited", len(entries), visited)
	}
	if took := time.Since(begun); took > time.Minute {
		t.Errorf("took %v", took)
	}
}

// Prefixes may be as long as a table, and finding one must not take a stack of that size, which has a limit.
func TestIndexOfLongPrefixes(t *testing.T) {
	const n = 1 << 20
	d := mustParse(t, strings.Repeat("/*", n)+" => /x; "+strings.Repeat("/a", n)+" => /y; /* => /z")
	x, path := NewIndex(d), MustParsePath(strings.Repeat("/a", n))
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	entries, visited := x.Match(path)
	runtime.ReadMemStats(&after)
	if !slices.Equal(entries, []int{2, 1, 0}) || visited != 2*n+1 {
		t.Errorf("%v, %d visited", entries, visited)
	}
	if more := int64(after.StackSys) - int64(before.StackSys); more > 8<<20 {
		t.Errorf("a stack of %d MB", more>>20)
	}
}

func BenchmarkParse10000(b *testing.B) {
	text := wideTable(10_000)
	b.SetBytes(int64(len(text)))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := Parse(text); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkPrint10000(b *testing.B) {
	d, err := Parse(wideTable(10_000))
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		_ = d.String()
	}
}

func BenchmarkNewIndex10000(b *testing.B) {
	d, err := Parse(wideTable(10_000))
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		NewIndex(d)
	}
}

func BenchmarkLookup10000(b *testing.B) {
	d, err := Parse(wideTable(10_000))
	if err != nil {
		b.Fatal(err)
	}
	x, path := NewIndex(d), MustParsePath("/svc/service-4711/rest")
	b.Run("index", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			x.Lookup(path)
		}
	})
	b.Run("scan", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			d.Lookup(path)
		}
	})
}
