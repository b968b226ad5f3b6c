package dtab

import (
	"encoding/json"
	"errors"
	"runtime"
	"strings"
	"testing"
	"time"
)

// Whatever the input, reading takes memory that is linear in its length, and no more time than that.
func TestHugeInputs(t *testing.T) {
	const n = 1 << 17
	for about, c := range map[string]struct {
		text string
		err  string // the start of the error; empty: reads
	}{
		"entries":               {strings.Repeat("/a=>/b;", n), ""},
		"an error at the end":   {strings.Repeat("/a=>/b;\n", n) + "/é=>/b", "'=' expected but 'é' found at '..."},
		"an error in one line":  {strings.Repeat("/a=>/b;", n) + "^", "'/' expected but '^' found at '..."},
		"an error at the start": {"^" + strings.Repeat("/a=>/b;", n), "'/' expected but '^' found at '[^]/a=>/b;"},
		"elements":              {"/a => " + strings.Repeat("/b", n), ""},
		"slashes":               {"/a => " + strings.Repeat("/", n), "end of input expected but '/' found"},
		"wildcards":             {strings.Repeat("/*", n) + " => /b", ""},
		"one element":           {"/a => /" + strings.Repeat("b", n), ""},
		"escapes":               {"/a => /" + strings.Repeat(`\x20`, n), ""},
		"alternatives":          {"/a => " + strings.Repeat("~|", n) + "~", ""},
		"branches":              {"/a => " + strings.Repeat("2*/b & ", n) + "~", ""},
		"digits":                {"/a => 0." + strings.Repeat("7", n) + " * /b & /c", ""},
		"too many digits":       {"/a => " + strings.Repeat("7", n) + " * /b & /c", "weight below 1.8e308 expected"},
		"parentheses":           {"/a => " + strings.Repeat("(", n), "no more than 1000 open parentheses expected"},
		"pairs of them":         {"/a => " + strings.Repeat("(/a) | ", n) + "~", ""},
		"deep again and again":  {strings.Repeat("/a => "+strings.Repeat("(", 900)+"/b"+strings.Repeat(")", 900)+";", n/1800), ""},
		"white space":           {strings.Repeat(" \u2003\n", n), ""},
		"comments":              {strings.Repeat("#;\n", n), ""},
		"one comment":           {"/a => /b #" + strings.Repeat("^", n), ""},
		"not UTF-8":             {strings.Repeat("\xff", n), "'/' expected"},
		"NUL":                   {strings.Repeat("\x00", n), "'/' expected"},
	} {
		t.Run(about, func(t *testing.T) {
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			begun := time.Now()
			d, err := Parse(c.text)
			var e *SyntaxError
			switch {
			case err == nil && c.err != "":
				t.Errorf("reads as %d entries", len(d))
			case err != nil && (c.err == "" || !strings.HasPrefix(err.Error(), c.err) || !errors.As(err, &e)):
				t.Errorf("got %.200v", err)
			case err != nil:
				if len(err.Error()) > 3*longestShown || e.Line() < 1 || e.Column() < 1 {
					t.Errorf("an error of %d bytes at %d:%d", len(err.Error()), e.Line(), e.Column())
				}
			}
			took := time.Since(begun)
			runtime.ReadMemStats(&after)
			// A node takes 64 bytes and may be written with two characters, and a list that grows is copied.
			if per := float64(after.TotalAlloc-before.TotalAlloc) / float64(len(c.text)); per > 250 {
				t.Errorf("%.0f bytes of memory for each of the input", per)
			}
			if took > time.Minute {
				t.Errorf("took %v", took)
			}
			if err == nil && !mustParse(t, d.String()).Equal(d) && d.WeightsKept() {
				t.Error("does not read back")
			}
		})
	}
}

func TestHugeJSON(t *testing.T) {
	begun := time.Now()
	body := "[" + strings.Repeat(`{"prefix":"/a","dst":"/b | /c"},`, 50_000) + `{"prefix":"/a","dst":"/b"}]`
	var d Dtab
	if err := json.Unmarshal([]byte(body), &d); err != nil || len(d) != 50_001 {
		t.Fatalf("%d entries, %v", len(d), err)
	}
	if again, err := d.MarshalJSON(); err != nil || len(again) > 2*len(body) {
		t.Errorf("%d bytes, %v", len(again), err)
	}
	if took := time.Since(begun); took > time.Minute {
		t.Errorf("took %v", took)
	}
}

// Everything that goes through a tree does so by recursion; the deepest that parses is no trouble to any of it.
func TestDeepestTrees(t *testing.T) {
	for _, open := range []string{"(/a | ", "(/a & ", "(~ | ", "(! & ", "2*(/a & "} {
		text := strings.Repeat(open, deepest) + "/b & $" + strings.Repeat(")", deepest)
		tree, err := ParseTree(text)
		if err != nil {
			t.Fatal(err)
		}
		d := Dtab{{Prefix: Prefix{}, Dst: tree}}
		again, err := ParseTree(TreeString(tree))
		if err != nil || !EqualTrees(tree, again, Path.Equal) {
			t.Errorf("%s...: does not read back: %v", open, err)
		}
		simple := tree.Simplified()
		if !EqualTrees(simple, simple.Simplified(), Path.Equal) {
			t.Errorf("%s...: simplified is not simple", open)
		}
		leaves, ok := tree.Eval()
		if simpleLeaves, simpleOK := simple.Eval(); ok != simpleOK || len(leaves) != len(simpleLeaves) {
			t.Errorf("%s...: comes to %d leaves, simplified to %d", open, len(leaves), len(simpleLeaves))
		}
		if got := d.Lookup(Path{"x"}); !EqualTrees(NewIndex(d).Lookup(Path{"x"}), got, Path.Equal) {
			t.Errorf("%s...: lookups differ", open)
		}
		body, err := d.MarshalJSON()
		if err != nil {
			t.Fatal(err)
		}
		var decoded Dtab
		if err := json.Unmarshal(body, &decoded); err != nil || !decoded.Equal(d) {
			t.Errorf("%s...: JSON does not read back: %v", open, err)
		}
	}
}
