package source

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"argosy/dtab"
)

func check(t *testing.T, text string, o Options) []string {
	t.Helper()
	f, err := Parse(text)
	if err != nil {
		t.Fatalf("%q: %v", text, err)
	}
	var all []string
	for _, x := range f.Check(o) {
		line, column := f.Position(x.Offset)
		word := "warning"
		if x.Note {
			word = "note"
		}
		all = append(all, fmt.Sprintf("%d:%d %s %s: %s", line, column, word, x.Rule, x.Message))
	}
	return all
}

func TestCheck(t *testing.T) {
	for _, c := range []struct{ text, want string }{
		{"", ""},
		{"/cluster => /#/io.l5d.fs;\n/svc => /cluster;\n/svc/redis => 9*/cluster/redis1 & 1*/cluster/redis2;/sni/* => /svc/web", ""},
		{"/a => /$/inet/h/1 | /$/nil; /b => ~ | (! & $)", ""},

		// Weights.
		{"/a => 0.5*/#/b;\n/c => 0.3*/#/a | .7 * /#/b", "1:7 warning weight: the weight 0.5 is lost: what it stands before is no part of a union\n" +
			"2:7 warning weight: the weight 0.3 is lost: what it stands before is no part of a union\n" +
			"2:18 warning weight: the weight .7 is lost: what it stands before is no part of a union"},
		{"/a => 2*(3*/#/b) & (4*/#/c & /#/d)", "1:10 warning weight: the weight 3 is lost: what it stands before is no part of a union"},
		{"/a => 0.999*/#/b & 0.001*/#/c & 0*/#/d & 0.10*/#/e & 010.50*/#/f & 1.00 */#/g", "1:7 warning weight: the weight 0.999 is stored as 1.00: tables have two decimals\n" +
			"1:20 warning weight: the weight 0.001 is stored as 0.00: tables have two decimals\n" +
			"1:33 note weight: a branch of weight 0 gets no connections while another has weight"},

		// Entries that are never used.
		{"/svc/a => /#/a;\n/svc => !", "1:1 warning shadowed: no name ever comes to this entry: /svc at line 2 is tried first, and always has an answer"},
		{"/svc/a => /#/a;\n/svc/* => /#/b | $", "1:1 warning shadowed: no name ever comes to this entry: /svc/* at line 2 is tried first, and always has an answer"},
		{"/svc/* => /#/a;\n/svc/a => $", ""},
		{"/svc => /#/a;\n/svc/a => $", ""},
		{"/svc/a => /#/a;\n/svc => /#/b", ""},
		{"/svc/a => /#/a;\n/svc => /#/b & $", "1:1 warning shadowed: no name ever comes to this entry: /svc at line 2 is tried first, and always has an answer"},
		{"/svc/a => /#/a;\n/svc => /#/b & !", ""},
		{"/svc => /#/a;\n/svc => /#/b", "1:1 note duplicate: /svc is there again at line 2, so that this one is only used where that one comes to nothing"},
		{"/svc => /#/a;\n/x=>/#/x;\n/svc => /#/a", "1:1 warning duplicate: the same entry is at line 3 again"},

		// Names that lead nowhere.
		{"/svc => /cluster", "1:1 note dead-end: /cluster is nothing: no entry matches it, and it is no namer's"},
		{"/svc => /cluster;\n/cluster/redis => /#/x", ""},

		// Loops.
		{"/a => /b;\n/b => /c | /#/x;\n/c => /a", "1:1 warning loop: names below /a come back to themselves, by way of line 2, line 3"},
		{"/a => /a", "1:1 warning loop: names below /a come back to themselves"},
		{"/a => /a/x & /a/y", "1:1 warning loop: names below /a are rewritten for ever, longer each time"},
		{"/ => /#/a", "1:1 warning loop: names below / are rewritten for ever, longer each time"},
		{"/svc/* => /svc/web", "1:1 warning loop: names below /svc/* come back to themselves"},
		{"/svc/x/* => /svc;\n/svc/y => /svc/x/x/y", "2:1 warning loop: names below /svc/y come back to themselves, by way of line 1"},
		{"/host => /#/x;\n/svc => /host;\n/host/redis => /svc/redis-2", ""},
	} {
		if got := strings.Join(check(t, c.text, Options{}), "\n"); got != c.want {
			t.Errorf("%q\ngot\n%s\nwant\n%s", c.text, got, c.want)
		}
	}
}

func TestCheckNamers(t *testing.T) {
	o := Options{Namers: []dtab.Path{dtab.MustParsePath("/#/io.l5d.consul"), dtab.MustParsePath("/#/a/b")}}
	got := strings.Join(check(t, "/a => /#/io.l5d.consul/dc1;/b=>/#/io.l5d.fs;/c => /#/a; /d=>/#", o), "\n")
	if want := "1:28 warning namer: no namer answers for /#/io.l5d.fs"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	// A namer that the table itself stands in for is known.
	if got := check(t, "/#/io.l5d.fs => /#/io.l5d.consul/dc1; /svc => /#/io.l5d.fs", o); len(got) > 0 {
		t.Errorf("got %s", got)
	}
}

// Checking takes a moment whatever the table.
func TestCheckIsBounded(t *testing.T) {
	var many, multiplying strings.Builder
	for i := range 3000 {
		fmt.Fprintf(&many, "/svc/s%d => /host/h%d ;\n/host/h%d => /#/x ;\n", i, i, i)
	}
	for i := range 40 {
		fmt.Fprintf(&multiplying, "/a%d/* => /a%d/x/y & /a%d/y ; /a%d => /a%d/z ;\n", i, i+1, i+1, i, i+1)
	}
	for _, text := range []string{many.String(), multiplying.String(), strings.Repeat("/a => (/b | /c & /d);", 1000)} {
		f, err := Parse(text)
		if err != nil {
			t.Fatal(err)
		}
		begun := time.Now()
		f.Check(Options{})
		if took := time.Since(begun); took > 20*time.Second {
			t.Errorf("took %v", took)
		} else {
			t.Log(len(f.Table), took)
		}
	}
	if got := check(t, many.String(), Options{}); len(got) > 0 {
		t.Errorf("%q", got)
	}
}

func FuzzCheck(f *testing.F) {
	f.Add("/a => 0.5*/a & (/b|$);/b/*=>/a/b/c;/=>/#/x")
	f.Fuzz(func(t *testing.T, text string) {
		if file, err := Parse(text); err == nil && len(file.Table) < 50 {
			for _, x := range file.Check(Options{Namers: []dtab.Path{{"#", "x"}}}) {
				if line, column := file.Position(x.Offset); line < 1 || column < 1 || x.Message == "" {
					t.Errorf("%q: %+v", text, x)
				}
			}
		}
	})
}
