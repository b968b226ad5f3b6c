package namer_test

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"strings"
	"testing"
	"time"

	"argosy/dtab"
	"argosy/internal/watch"
	"argosy/namer"
)

// explosions are tables under which /a never ends, or takes more work than any name is worth.
func explosions() map[string]string {
	nested := func(open, close string, n int) string {
		return strings.Repeat(open, n) + "/a/x" + strings.Repeat(close, n)
	}
	combinations := func(n int) string { // every prefix of n elements that are each a label or a wildcard
		var b strings.Builder
		for i := range 1 << n {
			b.WriteString("/a")
			for bit := range n {
				b.WriteString([]string{"/b", "/*"}[i>>bit&1])
			}
			b.WriteString(" => ~ ;")
		}
		return b.String()
	}
	return map[string]string{
		"doubling":            "/a => /a/x & /a/y",
		"tripling or another": "/a => /a/x & /a/y & /a/z | /b",
		"alternatives":        "/a => (~ & /a/x) | /a/y | /a/z",
		"negative branches":   "/a => ~ & /a/x | /a/y | /a/z",
		"both":                "/a => (/a/x | /a/y) & (/a/z | /a/u)",
		"a tree":              "/ => /a & /b & /c & (/d | /e)",
		"wide":                "/a => " + strings.Repeat("/a & ", 5000) + "/a",
		"wide alternatives":   "/a => " + strings.Repeat("(~ & /a) | ", 5000) + "/a",
		"wide and nothing":    "/a => (" + strings.Repeat("~ | ", 100_000) + "/a) & /a",
		"in circles":          "/a => /b & /b & /b & /b; /b => /c & /c & /c & /c; /c => /a & /a",
		"the root":            "/ => / & /",
		"growing":             "/a => /a" + strings.Repeat("/x", 10_000),
		"growing in two":      "/a => /a" + strings.Repeat("/x", 1000) + " & /a" + strings.Repeat("/y", 1000),
		"deep alternatives":   "/a => " + nested("(~ | ", ")", 900),
		"deep unions":         "/a => " + nested("(/#/none & ", ")", 900),
		"deep and wide":       "/a => " + nested("(/a & ~ | ", " | ~ & ~)", 300),
		"many entries":        strings.Repeat("/a => /a/x & /a/y; ", 3000),
		"negative entries":    "/a => /a/x & /a/y; " + strings.Repeat("/a => ~ | ~; ", 10_000),
		"wildcards":           combinations(12) + "/a => /a/b/b/b/b/b/b & /a/b/b/b/b/b/b/b/b/b/b/b/b/c",
		"long labels":         "/b => " + strings.Repeat("/$/inet/1 & ", 9000) + "~; /a => /b/" + strings.Repeat("x", 1<<16),
		"rewriting":           "/a => /$/io.buoyant.http.anyMethod/GET/a/x & /$/io.buoyant.http.domainToPath/a",
		"domains":             "/a => /$/io.buoyant.http.domainToPath/" + strings.Repeat("x.", 5000) + "a & /a",
	}
}

// slowest is how long giving up may take here: it is some tens of milliseconds where nothing else runs.
const slowest = 5 * time.Second

// allowed is how much memory giving up may take, in bytes, all that is allocated and freed on the way included.
const allowed = 256 << 20

func TestExplosionsEnd(t *testing.T) {
	for about, text := range explosions() {
		t.Run(about, func(t *testing.T) {
			in := interpreterUnder(t, text)
			took, memory := measured(func() {
				b, _ := in.Bind(t.Context(), dtab.MustParsePath("/a")).Load()
				var e *namer.RecursionError
				if b.Status != namer.Failed || !errors.As(b.Err, &e) || !strings.HasPrefix(b.Err.Error(), "Max recursion level") {
					t.Errorf("bind: got %s, %v", b.Status, b.Err)
				}
			})
			check(t, "bind", took, memory)
			took, memory = measured(func() {
				x, err := in.Explain(context.Background(), dtab.MustParsePath("/a"))
				if err == nil && !tellsOfRecursion(x.Root) {
					t.Error("explain: no error")
				}
			})
			check(t, "explain", took, memory)
		})
	}
}

// Going down takes memory, too: what is written with many parentheses is stopped before a hundred lookups of it are
// around one another.
func TestNestingIsBounded(t *testing.T) {
	in := interpreterUnder(t, explosions()["deep alternatives"])
	b, _ := in.Bind(t.Context(), dtab.MustParsePath("/a")).Load()
	var e *namer.RecursionError
	if !errors.As(b.Err, &e) || e.Lookups == 0 {
		t.Errorf("got %v", b.Err)
	}
}

func tellsOfRecursion(s namer.Step) bool {
	if s.Kind == namer.StepException && strings.HasPrefix(s.Err.Error(), "Max recursion level") {
		return true
	}
	for _, c := range s.Steps {
		if tellsOfRecursion(c) {
			return true
		}
	}
	return false
}

func interpreterUnder(t *testing.T, text string) *namer.Interpreter {
	t.Helper()
	d, err := dtab.Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	table := namer.Table(d, nil)
	in := namer.NewInterpreter(namer.Options{Dtab: watch.Fixed(table)})
	t.Cleanup(in.Close)
	in.Bind(t.Context(), dtab.Path{"something"}) // compiles the table
	return in
}

func measured(f func()) (took time.Duration, bytes uint64) {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	begun := time.Now()
	f()
	took = time.Since(begun)
	runtime.ReadMemStats(&after)
	return took, after.TotalAlloc - before.TotalAlloc
}

func check(t *testing.T, what string, took time.Duration, memory uint64) {
	t.Helper()
	t.Logf("%s: %v, %d kB", what, took, memory>>10)
	if took > slowest {
		t.Errorf("%s took %v", what, took)
	}
	if memory > allowed {
		t.Errorf("%s took %d MB", what, memory>>20)
	}
}

// What is only large must be bound: the budget is not for tables that people write.
func TestLargeTablesAreWithinTheBudget(t *testing.T) {
	var services, everywhere []string
	for i := range 3000 {
		services = append(services, fmt.Sprintf("/$/inet/10.0.0.1/%d", i+1))
		everywhere = append(everywhere, fmt.Sprintf("/svc => /dc%d", i))
	}
	for about, c := range map[string]struct{ text, name string }{
		"a union of 3000":         {"/svc => " + strings.Join(services, " & "), "/svc"},
		"3000 alternatives":       {"/svc => " + strings.Repeat("/none | ", 3000) + "/$/inet/10.0.0.1/80", "/svc"},
		"3000 entries that match": {"/svc/a => /$/inet/10.0.0.1/80; " + strings.Join(everywhere, "; "), "/svc/a"},
		"99 rewrites":             {chain(98) + "; /r98 => /$/inet/10.0.0.1/80", "/r0" + strings.Repeat("/x", 50)},
		"900 parentheses":         {"/svc => " + strings.Repeat("(~ | ", 900) + "/$/inet/10.0.0.1/80" + strings.Repeat(")", 900), "/svc"},
	} {
		in := interpreterUnder(t, c.text)
		b, _ := in.Bind(t.Context(), dtab.MustParsePath(c.name)).Load()
		if b.Status != namer.OK || len(b.Clusters) == 0 {
			t.Errorf("%s: %s, %v", about, b.Status, b.Err)
		}
		if _, err := in.Explain(t.Context(), dtab.MustParsePath(c.name)); err != nil {
			t.Errorf("%s: explain: %v", about, err)
		}
	}
}

// chain rewrites /r0 to /r1 and so on, n times.
func chain(n int) string {
	var b strings.Builder
	for i := range n {
		if i > 0 {
			b.WriteString("; ")
		}
		fmt.Fprintf(&b, "/r%d => /r%d", i, i+1)
	}
	return b.String()
}
