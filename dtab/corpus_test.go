package dtab

import (
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"testing"
)

// corpusCase is a case of testdata/dtab_cases.json, whose "about" list explains the format, or of own_cases.json.
type corpusCase struct {
	ID string
	In struct {
		Input, Dtab, Path, Op, A, B, Body string
	}
	Expect struct {
		OK        bool
		Error     string
		Canonical string
		Elements  []*string `json:"elements_hex"`
		Structure json.RawMessage
		Dentries  []struct{ Prefix, Dst string }
		Tree      string
		Result    string

		Simplified string
		Eval       []string
	}
}

// corpus returns the cases of a group: those that came from outside, and our own.
func corpus(t *testing.T, group string) []corpusCase {
	t.Helper()
	var all []corpusCase
	for _, file := range []string{"testdata/dtab_cases.json", "testdata/own_cases.json"} {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		var read struct {
			Groups map[string]json.RawMessage
			Counts map[string]int
		}
		if err := json.Unmarshal(text, &read); err != nil {
			t.Fatal(err)
		}
		var cases []corpusCase
		if err := json.Unmarshal(read.Groups[group], &cases); err != nil {
			t.Fatal(err)
		}
		if len(cases) == 0 || len(cases) != read.Counts[group] {
			t.Fatalf("%d cases in group %s of %s, want %d", len(cases), group, file, read.Counts[group])
		}
		all = append(all, cases...)
	}
	return all
}

// checkParse compares the outcome of parsing with what the case expects, the error's text included.
func checkParse(t *testing.T, c corpusCase, canonical string, err error) {
	t.Helper()
	switch {
	case c.Expect.OK && err != nil:
		t.Fatalf("error: %v", err)
	case !c.Expect.OK && err == nil:
		t.Fatalf("got %q, want error %q", canonical, c.Expect.Error)
	case !c.Expect.OK && c.Expect.Error != "" && err.Error() != c.Expect.Error:
		t.Fatalf("error\n got %s\nwant %s", err, c.Expect.Error)
	case c.Expect.OK && canonical != c.Expect.Canonical:
		t.Fatalf("got %q, want %q", canonical, c.Expect.Canonical)
	}
}

// structure renders a tree the way the corpus does.
func structure(t Tree[Path]) any {
	switch t.Kind {
	case Neg:
		return "neg"
	case Fail:
		return "fail"
	case Empty:
		return "empty"
	case Leaf:
		return map[string]any{"leaf": t.Leaf.String()}
	}
	children := []any{}
	for _, b := range t.Branches {
		if t.Kind == Union {
			children = append(children, map[string]any{"weight": b.Weight, "tree": structure(b.Tree)})
		} else {
			children = append(children, structure(b.Tree))
		}
	}
	return map[string]any{map[Kind]string{Alt: "alt", Union: "union"}[t.Kind]: children}
}

func checkStructure(t *testing.T, c corpusCase, tree Tree[Path]) {
	t.Helper()
	got, err := json.Marshal(structure(tree))
	if err != nil {
		t.Fatal(err)
	}
	var want any
	if err := json.Unmarshal(c.Expect.Structure, &want); err != nil {
		t.Fatal(err)
	}
	if w, err := json.Marshal(want); err != nil || string(got) != string(w) {
		t.Fatalf("structure\n got %s\nwant %s %v", got, w, err)
	}
}

func TestCorpusPathParse(t *testing.T) {
	for _, c := range corpus(t, "path_parse") {
		t.Run(c.ID, func(t *testing.T) {
			p, err := ParsePath(c.In.Input)
			checkParse(t, c, p.String(), err)
			checkElements(t, c, len(p), func(i int) string { return hex.EncodeToString([]byte(p[i])) })
		})
	}
}

func TestCorpusPrefixParse(t *testing.T) {
	for _, c := range corpus(t, "prefix_parse") {
		t.Run(c.ID, func(t *testing.T) {
			p, err := ParsePrefix(c.In.Input)
			checkParse(t, c, p.String(), err)
			checkElements(t, c, len(p), func(i int) string {
				if p[i].Wild {
					return "*"
				}
				return hex.EncodeToString([]byte(p[i].Label))
			})
		})
	}
}

func checkElements(t *testing.T, c corpusCase, n int, element func(int) string) {
	t.Helper()
	if n != len(c.Expect.Elements) {
		t.Fatalf("%d elements, want %d", n, len(c.Expect.Elements))
	}
	for i, want := range c.Expect.Elements {
		if want == nil {
			want = new("*")
		}
		if element(i) != *want {
			t.Errorf("element %d: got %s, want %s", i, element(i), *want)
		}
	}
}

func TestCorpusTreeParse(t *testing.T) {
	for _, c := range corpus(t, "tree_parse") {
		t.Run(c.ID, func(t *testing.T) {
			tree, err := ParseTree(c.In.Input)
			checkParse(t, c, TreeString(tree), err)
			if c.Expect.OK {
				checkStructure(t, c, tree)
			}
		})
	}
}

func TestCorpusDtabParse(t *testing.T) {
	for _, c := range corpus(t, "dtab_parse") {
		t.Run(c.ID, func(t *testing.T) {
			d, err := Parse(c.In.Input)
			checkParse(t, c, d.String(), err)
			if len(d) != len(c.Expect.Dentries) {
				t.Fatalf("%d entries, want %d", len(d), len(c.Expect.Dentries))
			}
			for i, want := range c.Expect.Dentries {
				if d[i].Prefix.String() != want.Prefix || TreeString(d[i].Dst) != want.Dst {
					t.Errorf("entry %d: got %v, want %v", i, d[i], want)
				}
			}
		})
	}
}

func TestCorpusLookup(t *testing.T) {
	for _, c := range corpus(t, "lookup") {
		t.Run(c.ID, func(t *testing.T) {
			tree := mustParse(t, c.In.Dtab).Lookup(MustParsePath(c.In.Path))
			if got := TreeString(tree); got != c.Expect.Tree {
				t.Errorf("got %s, want %s", got, c.Expect.Tree)
			}
			checkStructure(t, c, tree)
		})
	}
}

func TestCorpusTreeEval(t *testing.T) {
	for _, c := range corpus(t, "tree_eval") {
		t.Run(c.ID, func(t *testing.T) {
			tree, err := ParseTree(c.In.Input)
			if err != nil {
				t.Fatal(err)
			}
			s := tree.Simplified()
			if got := TreeString(s); got != c.Expect.Simplified {
				t.Errorf("simplified: got %s, want %s", got, c.Expect.Simplified)
			}
			checkStructure(t, c, s)
			for _, tree := range []Tree[Path]{tree, s} {
				var got []string
				leaves, ok := tree.Eval()
				if ok {
					got = []string{}
				}
				for _, l := range leaves {
					got = append(got, l.String())
				}
				slices.Sort(got)
				if got = slices.Compact(got); fmt.Sprintf("%#v", got) != fmt.Sprintf("%#v", c.Expect.Eval) {
					t.Errorf("%s evaluates to %#v, want %#v", TreeString(tree), got, c.Expect.Eval)
				}
			}
		})
	}
}

func TestCorpusDtabOps(t *testing.T) {
	for _, c := range corpus(t, "dtab_ops") {
		t.Run(c.ID, func(t *testing.T) {
			a, b := mustParse(t, c.In.A), mustParse(t, c.In.B)
			var d Dtab
			switch c.In.Op {
			case "concat":
				d = a.Concat(b)
			case "strip_prefix":
				d = a.StripPrefix(b)
			case "simplified":
				d = a.Simplified()
			default:
				t.Fatalf("unknown operation %q", c.In.Op)
			}
			if got := d.String(); got != c.Expect.Result {
				t.Errorf("got %s, want %s", got, c.Expect.Result)
			}
		})
	}
}

func TestCorpusJSONCodec(t *testing.T) {
	for _, c := range corpus(t, "json_codec") {
		t.Run(c.ID, func(t *testing.T) {
			var d Dtab
			err := json.Unmarshal([]byte(c.In.Body), &d)
			checkParse(t, c, d.String(), err)
			if err != nil {
				return
			}
			body, err := json.Marshal(d)
			if err != nil {
				t.Fatal(err)
			}
			var again Dtab
			if err := json.Unmarshal(body, &again); err != nil || again.String() != d.String() { // weights may be rounded
				t.Errorf("%s does not read back: %v", body, err)
			}
		})
	}
}

func mustParse(t *testing.T, s string) Dtab {
	t.Helper()
	d, err := Parse(s)
	if err != nil {
		t.Fatalf("parse %q: %v", s, err)
	}
	return d
}
