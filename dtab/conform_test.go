package dtab

import (
	"encoding/json"
	"strings"
	"testing"
)

// These tests go through the rules of the language one by one, where the corpus has no case or only one. Errors are those
// of Finagle, with the offending character in brackets.

func TestRulesOfPaths(t *testing.T) {
	for _, c := range []struct{ in, want string }{
		{"/", "/"}, {"\t\n/ \r\n", "/"}, {"/a", "/a"}, {"/_:.#$%-/0/Z", "/_:.#$%-/0/Z"},
		{"/#", "/#"}, {"/#/x", "/#/x"}, {"/a#b", "/a#b"}, {"/a #b", "/a"}, {"/a\n#b", "/a"}, {"/ #c", "/"}, {"/#c", "/#c"},
		{"# c\n/a# no comment", "end of input expected but 'n' found at '# c\n/a# [n]o comment'"},
		{"#1\n#2\n /a #3\n#4", "/a"}, {"/a #", "/a"}, {"#\n/a", "/a"}, {"# x\r/a", "'/' expected but end of input found at '# x\r/a[]'"},
		{`/\x66oo`, "/foo"}, {`/f\x6Fo`, "/foo"}, {`/\x2a`, `/\x2a`}, {`/\x2f/\x00/\xfF`, `/\x2f/\x00/\xff`}, {`/\x41\x42`, "/AB"}, {`/a\x20b`, `/\x61\x20\x62`},
		{`/\x5C`, `/\x5c`}, {`/\x7e\x2D`, `/\x7e\x2d`}, {`/\xc3\xa9/x`, `/\xc3\xa9/x`}, {"/%2f", "/%2f"},
		{`/\X41`, `'x' expected but 'X' found at '/\[X]41'`}, {`/\x`, `hex char expected but end of input found at '/\x[]'`},
		{`/\x4`, `hex char expected but end of input found at '/\x4[]'`}, {`/\xg0`, `hex char expected but 'g' found at '/\x[g]0'`},
		{`/\`, `'x' expected but end of input found at '/\[]'`}, {`/\n`, `'x' expected but 'n' found at '/\[n]'`}, {`/a\\`, `'x' expected but '\' found at '/a\[\]'`},
		{`/\x 41`, `hex char expected but ' ' found at '/\x[ ]41'`}, {`\x2fa`, `'/' expected but '\' found at '[\]x2fa'`},
		{"//", "end of input expected but '/' found at '/[/]'"}, {"/*", "end of input expected but '*' found at '/[*]'"},
		{"/foo/", "label char expected but end of input found at '/foo/[]'"}, {"/foo//bar", "label char expected but '/' found at '/foo/[/]bar'"},
		{"/foo/ ", "label char expected but ' ' found at '/foo/[ ]'"}, {"/foo/ bar", "label char expected but ' ' found at '/foo/[ ]bar'"},
		{"/foo/*", "label char expected but '*' found at '/foo/[*]'"}, {"/foo*", "end of input expected but '*' found at '/foo[*]'"},
		{"/foo /bar", "end of input expected but '/' found at '/foo [/]bar'"}, {"", "'/' expected but end of input found at '[]'"},
		{"   ", "'/' expected but end of input found at '   []'"}, {"# only", "'/' expected but end of input found at '# only[]'"},
		{"/a/\n/b", "label char expected but '\n' found at '/a/[\n]/b'"},
		{"/a@b", "end of input expected but '@' found at '/a[@]b'"}, {"/a=b", "end of input expected but '=' found at '/a[=]b'"},
		{"/a,b", "end of input expected but ',' found at '/a[,]b'"}, {"/a+b", "end of input expected but '+' found at '/a[+]b'"},
		{"/a~b", "end of input expected but '~' found at '/a[~]b'"}, {"/a&b", "end of input expected but '&' found at '/a[&]b'"},
		{"/a!b", "end of input expected but '!' found at '/a[!]b'"}, {"/a(b", "end of input expected but '(' found at '/a[(]b'"},
		{"/é", "end of input expected but 'é' found at '/[é]'"}, {"/a/é", "label char expected but 'é' found at '/a/[é]'"}, {"é", "'/' expected but 'é' found at '[é]'"},
		{"/a\u00a0", "end of input expected but '\u00a0' found at '/a[\u00a0]'"}, {"\ufeff/a", "'/' expected but '\ufeff' found at '[\ufeff]/a'"},
		{"/日本", "end of input expected but '日' found at '/[日]本'"}, {"/a😀", "end of input expected but '😀' found at '/a[😀]'"},
	} {
		p, err := ParsePath(c.in)
		checkRule(t, "path", c.in, p.String(), err, c.want)
	}
}

func TestRulesOfPrefixes(t *testing.T) {
	for _, c := range []struct{ in, want string }{
		{"/", "/"}, {"/*", "/*"}, {"/*/a/*", "/*/a/*"}, {" #c\n/* ", "/*"}, {`/\x2a`, `/\x2a`}, {`/\x2a/*`, `/\x2a/*`}, {"/#/io.l5d.*", "end of input expected but '*' found at '/#/io.l5d.[*]'"},
		{"/**", "end of input expected but '*' found at '/*[*]'"}, {"/*a", "end of input expected but 'a' found at '/*[a]'"},
		{"/*/", "label char expected but end of input found at '/*/[]'"}, {"/*//a", "label char expected but '/' found at '/*/[/]a'"},
		{"//", "end of input expected but '/' found at '/[/]'"}, {"*", "'/' expected but '*' found at '[*]'"}, {"/ *", "end of input expected but '*' found at '/ [*]'"},
		{"/a/* # c", "/a/*"}, {"/* #c", "/*"}, {"/*#c", "/*"}, // a comment: the wildcard ends its element
	} {
		p, err := ParsePrefix(c.in)
		checkRule(t, "prefix", c.in, p.String(), err, c.want)
	}
	if MustParsePrefix(`/\x2a`).Equal(MustParsePrefix("/*")) || MustParsePrefix(`/\x2a`).Matches(Path{"a"}) || !MustParsePrefix(`/\x2a`).Matches(Path{"*"}) {
		t.Error("an escaped * is a wildcard")
	}
}

func TestRulesOfTrees(t *testing.T) {
	for _, c := range []struct{ in, want string }{
		{"~", "~"}, {"!", "!"}, {"$", "$"}, {" ( ~ ) ", "~"}, {"(((/)))", "/"}, {"/$/x", "/$/x"}, {"$ | $", "$ | $"},
		{"/a&/b|/c&/d", "/a & /b | /c & /d"}, {"/a & (/b | /c)", "/a & (/b | /c)"}, {"(/a & /b) | /c", "/a & /b | /c"}, {"(/a | /b) | /c", "(/a | /b) | /c"},
		{"(/a & /b) & /c", "(/a & /b) & /c"}, {"((/a | /b))", "/a | /b"}, {"((/a | /b)) & ~", "(/a | /b) & ~"},
		{"2*/a", "/a"}, {"0.3*/a | 0.7*/b", "/a | /b"}, {"(1*/a) & (2*/b)", "/a & /b"}, {"2*(3*/a)", "/a"}, {"2*(3*/a) & /b", "2.00*/a & /b"},
		{"2*(3*/a & 4*/b) & /c", "2.00*(3.00*/a & 4.00*/b) & /c"}, {"2*(3*/a | 4*/b) & /c", "2.00*(/a | /b) & /c"}, {"2*! & 3*~ & 0*$", "2.00*! & 3.00*~ & 0.00*$"},
		{"5.*/a & .5*/b", "5.00*/a & 0.50*/b"}, {"007*/a & 1.000*/b", "7.00*/a & /b"}, {"2 # two\n * # times\n /a & /b", "2.00*/a & /b"}, {"0*/a & 0.*/b & .0*/c", "0.00*/a & 0.00*/b & 0.00*/c"},
		{"( # c\n /a # d\n ) # e", "/a"}, {"/a # x | /b", "/a"}, {"/a#|/b", "/a# | /b"}, {"/ & /", "/ & /"}, {"/|/", "/ | /"},
		{"0.1.2*/a", "number char expected but '.' found at '0.1[.]2*/a'"}, {"..*/a", "number char expected but '.' found at '.[.]*/a'"},
		{".*/a", "weight expected but '.' found at '.[*]/a'"}, {".", "weight expected but '.' found at '.[]'"}, {"5", "'*' expected but end of input found at '5[]'"},
		{"2*3*/a", "simple expected but '3' found at '2*[3]*/a'"}, {"2*", "simple expected but end of input found at '2*[]'"}, {"+1*/a", "simple expected but '+' found at '[+]1*/a'"},
		{"1e3*/a", "'*' expected but 'e' found at '1[e]3*/a'"}, {"0x1*/a", "'*' expected but 'x' found at '0[x]1*/a'"}, {"1,5*/a", "'*' expected but ',' found at '1[,]5*/a'"},
		{"1 2*/a", "'*' expected but '2' found at '1 [2]*/a'"}, {"٣*/a", "simple expected but '٣' found at '[٣]*/a'"}, {"1٣*/a", "'*' expected but '٣' found at '1[٣]*/a'"},
		{"NaN*/a", "simple expected but 'N' found at '[N]aN*/a'"}, {"1_000*/a", "'*' expected but '_' found at '1[_]000*/a'"},
		{"$/foo", "end of input expected but '/' found at '$[/]foo'"}, {"$a", "end of input expected but 'a' found at '$[a]'"}, {"~/a", "end of input expected but '/' found at '~[/]a'"},
		{"/a |", "simple expected but end of input found at '/a |[]'"}, {"| /a", "simple expected but '|' found at '[|] /a'"}, {"/a && /b", "simple expected but '&' found at '/a &[&] /b'"},
		{"(/a", "')' expected but end of input found at '(/a[]'"}, {"/a)", "end of input expected but ')' found at '/a[)]'"}, {"(/a;)", "')' expected but ';' found at '(/a[;])'"},
		{"(", "simple expected but end of input found at '([]'"}, {"/a /b", "end of input expected but '/' found at '/a [/]b'"}, {"/a ~", "end of input expected but '~' found at '/a [~]'"},
		{"/*", "end of input expected but '*' found at '/[*]'"}, {"/a/* | /b", "label char expected but '*' found at '/a/[*] | /b'"}, {"/a;", "end of input expected but ';' found at '/a[;]'"},
		{"foo", "simple expected but 'f' found at '[f]oo'"}, {"/a => /b", "end of input expected but '=' found at '/a [=]> /b'"}, {"*/a", "simple expected but '*' found at '[*]/a'"},
	} {
		tree, err := ParseTree(c.in)
		checkRule(t, "tree", c.in, TreeString(tree), err, c.want)
	}
}

func TestRulesOfTables(t *testing.T) {
	for _, c := range []struct{ in, want string }{
		{"", ""}, {" \n", ""}, {"# c", ""}, {"#c\n#d", ""}, {"/=>!", "/=>!"}, {"/a=>/b;", "/a=>/b"}, {"/a=>/b ; # c\n", "/a=>/b"}, {"/a=>/b;#c\n;", "'/' expected but ';' found at '/a=>/b;#c\n[;]'"},
		{"/a=>/b\n/c=>/d", "end of input expected but '/' found at '/a=>/b\n[/]c=>/d'"}, {"/a=>/b;/c=>/d", "/a=>/b;/c=>/d"}, {"/a # c\n => # d\n /b # e\n ; /c => ~", "/a=>/b;/c=>~"},
		{"/a#=>/b", "/a#=>/b"}, {"/a #=>/b", "'=' expected but end of input found at '/a #=>/b[]'"}, {"/a=>#c\n/b", "/a=>/b"}, {"/*=>/b", "/*=>/b"}, {"/a/**=>/b", "'=' expected but '*' found at '/a/*[*]=>/b'"},
		{";", "'/' expected but ';' found at '[;]'"}, {";;", "'/' expected but ';' found at '[;];'"}, {"; ;", "'/' expected but ';' found at '[;] ;'"}, {"/a=>/b;;", "'/' expected but ';' found at '/a=>/b;[;]'"},
		{"/a=/b", "'>' expected but '/' found at '/a=[/]b'"}, {"/a>/b", "'=' expected but '>' found at '/a[>]/b'"}, {"/a= >/b", "'>' expected but ' ' found at '/a=[ ]>/b'"},
		{"/a=>", "simple expected but end of input found at '/a=>[]'"}, {"/a=>;", "simple expected but ';' found at '/a=>[;]'"}, {"=>/a", "'/' expected but '=' found at '[=]>/a'"},
		{"/a=>/b=>/c", "end of input expected but '=' found at '/a=>/b[=]>/c'"}, {"/a=>/b/*", "label char expected but '*' found at '/a=>/b/[*]'"},
		{"/a=>/b;/a=>/b;/a=>/b", "/a=>/b;/a=>/b;/a=>/b"}, {"/b=>/x;/a=>/y", "/b=>/x;/a=>/y"}, {`/\x2f=>~`, `/\x2f=>~`}, {"/ => /", "/=>/"}, {"/a=>2*/b&/c;", "/a=>2.00*/b & /c"},
		{"/a=>/b | (/c & 3 * (/d | ~)) | $", "/a=>/b | /c & 3.00*(/d | ~) | $"},
	} {
		d, err := Parse(c.in)
		checkRule(t, "table", c.in, d.String(), err, c.want)
	}
}

// checkRule compares what was parsed, or the error, with what should be: texts that start like canonical forms are these.
func checkRule(t *testing.T, what, in, got string, err error, want string) {
	t.Helper()
	if err != nil {
		got = err.Error()
	}
	if got != want {
		t.Errorf("%s %q:\n got %s\nwant %s", what, in, got, want)
	}
}

// Every character, as the only one, between elements and in an element: what is not in the language is an error that names
// it, and what is prints back.
func TestEveryCharacterEverywhere(t *testing.T) {
	for r := rune(0); r < 0x3100; r++ {
		if r == '#' || r >= 0xD800 && r < 0xE000 {
			continue
		}
		isLabel := r < 0x80 && labelByte(byte(r))
		for _, c := range []struct {
			text string
			ok   bool
		}{
			{"/a" + string(r) + "b", isLabel},
			{"/a" + string(r), isLabel || isSpace(r)},
			{string(r) + "/a", isSpace(r)},
			{"/" + string(r), isLabel || isSpace(r)},
			{"/" + string(r) + "/a", isLabel},
		} {
			if r == '/' && c.text == "/a/b" {
				continue
			}
			p, err := ParsePath(c.text)
			if (err == nil) != c.ok {
				t.Fatalf("%q: %v, %v", c.text, p, err)
			}
			if err != nil && !strings.Contains(err.Error(), "["+string(r)+"]") && r != '/' && r != '\\' && !isSpace(r) {
				t.Fatalf("%q: the error does not show the place: %v", c.text, err)
			}
		}
	}
}

// The table of what the union of two constants or leaves comes to.
func TestUnionsOfTwo(t *testing.T) {
	kinds := []string{"/a", "~", "!", "$"}
	for i, row := range [][]string{
		{"/a & /a", "/a", "/a", "/a & $"},
		{"/a", "~", "~", "$"},
		{"/a", "~", "~", "$"},
		{"$ & /a", "$", "$", "$ & $"},
	} {
		for j, want := range row {
			tree, err := ParseTree(kinds[i] + " & " + kinds[j])
			if err != nil {
				t.Fatal(err)
			}
			if got := TreeString(tree.Simplified()); got != want {
				t.Errorf("%s: got %s, want %s", TreeString(tree), got, want)
			}
		}
	}
}

func TestSimplifyAndEval(t *testing.T) {
	for _, c := range []struct{ in, simplified, eval string }{
		{"! | /b", "!", "negative"}, {"(! & !) | /b", "/b", "/b"}, {"/a | ! | /b", "/a | !", "/a"}, {"$ | /b | !", "$ | /b | !", ""},
		{"~ | ~", "~", "negative"}, {"(~ | !) & /a", "/a", "/a"}, {"(/a | !) & ~", "/a | !", "/a"}, {"(! | /a) & (! | /b)", "~", "negative"},
		{"/a & /b & ~", "/a & /b", "/a /b"}, {"2*/a & 3*! & 4*/b", "2.00*/a & 4.00*/b", "/a /b"}, {"2*/a & ~", "/a", "/a"}, {"(/a & /b) & /c", "(/a & /b) & /c", "/a /b /c"},
		{"(/a | /b) | /c", "(/a | /b) | /c", "/a"}, {"(~ | /a) | (/b | ~)", "/a | /b", "/a"}, {"$ & ~", "$", ""}, {"$ & /a", "$ & /a", "/a"}, {"($ | /a) & /b", "($ | /a) & /b", "/b"},
		{"(~ & ~) | $", "$", ""}, {"/a | (! | /b) | /c", "/a | !", "/a"}, {"~ | (~ | (~ | /a))", "/a", "/a"}, {"0*/a & ~", "/a", "/a"}, {"/a & /a", "/a & /a", "/a /a"},
	} {
		tree, err := ParseTree(c.in)
		if err != nil {
			t.Fatal(err)
		}
		if got := TreeString(tree.Simplified()); got != c.simplified {
			t.Errorf("%s simplifies to %s, want %s", c.in, got, c.simplified)
		}
		got := "negative"
		if leaves, ok := tree.Eval(); ok {
			var texts []string
			for _, l := range leaves {
				texts = append(texts, l.String())
			}
			got = strings.Join(texts, " ")
		}
		if got != c.eval {
			t.Errorf("%s evaluates to %q, want %q", c.in, got, c.eval)
		}
	}
}

func TestOperations(t *testing.T) {
	parse := func(s string) Dtab { return mustParse(t, s) }
	for _, c := range []struct{ what, got, want string }{
		{"a table with itself", parse("/a=>/b").Concat(parse("/a=>/b")).String(), "/a=>/b;/a=>/b"},
		{"strip all", parse("/a=>/b;/c=>/d").StripPrefix(parse("/a=>/b;/c=>/d")).String(), ""},
		{"strip in another order", parse("/a=>/b;/c=>/d").StripPrefix(parse("/c=>/d")).String(), "/a=>/b;/c=>/d"},
		{"strip what is written otherwise", parse("/a=>2*/b & /c;/c=>/d").StripPrefix(parse("/a=>2.00*/b&/c")).String(), "/c=>/d"},
		{"strip with another weight", parse("/a=>2*/b & /c;/c=>/d").StripPrefix(parse("/a=>2.001*/b&/c")).String(), "/a=>2.00*/b & /c;/c=>/d"},
		{"strip nothing", parse("/a=>/b").StripPrefix(nil).String(), "/a=>/b"},
		{"simplified", parse("/a=>~ & !;/b=>(~|/x)|!|/y;/c=>!;/d=>$").Simplified().String(), "/b=>/x | !;/c=>!;/d=>$"},
		{"lookup of the root", TreeString(parse("/=>/x;/*=>/y").Lookup(Path{})), "/x"},
		{"wildcard and root", TreeString(parse("/=>/x;/*=>/y").Lookup(Path{"#", "a"})), "/y/a | /x/#/a"},
		{"constants stay", TreeString(parse("/a=>! | $ & 2*/x").Lookup(Path{"a", "b"})), "! | $ & 2.00*/x/b"},
		{"one ~ is nothing", TreeString(parse("/a=>~").Lookup(Path{"a"})), "~"},
		{"two are an alternative", TreeString(parse("/a=>~;/a=>~").Lookup(Path{"a"})), "~ | ~"},
		{"longer wins nothing", TreeString(parse("/a/b=>/x;/a=>/y;/*/b=>/z").Lookup(Path{"a", "b", "c"})), "/z/c | /y/b/c | /x/c"},
	} {
		if c.got != c.want {
			t.Errorf("%s: got %s, want %s", c.what, c.got, c.want)
		}
	}
	if parse("/a=>/b").Equal(parse("/a=>(~ | /b)")) || !parse(`/\x61=>/b`).Equal(parse("/a=>((/b))")) || parse("/a=>/b;/c=>/d").Equal(parse("/c=>/d;/a=>/b")) {
		t.Error("equality is not that of structure and order")
	}
}

func TestJSONKeysAreExact(t *testing.T) {
	for body, want := range map[string]string{
		`[{"PREFIX":"/a","dst":"/b"}]`:                  "decode dtab: entry 0: prefix and dst must both be given",
		`[{"prefix":"/a","dst":"/b","Dst":"/c"}]`:       `decode dtab: entry 0: unknown key "Dst"`,
		`[{"prefix":"/a","dst":"/b"},null]`:             "decode dtab: entry 1: prefix and dst must both be given",
		`[{"prefix":"/a/","dst":"/b"}]`:                 "decode dtab: entry 0: prefix: label char expected but end of input found at '/a/[]'",
		`[{"prefix":"/a","dst":"/b;/c=>/d"}]`:           "decode dtab: entry 0: dst: end of input expected but ';' found at '/b[;]/c=>/d'",
		`[{"prefix":"/a","dst":""}]`:                    "decode dtab: entry 0: dst: simple expected but end of input found at '[]'",
		`[{"prefix":"/a","dst":"/b","x":null}]`:         `decode dtab: entry 0: unknown key "x"`,
		`[["/a","/b"]]`:                                 "",
		`{"prefix":"/a","dst":"/b"}`:                    "",
		`[{"prefix":"/a","dst":["/b"]}]`:                "",
		`[{"prefix":"/a","dst":"/b"}`:                   "",
		`"/a => /b"`:                                    "",
		`[{"prefix":"/\ud800","dst":"/b"}]`:             "",
		strings.Repeat("[", 20_000):                     "",
		`[{"prefix":"/a","dst":"` + "\xff" + `"}]`:      "",
		`[{"prefix":"/a","dst":"` + "/b\\u0000" + `"}]`: "",
	} {
		d := Dtab{{Prefix: Prefix{}, Dst: LeafOf(Path{"kept"})}}
		err := json.Unmarshal([]byte(body), &d)
		if err == nil || want != "" && err.Error() != want {
			t.Errorf("%.60s: got %v, want %s", body, err, want)
		}
		if d.String() != "/=>/kept" {
			t.Errorf("%.60s: the table has become %s", body, d)
		}
	}
	var d Dtab
	if err := json.Unmarshal([]byte(`[{"dst":"/b # c\n | \u0024","prefix":"\u002fa"}, {"prefix":"/\\x2a","dst":"2*/é_"}]`), &d); err == nil {
		t.Errorf("é was read: %s", d)
	}
	if err := json.Unmarshal([]byte(`[{"dst":"/b # é\n | \u0024","prefix":"\u002fa"}]`), &d); err != nil || d.String() != "/a=>/b | $" {
		t.Errorf("got %s, %v", d, err)
	}
}
