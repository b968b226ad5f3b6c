package dtab

import (
	"encoding/json"
	"testing"
)

// The law of all fuzz tests: what parses prints back to an equal value. Weights are rounded in print, so they are compared
// as rounded; what was read back once changes no more.

func seeds(f *testing.F, groups ...string) {
	f.Helper()
	var t testing.T // corpus reports to it; a broken corpus fails the corpus tests
	for _, g := range groups {
		for _, c := range corpus(&t, g) {
			f.Add(c.In.Input)
		}
	}
	for _, s := range []string{"/", "/\\xff\\x00", "((((/a))))", "1.005*/a & .5*/b", "0.999*/a & 0.001*/b", "/a=>0.996*/b&/c", "/a=>/b;", "\xff", "/\xc3", "/*/\\x2a=>$"} {
		f.Add(s)
	}
}

func FuzzParsePath(f *testing.F) {
	seeds(f, "path_parse", "prefix_parse")
	f.Fuzz(func(t *testing.T, s string) {
		p, err := ParsePath(s)
		if err != nil {
			checkError(t, err, s)
		} else if q, err := ParsePath(p.String()); err != nil || !q.Equal(p) || q.String() != p.String() {
			t.Errorf("%q: %s reads back as %s, %v", s, p, q, err)
		}
		x, err := ParsePrefix(s)
		if err != nil {
			checkError(t, err, s)
		} else if y, err := ParsePrefix(x.String()); err != nil || !y.Equal(x) {
			t.Errorf("%q: prefix %s reads back as %s, %v", s, x, y, err)
		}
	})
}

func FuzzParseTree(f *testing.F) {
	seeds(f, "tree_parse", "tree_eval")
	f.Fuzz(func(t *testing.T, s string) {
		tree, err := ParseTree(s)
		if err != nil {
			checkError(t, err, s)
			return
		}
		checkTree(t, tree)
		simple := tree.Simplified()
		if again := simple.Simplified(); !EqualTrees(simple, again, Path.Equal) {
			t.Errorf("%s simplifies to %s and then to %s", TreeString(tree), TreeString(simple), TreeString(again))
		}
		_, ok := tree.Eval()
		if _, ok2 := simple.Eval(); ok != ok2 {
			t.Errorf("simplifying %s changes what it comes to", TreeString(tree))
		}
	})
}

func checkTree(t *testing.T, tree Tree[Path]) {
	t.Helper()
	text := TreeString(tree)
	again, err := ParseTree(text)
	if err != nil {
		t.Fatalf("%s does not read back: %v", text, err)
	}
	if !sameAsPrinted(tree, again) || weightsKept(tree) && !EqualTrees(tree, again, Path.Equal) {
		t.Fatalf("%s reads back as %s", text, TreeString(again))
	}
	if third, err := ParseTree(TreeString(again)); err != nil || !EqualTrees(again, third, Path.Equal) {
		t.Fatalf("%s, read back once, reads back as %s, %v", TreeString(again), TreeString(third), err)
	}
}

// sameAsPrinted compares shape, leaves and printed weights.
func sameAsPrinted(a, b Tree[Path]) bool {
	if a.Kind != b.Kind || !a.Leaf.Equal(b.Leaf) || len(a.Branches) != len(b.Branches) {
		return false
	}
	for i := range a.Branches {
		if a.Kind == Union && weightString(a.Branches[i].Weight) != weightString(b.Branches[i].Weight) ||
			!sameAsPrinted(a.Branches[i].Tree, b.Branches[i].Tree) {
			return false
		}
	}
	return true
}

func FuzzParse(f *testing.F) {
	seeds(f, "dtab_parse", "tree_parse")
	f.Fuzz(func(t *testing.T, s string) {
		d, err := Parse(s)
		if err != nil {
			checkError(t, err, s)
			return
		}
		again, err := Parse(d.String())
		if err != nil || len(again) != len(d) || d.WeightsKept() && !again.Equal(d) {
			t.Fatalf("%s reads back as %s, %v", d, again, err)
		}
		for i := range d {
			if !d[i].Prefix.Equal(again[i].Prefix) || !sameAsPrinted(d[i].Dst, again[i].Dst) {
				t.Fatalf("entry %s reads back as %s", d[i], again[i])
			}
		}
		body, err := json.Marshal(d)
		if err != nil {
			t.Fatal(err)
		}
		var decoded Dtab
		if err := json.Unmarshal(body, &decoded); err != nil || !decoded.Equal(again) {
			t.Fatalf("%s decodes to %s, %v", body, decoded, err)
		}
	})
}

func checkError(t *testing.T, err error, input string) {
	t.Helper()
	e, ok := err.(*SyntaxError)
	if !ok || e.Offset < 0 || e.Offset > len(input) || e.Error() == "" || e.Line() < 1 || e.Column() < 1 {
		t.Errorf("%q: error %#v", input, err)
	}
}

// What decodes encodes to what decodes to an equal table, and the text of an entry is read as everywhere else.
func FuzzUnmarshalJSON(f *testing.F) {
	var t testing.T
	for _, c := range corpus(&t, "json_codec") {
		f.Add(c.In.Body)
	}
	for _, c := range corpus(&t, "dtab_parse") {
		body, _ := json.Marshal([]jsonDentry{{Prefix: "/a", Dst: c.In.Input}})
		f.Add(string(body))
	}
	f.Add(`[{"prefix":" /a/* # c","dst":"0.005*/b & (~ | /\\xff)"},{"Prefix":"/","dst":null}]`)
	f.Fuzz(func(t *testing.T, body string) {
		var d Dtab
		if err := json.Unmarshal([]byte(body), &d); err != nil {
			return
		}
		again, err := d.MarshalJSON()
		if err != nil {
			t.Fatal(err)
		}
		var decoded Dtab
		if err := json.Unmarshal(again, &decoded); err != nil || len(decoded) != len(d) || d.WeightsKept() && !decoded.Equal(d) {
			t.Fatalf("%s encodes to %s, %v", body, again, err)
		}
		if parsed, err := Parse(d.String()); err != nil || !parsed.Equal(decoded) {
			t.Fatalf("%s is as text %s, %v", body, d, err)
		}
	})
}

// The index finds what the scan finds.
func FuzzIndex(f *testing.F) {
	var t testing.T
	for _, c := range corpus(&t, "lookup") {
		f.Add(c.In.Dtab, c.In.Path)
	}
	f.Fuzz(func(t *testing.T, table, name string) {
		d, err := Parse(table)
		path, err2 := ParsePath(name)
		if err != nil || err2 != nil {
			return
		}
		if got, want := NewIndex(d).Lookup(path), d.Lookup(path); !EqualTrees(got, want, Path.Equal) {
			t.Errorf("%s under %s: got %s, want %s", path, d, TreeString(got), TreeString(want))
		}
	})
}
