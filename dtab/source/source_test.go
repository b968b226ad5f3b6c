package source

import (
	"os"
	"strings"
	"testing"

	"argosy/dtab"
)

func TestFormat(t *testing.T) {
	for _, c := range []struct{ what, in, out string }{
		{"nothing", "", ""},
		{"only comments", "\n\n # a  \n\n\n#b", "# a\n\n#b\n"},
		{"columns", "/svc=>/cluster;/svc/redis  =>  0.9*/a&.1*/b|!;/#/x=>(/a|/b)& ( ~ )",
			"/svc       => /cluster ;\n/svc/redis => 0.9 * /a & .1 * /b | ! ;\n/#/x       => (/a | /b) & (~) ;\n"},
		{"comments", `

# the head
#

/svc => /a ;   # why
# of the next


/svc/redis => /b; # b1
   # b2
/c => /d # before
  # again
;
/e => /f # last
# tail`, `# the head
#

/svc       => /a ; # why
# of the next

/svc/redis => /b ; # b1
# b2
/c         => /d ; # before
# again
/e         => /f ; # last
# tail
`},
		{"lines", `/svc/redis =>
    9 * /svc/redis1 & # most
    # the new one
  1 * /svc/redis2
  | /fallback ;
/svc => # of the arrow
  /x;`, `/svc/redis => 9 * /svc/redis1 & # most
              # the new one
              1 * /svc/redis2
              | /fallback ;
/svc       => # of the arrow
              /x ;
`},
		{"comment before the arrow", "/svc/redis # old\n\n => /b", "/svc/redis # old\n           => /b ;\n"},
		{"elements", "/a/*/b#c => /$/inet/127.1/80;/\\x66oo=>$#x\n;/ => / #y", "/a/*/b#c => /$/inet/127.1/80 ;\n/\\x66oo  => $ ; #x\n/        => / ; #y\n"},
		{"carriage returns", "/a => /b ; # c\r\n\r\n\r\n/d => /e ;\r\n", "/a => /b ; # c\n\n/d => /e ;\n"},
		{"no-break lines", "/a\u2003=>\u2028/b;\v/c=>/d", "/a => /b ;\n/c => /d ;\n"},
	} {
		f, err := Parse(c.in)
		if err != nil {
			t.Fatalf("%s: %v", c.what, err)
		}
		if got := f.Format(); got != c.out {
			t.Errorf("%s:\n--- got\n%s--- want\n%s", c.what, got, c.out)
		}
		lawful(t, c.in)
	}
	if _, err := Parse("/a => b"); err == nil {
		t.Error("parses what is no table")
	}
}

// lawful checks that formatting keeps the table and its comments, and that it has nothing more to do then.
func lawful(t *testing.T, text string) {
	t.Helper()
	f, err := Parse(text)
	if err != nil {
		return
	}
	if len(f.Entries) != len(f.Table) {
		t.Fatalf("%q has %d entries, found %d", text, len(f.Table), len(f.Entries))
	}
	once := f.Format()
	again, err := Parse(once)
	if err != nil {
		t.Fatalf("%q formats to %q, which does not parse: %v", text, once, err)
	}
	if !again.Table.Equal(f.Table) {
		t.Errorf("%q formats to %q, another table", text, once)
	}
	if twice := again.Format(); twice != once {
		t.Errorf("%q formats to %q and then %q", text, once, twice)
	}
	if a, b := words(f), words(again); a != b {
		t.Errorf("%q formats to %q: %q became %q", text, once, a, b)
	}
}

// words are the tokens, comments included, in an order that formatting keeps: comments do not wait for a semicolon.
func words(f *File) string {
	var all []string
	for _, t := range f.tokens {
		if t.text != ";" {
			all = append(all, t.text)
		}
	}
	return strings.Join(all, "\n")
}

func TestPositions(t *testing.T) {
	if _, err := Parse("# é\n/a => /b ;é"); err == nil {
		t.Fatal("parses")
	}
	f, err := Parse("# é\n/a => /b ; /c => /d")
	if err != nil {
		t.Fatal(err)
	}
	for i, want := range [][2]int{{2, 1}, {2, 12}} {
		if line, column := f.Position(f.Entries[i].Offset); line != want[0] || column != want[1] {
			t.Errorf("entry %d is at %d:%d, want %v", i, line, column, want)
		}
	}
}

func FuzzFormat(f *testing.F) {
	for _, text := range []string{"/a => 0.1*/b & (~|!) #c\n;/*/d=>$", "#x\n\n/a#b=>/c # d\n#e\n;\n#f", "/a # b\n=> # c\n\n/d | # e\n /f;"} {
		f.Add(text)
	}
	if corpus, err := os.ReadFile("../testdata/dtab_cases.json"); err == nil {
		for line := range strings.SplitSeq(string(corpus), "\n") {
			f.Add(line)
		}
	}
	f.Fuzz(func(t *testing.T, text string) {
		if _, err := dtab.Parse(text); err == nil {
			lawful(t, text)
		}
	})
}
