package dtab

import (
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"testing"
)

func TestWeightsPrintAsJavaDoes(t *testing.T) {
	for _, c := range []struct {
		w    float64
		want string
	}{
		{0.125, "0.13"}, {0.625, "0.63"}, {0.015, "0.02"}, {1.005, "1.01"}, {0.001, "0.00"}, {0.999, "1.00"},
		{0.005, "0.01"}, {0.0049999, "0.00"}, {9.995, "10.00"}, {99.999, "100.00"}, {0, "0.00"}, {3, "3.00"}, {0.3, "0.30"},
		{1e10, "10000000000.00"}, {1e-300, "0.00"}, {2.675, "2.68"}, {0.045, "0.05"}, {1e22, "10000000000000000000000.00"},
	} {
		if got := weightString(c.w); got != c.want {
			t.Errorf("%v prints as %s, want %s", c.w, got, c.want)
		}
	}
}

func TestExactWeightIsKept(t *testing.T) {
	d := mustParse(t, "/a => 0.001*/b & 0.9994*/c")
	if w := d[0].Dst.Branches[0].Weight; w != 0.001 {
		t.Errorf("got weight %v", w)
	}
	if d.WeightsKept() {
		t.Error("weights that change in print are not reported")
	}
	if !mustParse(t, "/a => 0.01*/b & 99.5*(/c & .25*/d)").WeightsKept() {
		t.Error("weights that print as they are reported as changing")
	}
}

func TestErrorPosition(t *testing.T) {
	for _, c := range []struct {
		text         string
		line, column int
	}{
		{"/a => /b;\n/c = > /d", 2, 5},
		{"x", 1, 1},
		{"/a => /b;\n/c =>", 2, 6},
		{"/a => /b; # é\n/é => /b", 2, 2},
		{"/a => /b\u2003\u2003^", 1, 11},
	} {
		_, err := Parse(c.text)
		var e *SyntaxError
		if !errors.As(err, &e) {
			t.Errorf("%q: got %v", c.text, err)
			continue
		}
		if e.Line() != c.line || e.Column() != c.column {
			t.Errorf("%q: error at %d:%d, want %d:%d", c.text, e.Line(), e.Column(), c.line, c.column)
		}
	}
}

func TestJavaWhiteSpace(t *testing.T) {
	for _, r := range "\t\n\v\f\r\x1c\x1d\x1e\x1f \u1680\u2000\u2006\u2008\u200a\u2028\u2029\u205f\u3000" {
		if _, err := ParsePath(string(r) + "/a" + string(r)); err != nil {
			t.Errorf("%U is not read as white space: %v", r, err)
		}
	}
	for _, r := range "\u0085\u00a0\u2007\u202f\u200b\ufeff\u180e\x1b\x00" {
		if _, err := ParsePath(string(r) + "/a"); err == nil {
			t.Errorf("%U is read as white space", r)
		}
	}
}

func TestHugeWeightIsRefused(t *testing.T) {
	if _, err := ParseTree(strings.Repeat("9", 400) + "*/a & /b"); err == nil {
		t.Error("a weight that is infinite was accepted")
	}
}

func TestConcatDoesNotShare(t *testing.T) {
	p := append(make(Path, 0, 8), "a")
	q, r := p.Concat(Path{"b"}), p.Concat(Path{"c"})
	if q[1] != "b" || r[1] != "c" {
		t.Errorf("got %v and %v", q, r)
	}
	all := p.Concat()
	all[0] = "changed"
	if p[0] != "a" {
		t.Error("Concat of one path shares it")
	}
}

func TestOneChildTreesPrintAsTheChild(t *testing.T) {
	a := LeafOf(Path{"a"})
	one := func(k Kind, t Tree[Path]) Tree[Path] { return Tree[Path]{Kind: k, Branches: []Branch[Path]{{2, t}}} }
	two := Tree[Path]{Kind: Alt, Branches: []Branch[Path]{{1, a}, {1, a}}}
	for _, c := range []struct {
		tree Tree[Path]
		want string
	}{
		{one(Alt, a), "/a"}, {one(Union, one(Alt, a)), "/a"}, {Tree[Path]{Kind: Alt}, "~"}, {Tree[Path]{Kind: Union}, "~"},
		{Tree[Path]{Kind: Union, Branches: []Branch[Path]{{1, one(Union, two)}, {2, a}}}, "(/a | /a) & 2.00*/a"},
		{Tree[Path]{Kind: Alt, Branches: []Branch[Path]{{0, one(Alt, two)}, {0, a}}}, "(/a | /a) | /a"},
	} {
		if got := TreeString(c.tree); got != c.want {
			t.Errorf("got %s, want %s", got, c.want)
		}
	}
	if got := one(Union, Tree[Path]{Kind: Fail}).Simplified(); got.Kind != Fail {
		t.Errorf("a union of one fail simplifies to %s", TreeString(got))
	}
}

func TestJSONRefuses(t *testing.T) {
	for _, body := range []string{
		`null`, ``, `{}`, `[{}]`, `[{"prefix":"/a"}]`, `[{"dst":"/a"}]`, `[{"prefix":"/a","dst":null}]`,
		`[{"prefix":"/a","dst":"/b","x":1}]`, `[{"prefix":"/a","dst":"/b;"}]`, `[{"prefix":"/a=>","dst":"/b"}]`,
		`[{"prefix":"/a","dst":"/b"}] x`, `[{"prefix":1,"dst":"/b"}]`,
	} {
		var d Dtab
		if err := json.Unmarshal([]byte(body), &d); err == nil {
			t.Errorf("%s was read as %v", body, d)
		}
	}
	var d Dtab
	if err := json.Unmarshal([]byte(`[{"dst":" # c\n /b & 2*/c ","prefix":" /a/* "}]`), &d); err != nil || d.String() != "/a/*=>/b & 2.00*/c" {
		t.Errorf("got %v, %v", d, err)
	}
	body, err := d.MarshalJSON()
	if want := `[{"prefix":"/a/*","dst":"/b & 2.00*/c"}]`; err != nil || string(body) != want {
		t.Errorf("got %s, %v, want %s", body, err, want)
	}
	if body, err := json.Marshal(Dtab(nil)); err != nil || string(body) != "[]" {
		t.Errorf("the empty table is %s, %v", body, err)
	}
}

func TestLabelBytes(t *testing.T) {
	const want = "#$%-.0123456789:ABCDEFGHIJKLMNOPQRSTUVWXYZ_abcdefghijklmnopqrstuvwxyz"
	var got []byte
	for c := range 256 {
		if labelByte(byte(c)) {
			got = append(got, byte(c))
		}
		p := Path{string([]byte{byte(c)}), "x"}
		if q, err := ParsePath(p.String()); err != nil || !q.Equal(p) {
			t.Errorf("byte %02x does not read back from %s: %v", c, p, err)
		}
	}
	if slices.Sort(got); string(got) != want {
		t.Errorf("got %s", got)
	}
}
