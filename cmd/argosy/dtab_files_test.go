package main

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"argosy/internal/plan"
)

func writeFile(t *testing.T, name, text string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(file, []byte(text), 0o640); err != nil {
		t.Fatal(err)
	}
	return file
}

func TestDtabFmt(t *testing.T) {
	const ugly, nice = "/svc=>/cluster; # c\n/svc/redis=>/#/x", "/svc       => /cluster ; # c\n/svc/redis => /#/x ;\n"
	file := writeFile(t, "a.dtab", ugly)
	good := writeFile(t, "b.dtab", nice)
	for _, s := range []step{
		{in: ugly, args: "dtab|fmt|-", out: nice},
		{args: "dtab|fmt|-check|" + file + "|" + good, code: 1, out: file + "\n"},
		{args: "dtab|fmt|-check|-json|" + good, out: "[\n  {\n    \"file\": \"" + good + "\",\n    \"changed\": false\n  }\n]\n"},
		{args: "dtab|fmt|-w|" + file + "|" + good},
		{args: "dtab|fmt|" + file, out: nice},
		{args: "dtab|fmt|-check|" + file},
		{in: "/a => b", args: "dtab|fmt|-", code: 2, errs: "argosy: dtab fmt: standard input:1:7: no dtab: simple expected but 'b' found\n  1 | /a => b\n    |       ^\n" +
			"    = write entries such as /svc => /#/io.l5d.consul/dc1, with ; between them\n"},
		{in: "[]", args: "dtab|fmt|-", code: 2, errs: "argosy: dtab fmt: standard input is JSON, which has no lines to speak of: write the table as entries /prefix => /path ;\n"},
		{args: "dtab|fmt", code: 2, errs: "argosy: dtab fmt: name a file, or - for standard input\n" + hintLine},
		{args: "dtab|fmt|-w|-", code: 2, errs: "argosy: dtab fmt: standard input cannot be written with -w\n" + hintLine},
		{args: "dtab|fmt|-w|-check|x", code: 2, errs: "argosy: dtab fmt: -w and -check exclude each other\n" + hintLine},
	} {
		s.check(t)
	}
	if info, err := os.Stat(file); err != nil || info.Mode().Perm() != 0o640 {
		t.Errorf("the file's mode is %v, %v", info.Mode(), err)
	}
}

func TestDtabCheck(t *testing.T) {
	for _, s := range []step{
		{in: "/svc => /#/io.l5d.consul/dc1;", args: "dtab|check|-"},
		{in: "/svc => /#/io.l5d.consul/dc1;", args: "dtab|check|-|-namers|/#/io.l5d.fs, /#/x", code: 1,
			out: "standard input:1:1: warning: no namer answers for /#/io.l5d.consul/dc1 (namer)\n  1 | /svc => /#/io.l5d.consul/dc1;\n    | ^\n    = the namers are /#/io.l5d.fs, /#/x\n"},
		{in: "/a => /b;", args: "dtab|check|-", out: "standard input:1:1: note: /b is nothing: no entry matches it, and it is no namer's (dead-end)\n  1 | /a => /b;\n    | ^\n"},
		{in: "/a => /b;", args: "dtab|check|-strict|-json|-", code: 1, out: `[
  {
    "file": "standard input",
    "line": 1,
    "column": 1,
    "level": "warning",
    "rule": "dead-end",
    "message": "/b is nothing: no entry matches it, and it is no namer's"
  }
]
`},
		{in: "", args: "dtab|check|-json|-", out: "[]\n"},
		{in: "/a", args: "dtab|check|-", code: 2, errs: "argosy: dtab check: standard input:1:3: no dtab: '=' expected but end of input found\n  1 | /a\n    |   ^\n" +
			"    = write entries such as /svc => /#/io.l5d.consul/dc1, with ; between them\n"},
		{args: "dtab|check|-namers|/svc|x", code: 2, errs: "argosy: dtab check: -namers: \"/svc\" is no prefix of a namer, such as /#/io.l5d.consul\n" + hintLine},
		{args: "dtab|check", code: 2, errs: "argosy: dtab check: name a file, or - for standard input\n" + hintLine},
	} {
		s.check(t)
	}
}

func TestDtabDiff(t *testing.T) {
	withTables(t)
	const v1, v2 = "AAAAAAAAAAE=", "AAAAAAAAAAI="
	for _, s := range []step{
		{args: "dtab|create|default|-dtab|/svc => /a; /x => /1; /y => /2; /z => /3; /zz => /4; /svc/redis => 0.5*/b & 0.5*/c", out: "Created default\n"},
		{in: "/svc => /a; /x => /1; /y => /2; /z => /3; /zz => /4; /svc/redis => 0.501*/b & 0.5*/c", args: "dtab|diff|default|-",
			errs: "argosy: warning: weights are stored with two decimals; some here have more\n"},
		{in: "/svc => /a; /x => /1; /y => /2; /z => /3; /zz => /4; /svc/redis => /c; /new => /d", args: "dtab|diff|default|-", code: 1,
			out: "--- default@" + v1 + "\n+++ -\n  ...\n  /y         => /2 ;\n  /z         => /3 ;\n  /zz        => /4 ;\n- /svc/redis => 0.50*/b & 0.50*/c ;\n+ /svc/redis => /c ;\n+ /new       => /d ;\n"},
		{args: "dtab|diff|default|-json|-dtab|/x => /1; /y => /2; /z => /3; /zz => /4; /svc/redis => 0.5*/b & 0.5*/c", code: 1, out: `{
  "changes": [
    {
      "op": "remove",
      "entry": 1,
      "prefix": "/svc",
      "dst": "/a"
    }
  ],
  "from": "default@AAAAAAAAAAE=",
  "to": "-dtab"
}
`},
		{args: "dtab|update|default|-dtab|/svc => /b", out: "Updated default\n"},
		{args: "dtab|update|default|-dtab|/svc => /c", out: "Updated default\n"},
		{args: "dtab|diff|default@-1", code: 1, out: "--- default@" + v2 + "\n+++ default@AAAAAAAAAAM=\n- /svc => /b ;\n+ /svc => /c ;\n"},
		{args: "dtab|diff|default@" + v2 + "|default@" + v2},
		{args: "dtab|diff|default@" + v2 + "|default@-1"},
		{args: "dtab|diff|default@-9", code: 2, errs: "argosy: default@-9: no table of that version is remembered; argosy dtab history shows those that are remembered\n"},
		{args: "dtab|diff|default@x", code: 2, errs: "argosy: \"x\" is no version: versions are base64, as dtab get shows them\n"},
		{args: "dtab|diff|nobody|-dtab|/a=>/b", code: 2, errs: "argosy: read nobody: no such namespace; argosy dtab list shows what there is\n"},
		{args: "dtab|diff|default", code: 2, errs: "argosy: dtab diff: give a file to compare with, or a version: default@-1\n" + hintLine},
		{args: "dtab|diff|default|/nonexistent", code: 2, errs: "argosy: dtab diff: open /nonexistent: no such file or directory\n"},
	} {
		s.check(t)
	}
}

func TestDiffTables(t *testing.T) {
	for _, c := range []struct{ a, b, want string }{
		{"", "", ""},
		{"/a=>/1", "", "-/a"},
		{"", "/a=>/1", "+/a"},
		{"/a=>/1;/b=>/1;/c=>/1", "/b=>/1;/a=>/1;/c=>/1", "-/a /b +/a /c"},
		{"/a=>/1;/b=>/1;/c=>/1;/d=>/1", "/a=>/1;/x=>/1;/c=>/1;/y=>/1;/d=>/1", "/a -/b +/x /c +/y /d"},
	} {
		a, _ := parseTable("a", c.a)
		b, _ := parseTable("b", c.b)
		var parts []string
		for _, l := range diffTables(a.table, b.table) {
			parts = append(parts, strings.TrimSpace(string(l.sign)+l.entry.Prefix.String()))
		}
		if got := strings.Join(parts, " "); got != c.want {
			t.Errorf("%s to %s: %s, want %s", c.a, c.b, got, c.want)
		}
	}
	// Two long tables without anything in common take no quadratic memory.
	a, _ := parseTable("a", strings.Repeat("/a=>/1;", 10_000))
	b, _ := parseTable("b", strings.Repeat("/b=>/1;", 10_000))
	if n := len(diffTables(a.table, b.table)); n != 20_000 {
		t.Errorf("%d lines", n)
	}
}

func TestDtabHistoryAndRollback(t *testing.T) {
	withTables(t)
	t.Setenv("ARGOSY_NAMERD_FROM", "ann@example")
	const v1, v2, v3 = "AAAAAAAAAAE=", "AAAAAAAAAAI=", "AAAAAAAAAAM="
	for _, s := range []step{
		{args: "dtab|create|default|-dtab|/svc => /a", out: "Created default\n"},
		{args: "dtab|update|default|-dtab|/svc => /b; /x => /y", out: "Updated default\n"},
		{args: "dtab|rollback|default|-dry-run|" + v1, out: "--- default@" + v2 + "\n+++ default@" + v1 + "\n- /svc => /b ;\n- /x   => /y ;\n+ /svc => /a ;\n"},
		{args: "dtab|rollback|default|" + v1, out: "--- default@" + v2 + "\n+++ default@" + v1 + "\n- /svc => /b ;\n- /x   => /y ;\n+ /svc => /a ;\nRolled back default to " + v1 + "\n"},
		{args: "dtab|get|default", out: "# version " + v3 + "\n/svc => /a ;\n"},
		{args: "dtab|rollback|default|AAAAAAAAAAk=", code: 1, errs: "argosy: default@AAAAAAAAAAk=: no table of that version is remembered; argosy dtab history shows those that are remembered\n"},
		{args: "dtab|rollback|default|?", code: 2, errs: "argosy: dtab rollback: \"?\" is no version: versions are base64, as dtab get shows them\n"},
		{args: "dtab|rollback|default", code: 2, errs: "argosy: dtab rollback: give a name and a version; argosy dtab history shows them\n" + hintLine},
		{args: "dtab|history", code: 2, errs: "argosy: dtab history: give one name; argosy dtab list shows them\n" + hintLine},
		{args: "dtab|history|-limit|-1|x", code: 2, errs: "argosy: dtab history: -limit is a number of changes, or 0 for all\n" + hintLine},
	} {
		s.check(t)
	}
	code, out, errs := call(t, "", "dtab", "history", "default")
	lines := strings.Split(out, "\n")
	if code != 0 || errs != "" || len(lines) != 5 || !strings.HasPrefix(lines[0], "VERSION       TIME                  ACTION    ENTRIES  BY ") ||
		!strings.HasPrefix(lines[1], v3+"  2") || !strings.Contains(lines[1], "Z  rollback  1        ann@example?") || !strings.Contains(lines[3], "create    1") {
		t.Errorf("%d %s\n%s", code, errs, out)
	}
	code, out, _ = call(t, "", "dtab", "history", "-diff", "-limit", "2", "default")
	if want := "  - /svc => /a ;\n  + /svc => /b ;\n  + /x => /y ;\n"; code != 0 || !strings.HasSuffix(out, want) || strings.Contains(out, "create") {
		t.Errorf("%d\n%s", code, out)
	}
	code, out, _ = call(t, "", "dtab", "history", "-json", "-diff", "default")
	var all []changeInfo
	if err := json.Unmarshal([]byte(out), &all); err != nil || code != 0 || len(all) != 3 || all[0].Action != "rollback" || all[0].By != "ann@example" ||
		all[0].Version != v3 || len(all[0].Changes) != 3 || len(all[2].Dtab) != 1 {
		t.Errorf("%v\n%s", err, out)
	}
	// What is deleted can be brought back.
	step{args: "dtab|delete|default", out: "Deleted default\n"}.check(t)
	step{args: "dtab|rollback|default|" + v1, out: "--- default, which was deleted\n+++ default@" + v1 + "\n+ /svc => /a ;\nRolled back default to " + v1 + "\n"}.check(t)
}

// editor makes a script that stands for the editor.
func editor(t *testing.T, script string) {
	t.Helper()
	file := writeFile(t, "editor", "#!/bin/sh\n"+script+"\n")
	if err := os.Chmod(file, 0o755); err != nil {
		t.Fatal(err)
	}
	t.Setenv("VISUAL", "")
	t.Setenv("EDITOR", file)
	t.Setenv("TMPDIR", t.TempDir())
}

// left are the files that edit has left.
func left(t *testing.T) []string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(os.TempDir(), "argosy-*"))
	if err != nil {
		t.Fatal(err)
	}
	return files
}

func TestDtabEdit(t *testing.T) {
	tables := withTables(t)
	step{args: "dtab|create|default|-dtab|/svc => /a", out: "Created default\n"}.check(t)
	for _, c := range []struct{ script, out string }{
		{"true", "Unchanged default\n"},
		{": > $1", "Unchanged default\n"},
		{"echo '# a comment' >> $1", "Unchanged default\n"},
		{"sed -i s,/a,/b, $1", "--- default@AAAAAAAAAAE=\n+++ edited\n- /svc => /a ;\n+ /svc => /b ;\nUpdated default\n"},
		{"echo '/svc => /c' > $1", "--- default@AAAAAAAAAAI=\n+++ edited\n- /svc => /b ;\n+ /svc => /c ;\nUpdated default\n"},
	} {
		editor(t, c.script)
		step{args: "dtab|edit|default", out: c.out}.check(t)
		if files := left(t); len(files) > 0 {
			t.Errorf("%s leaves %s", c.script, files)
		}
	}
	editor(t, "echo '/svc = /c' > $1")
	code, out, errs := call(t, "", "dtab", "edit", "default")
	files := left(t)
	if code != 2 || out != "" || len(files) != 1 || !strings.Contains(errs, "1:7: no dtab") || !strings.HasSuffix(errs, "argosy dtab update default "+files[0]+"\n") {
		t.Errorf("%d %s %s %s", code, out, errs, files)
	}
	if text, err := os.ReadFile(files[0]); err != nil || string(text) != "/svc = /c\n" {
		t.Errorf("%v keeps %q", err, text)
	}

	// Somebody is faster.
	editor(t, "echo '/svc => /mine' > $1; touch $1.edited; while [ -e $1.edited ]; do sleep 0.02; done")
	done := make(chan struct{})
	go func() {
		defer close(done)
		code, out, errs = call(t, "", "dtab", "edit", "default")
	}()
	waitFor(t, "the editor", func() bool { return len(left(t)) == 2 })
	in, _ := parseTable("x", "/svc => /theirs")
	if err := tables.Put(t.Context(), "default", in.table); err != nil {
		t.Fatal(err)
	}
	for _, f := range left(t) {
		if strings.HasSuffix(f, ".edited") {
			os.Remove(f)
		}
	}
	<-done
	files = left(t)
	if code != 1 || len(files) != 1 || !strings.Contains(errs, "somebody else has changed the namespace") || !strings.Contains(errs, "kept in "+files[0]) {
		t.Errorf("%d %s %s", code, errs, files)
	}
	step{args: "dtab|get|default|-pretty=false", out: "/svc=>/theirs;\n"}.check(t)

	editor(t, "exit 3")
	step{args: "dtab|edit|default", code: 1, errs: "argosy: editor \"" + os.Getenv("EDITOR") + "\": exit status 3; nothing was changed\n"}.check(t)
	step{args: "dtab|edit|nobody", code: 1, errs: "argosy: read nobody: no such namespace; argosy dtab list shows what there is\n"}.check(t)
	step{args: "dtab|edit", code: 2, errs: "argosy: dtab edit: give one name; argosy dtab list shows them\n" + hintLine}.check(t)
	if files := left(t); len(files) > 0 {
		t.Errorf("leaves %s", files)
	}
}

// The address is looked for as namerctl does.
func TestNamerctlFile(t *testing.T) {
	withTables(t)
	url := os.Getenv("ARGOSY_NAMERD_ADDR")
	t.Setenv("ARGOSY_NAMERD_ADDR", "")
	t.Setenv("NAMERCTL_BASE_URL", "")
	for name, text := range map[string]string{
		"yaml": "base-url: " + url + "\n", "json": `{"base-url": "` + url + `"}`, "toml": "# x\nbase-url = '" + url + "'\n",
	} {
		dir := t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, ".namerctl."+name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		below := filepath.Join(dir, "a", "b")
		if err := os.MkdirAll(below, 0o700); err != nil {
			t.Fatal(err)
		}
		t.Chdir(below)
		step{args: "dtab|list|-json", out: "[]\n"}.check(t)
		step{args: "dtab|list|-json|--base-url|" + url, out: "[]\n"}.check(t)
		t.Setenv("NAMERCTL_BASE_URL", "http://127.0.0.1:1")
		if code, _, _ := call(t, "", "dtab", "list"); code != 1 {
			t.Errorf("%s: the environment does not go before the file", name)
		}
		t.Setenv("NAMERCTL_BASE_URL", "")
	}
	other := writeFile(t, "other.yaml", "base-url: "+url+"\n")
	dir := t.TempDir()
	t.Chdir(dir)
	step{args: "dtab|list|-json|--config|" + other, out: "[]\n"}.check(t)
	if err := os.WriteFile(".namerctl.yaml", []byte("\tx"), 0o600); err != nil {
		t.Fatal(err)
	}
	code, _, errs := call(t, "", "dtab", "list")
	if code != 2 || !strings.Contains(errs, ".namerctl.yaml: yaml:") {
		t.Errorf("%d %s", code, errs)
	}
}

func TestDtabFilesHelp(t *testing.T) {
	for _, name := range []string{"fmt", "check", "diff", "edit", "history", "rollback"} {
		code, out, errs := call(t, "", "dtab", name, "-h")
		if code != 0 || !strings.HasPrefix(out, "Usage: argosy dtab "+name) || !strings.Contains(out, "Example:") || errs != "" {
			t.Errorf("%s: exit %d %q %q", name, code, out, errs)
		}
	}
}

func waitFor(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); !ok(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("not in time: %s", what)
		}
	}
}

// What would be lost is not stored, whichever command stores it, unless it is forced.
func TestEditAndRollbackAskAgents(t *testing.T) {
	withTables(t)
	const v1 = "AAAAAAAAAAE="
	agent := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_ = json.NewEncoder(w).Encode(plan.Answer{Agent: "one", Namespace: "default", Source: "namerd", Applies: true, Names: []plan.Name{
			{Name: "/svc/redis", Verdict: plan.Lost, Connections: 3}}})
	}))
	defer agent.Close()
	step{args: "dtab|create|default|-dtab|/svc => /a", out: "Created default\n"}.check(t)
	step{args: "dtab|update|default|-dtab|/svc => /b", out: "Updated default\n"}.check(t)
	editor(t, "echo '/svc => /c' > $1")
	for _, command := range []string{"dtab|edit|default", "dtab|rollback|default|" + v1} {
		code, _, errs := call(t, "", strings.Split(command+"|-agent|"+agent.URL, "|")...)
		if code != exitLoses || !strings.Contains(errs, "/svc/redis") || !strings.Contains(errs, "nothing changed: something would be lost") {
			t.Errorf("%s: exit %d\n%s", command, code, errs)
		}
		step{args: "dtab|get|default|-pretty=false", out: "/svc=>/b;\n"}.check(t)
	}
	if files := left(t); len(files) != 1 {
		t.Errorf("edit keeps %s", files)
	}
	for _, command := range []string{"dtab|edit|default", "dtab|rollback|default|" + v1} {
		if code, _, errs := call(t, "", strings.Split(command+"|-force|-agent|"+agent.URL, "|")...); code != exitOK {
			t.Errorf("%s -force: exit %d\n%s", command, code, errs)
		}
	}
	step{args: "dtab|get|default|-pretty=false", out: "/svc=>/a;\n"}.check(t)
}
