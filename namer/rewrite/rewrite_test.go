package rewrite_test

import (
	"strings"
	"testing"

	"argosy/dtab"
	"argosy/namer"
	"argosy/namer/rewrite"
)

func TestRewrite(t *testing.T) {
	for _, c := range []struct{ pattern, name, path, want string }{
		{"/{A}.com", "/{A}", "/foo.com.au", "/foo"},  // a search, not a match of all
		{"/{A}.com", "/{A}", "/a.com.com", "/a.com"}, // as much as possible
		{"/{A}.com", "/{A}", "/acom", "~"},           // a dot is a dot
		{"/x{A}", "/{A}", "/axb", "/b"},              // found anywhere
		{"/{A}{B}", "/x{B}/{A}", "/foo", "/x/foo"},   // the first takes all
		{"/{A}-{B}", "/{B}", "/foo-", "failed"},      // nothing is left for an element
		{"/{A}/{A}", "/{A}", "/x/y", "/y"},           // the last one counts
		{"/*/b", "/r", "/a", "~"},                    // beyond the end of the path
		{"/*", "/r", "/", "~"},
		{"/", "/r", "/", "/r"}, {"/", "/r", "/any/thing", "/r"}, {"", "/r", "/x", "/r"},
		{"one/two/", "/r", "/one/two", "/r"}, // the slashes at the ends mean nothing
		{"/{a}", "/", "/x", "/"},
		{"/{dc.1:A_z}", "/{dc.1:A_z}", "/x", "/x"},
		{"/{A}$", "/{A}", "/x$y", "/x"}, // no anchor
		{`/{A}\x2f`, "/{A}", `/a\x2f`, "/a"},
		{"/{A}", "/pre{A}post/{A}", `/\xff\x2f\x00`, `/\x70\x72\x65\xff\x2f\x00\x70\x6f\x73\x74/\xff\x2f\x00`},
		{"/One", "/r", "/one", "~"},
	} {
		n, err := rewrite.New(c.pattern, c.name)
		if err != nil {
			t.Errorf("%s => %s: %v", c.pattern, c.name, err)
			continue
		}
		a, ok := n.Constant(dtab.Path{"#", "rw"}, dtab.MustParsePath(c.path))
		got := a.Status.String()
		if a.Status == namer.OK {
			got = dtab.Show(a.Tree, func(l namer.Leaf) string { return l.Path.String() })
		} else if !strings.HasPrefix(a.Err.Error(), "rewrite /#/rw/foo-: ") {
			t.Errorf("error %v", a.Err)
		}
		if got != c.want || !ok {
			t.Errorf("%s => %s of %s: got %s, want %s", c.pattern, c.name, c.path, got, c.want)
		}
	}
}

func TestMistakes(t *testing.T) {
	for _, c := range []struct{ pattern, name, want string }{
		{"/a//b", "/x", `pattern "/a//b": an element is empty`},
		{"/a*", "/x", `pattern "/a*": element "a*": "a*" is no label, and no variable such as {name}`},
		{"/{a-b}", "/x", `pattern "/{a-b}": element "{a-b}": "{a-b}" is no label, and no variable such as {name}`},
		{"/{}", "/x", `pattern "/{}": element "{}": "{}" is no label, and no variable such as {name}`},
		{"/{A}", "/{B}", `name "/{B}": the pattern has no variable {B}`},
		{"/{A}", "x", `name "x": a name starts with a slash`},
		{"/{A}", "", `name "": a name starts with a slash`},
		{"/{A}", "/x/", `name "/x/": an element is empty`},
		{"/{A}", "/*", `name "/*": element "*": "*" is no label, and no variable such as {name}`},
		{"/a b", "/x", `pattern "/a b": element "a b": "a b" is no label, and no variable such as {name}`},
	} {
		if _, err := rewrite.New(c.pattern, c.name); err == nil || err.Error() != c.want {
			t.Errorf("%s => %s:\n got %v\nwant %s", c.pattern, c.name, err, c.want)
		}
	}
}

// What is watched is what is known at once.
func TestWatch(t *testing.T) {
	n, err := rewrite.New("/{A}", "/svc/{A}")
	if err != nil {
		t.Fatal(err)
	}
	key, residual, ok := n.Split(dtab.Path{"a", "b"})
	if !ok || len(residual) > 0 || len(key) != 2 {
		t.Fatalf("splits into %s and %s, %v", key, residual, ok)
	}
	answers := make(chan namer.Answer)
	go n.Watch(t.Context(), dtab.Path{"#", "rw"}, key, func(a namer.Answer) { answers <- a })
	if a := <-answers; a.Tree.Leaf.Path.String() != "/svc/a" {
		t.Errorf("got %+v", a)
	}
}

func FuzzNew(f *testing.F) {
	f.Add("/{A}.com/*/x", "/svc/{A}", "/foo.com/b/x")
	f.Fuzz(func(t *testing.T, pattern, name, path string) {
		n, err := rewrite.New(pattern, name)
		p, perr := dtab.ParsePath(path)
		if err != nil || perr != nil {
			return
		}
		a, _ := n.Constant(dtab.Path{"#", "rw"}, p)
		if a.Status == namer.OK && a.Tree.Kind == dtab.Leaf {
			if again, err := dtab.ParsePath(a.Tree.Leaf.Path.String()); err != nil || !again.Equal(a.Tree.Leaf.Path) {
				t.Errorf("%s => %s of %s: %q", pattern, name, path, a.Tree.Leaf.Path)
			}
		}
	})
}
