package main

import (
	"fmt"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"argosy/namerd"
	"argosy/namerd/store"
)

// withTables serves an empty namerd where the dtab commands look for it.
func withTables(t *testing.T) *store.Memory {
	t.Helper()
	tables := store.NewMemory(nil)
	api := namerd.NewServer(tables, namerd.Options{})
	server := httptest.NewServer(api.Handler())
	t.Cleanup(func() { api.Close(); server.Close() })
	t.Setenv("ARGOSY_NAMERD_ADDR", server.URL)
	t.Setenv("NAMERCTL_BASE_URL", "http://127.0.0.1:1")
	return tables
}

// step is a call and what it has to do.
type step struct {
	in   string // standard input
	args string // separated by |
	code int
	out  string
	errs string
}

func (s step) check(t *testing.T) {
	t.Helper()
	code, out, errs := call(t, s.in, strings.Split(s.args, "|")...)
	if address := os.Getenv("ARGOSY_NAMERD_ADDR"); address != "" {
		errs = strings.ReplaceAll(errs, address, "NAMERD")
	}
	if code != s.code || out != s.out || errs != s.errs {
		t.Errorf("argosy %s\n got exit %d\n%q\n%q\nwant exit %d\n%q\n%q", s.args, code, out, errs, s.code, s.out, s.errs)
	}
}

const hintLine = "argosy: -h shows the command's flags and an example\n"

func TestDtabCommands(t *testing.T) {
	withTables(t)
	file := filepath.Join(t.TempDir(), "table.dtab")
	if err := os.WriteFile(file, []byte("# ours\n/svc => /host ;\n/svc/redis => 9 * /a & 1 * /b ;\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	const v1, v2, v3 = "AAAAAAAAAAE=", "AAAAAAAAAAI=", "AAAAAAAAAAM="
	for _, s := range []step{
		{args: "dtab|list"},
		{args: "dtab|list|-json", out: "[]\n"},
		{args: "dtab|create|default|" + file, out: "Created default\n"},
		{args: "dtab|create|default|" + file, code: 1, errs: "argosy: create default: namespace exists already; argosy dtab update replaces it\n"},
		{args: "dtab|get|default", out: "# version " + v1 + "\n/svc       => /host ;\n/svc/redis => 9.00*/a & /b ;\n"},
		{args: "dtab|cat|default|-pretty=false", out: "/svc=>/host;/svc/redis=>9.00*/a & /b;\n"},
		{args: "dtab|get|-json|default", out: `{
  "dtab": [
    {
      "prefix": "/svc",
      "dst": "/host"
    },
    {
      "prefix": "/svc/redis",
      "dst": "9.00*/a & /b"
    }
  ],
  "version": "AAAAAAAAAAE="
}
`},
		{args: "dtab|get|nobody", code: 1, errs: "argosy: read nobody: no such namespace; argosy dtab list shows what there is\n"},
		{args: "dtab|get|a b", code: 1, errs: "argosy: invalid namespace name: only letters, digits, '-' and '_' are allowed: \"a b\"\n"},
		// What get prints, update takes, and only once.
		{in: "# version " + v1 + "\n/svc => /other ;\n", args: "dtab|update|default|-", out: "Updated default\n"},
		{in: "# version " + v1 + "\n/svc => /late ;\n", args: "dtab|up|default|-", code: 1,
			errs: "argosy: update default: version does not match: somebody else has changed the namespace; look with argosy dtab get, and update again\n"},
		{in: `{"version":"` + v1 + `","dtab":[]}`, args: "dtab|update|default|-", code: 1,
			errs: "argosy: update default: version does not match: somebody else has changed the namespace; look with argosy dtab get, and update again\n"},
		{in: `{"version":"` + v2 + `","dtab":[{"prefix":"/a","dst":"/b"}]}`, args: "dtab|update|default|-", out: "Updated default\n"},
		{in: "# version " + v1 + "\n/svc => /new ;\n", args: "dtab|update|default|-|-version|" + v3, out: "Updated default\n"},
		{in: "# version " + v1 + "\n/svc => /forced ;\n", args: "dtab|update|default|-|-force|-json", out: "{\n  \"namespace\": \"default\",\n  \"result\": \"updated\"\n}\n"},
		{args: "dtab|update|default|-dtab|/svc => /direct", out: "Updated default\n"},
		{in: `[{"prefix":"/x","dst":"/y"}]`, args: "dtab|new|second|-", out: "Created second\n"},
		{args: "dtab|create|empty|-dtab|", out: "Created empty\n"},
		{args: "dtab|ls", out: "default\nempty\nsecond\n"},
		{args: "dtab|update|nobody|-dtab|/a=>/b", code: 1, errs: "argosy: read nobody: no such namespace; argosy dtab list shows what there is\n"},
		{args: "dtab|update|created|-force|-dtab|/a=>/b", out: "Updated created\n"},
		{args: "dtab|delete|created", out: "Deleted created\n"},
		{args: "dtab|rm|created", code: 1, errs: "argosy: delete created: no such namespace; argosy dtab list shows what there is\n"},
		{args: "dtab|update|default|-dtab|/a => 0.333 * /b & /c", out: "Updated default\n",
			errs: "argosy: warning: weights are stored with two decimals; some here have more\n"},
		{args: "dtab|get|default|-pretty=false", out: "/a=>0.33*/b & /c;\n"},
	} {
		s.check(t)
	}
}

// Who changes a table, and why, is in its history.
func TestDtabAuthors(t *testing.T) {
	tables := withTables(t)
	t.Setenv("ARGOSY_NAMERD_FROM", "ann@example.com")
	step{args: "dtab|create|default|-dtab|/a=>/b|-message|it was time", out: "Created default\n"}.check(t)
	changes, err := tables.History(t.Context(), "default", 1)
	if err != nil || changes[0].Author.Name != "ann@example.com" || changes[0].Author.Message != "it was time" {
		t.Errorf("%+v %v", changes, err)
	}
}

// Nothing is sent that does not parse, and usage is checked before anything is asked.
func TestDtabMistakes(t *testing.T) {
	t.Setenv("ARGOSY_NAMERD_ADDR", "http://127.0.0.1:1")
	const entries = "= write entries such as /svc => /#/io.l5d.consul/dc1, with ; between them\n"
	for _, s := range []step{
		{args: "dtab|update|default|-dtab|/svc => /foo^bar", code: 2,
			errs: "argosy: dtab update: -dtab:1:13: no dtab: end of input expected but '^' found\n  1 | /svc => /foo^bar\n    |             ^\n    " + entries},
		{in: "/svc => /a ;\n/svc -> /b", args: "dtab|create|default|-", code: 2,
			errs: "argosy: dtab create: standard input:2:6: no dtab: '=' expected but '-' found\n  2 | /svc -> /b\n    |      ^\n    " + entries},
		{in: `{"dtab":[{"prefix":"x","dst":"/y"}]}`, args: "dtab|create|default|-", code: 2,
			errs: "argosy: dtab create: standard input: decode dtab: entry 0: prefix: '/' expected but 'x' found at '[x]'\n"},
		{in: `{"version":"x"}`, args: "dtab|create|default|-", code: 2, errs: "argosy: dtab create: standard input: the JSON has no \"dtab\"\n"},
		{in: "# version yolo?\n/a=>/b", args: "dtab|update|default|-", code: 2,
			errs: "argosy: dtab update: \"yolo?\" is no version: versions are base64, as dtab get shows them\n"},
		// As when the command before the pipe has failed.
		{in: "\n", args: "dtab|update|default|-", code: 2, errs: "argosy: dtab update: standard input is empty; -dtab '' makes the table empty\n"},
		{args: "dtab|create|default", code: 2, errs: "argosy: dtab create: the table is missing: name a file, - for standard input, or give -dtab '/svc => ...'\n"},
		{args: "dtab|create|default|file|-dtab|x", code: 2, errs: "argosy: dtab create: give a file or -dtab, not both\n"},
		{args: "dtab|create|default|/nonexistent", code: 2, errs: "argosy: dtab create: open /nonexistent: no such file or directory\n"},
		{args: "dtab|create", code: 2, errs: "argosy: dtab create: give a name and a file, or -dtab\n" + hintLine},
		{args: "dtab|get", code: 2, errs: "argosy: dtab get: give one name; argosy dtab list shows them\n" + hintLine},
		{args: "dtab|delete|a|b", code: 2, errs: "argosy: dtab delete: give one name\n" + hintLine},
		{args: "dtab|list|x", code: 2, errs: "argosy: dtab list: unexpected argument \"x\"\n" + hintLine},
		{args: "dtab|update|a|-force|-version|x|-dtab|", code: 2, errs: "argosy: dtab update: -force and -version exclude each other\n" + hintLine},
		{args: "dtab|list|-addr|127.0.0.1:4180", code: 2,
			errs: "argosy: dtab list: address of namerd \"127.0.0.1:4180\" is no URL: give one such as http://127.0.0.1:4180\n" + hintLine},
		{args: "dtab|list", code: 1, errs: "argosy: list namespaces: namerd at NAMERD cannot be reached: dial: connect: connection refused; -addr or ARGOSY_NAMERD_ADDR says where it is\n"},
	} {
		s.check(t)
	}
}

func TestNamerdAddress(t *testing.T) {
	withTables(t)
	url := os.Getenv("ARGOSY_NAMERD_ADDR")
	t.Setenv("ARGOSY_NAMERD_ADDR", "")
	t.Setenv("NAMERCTL_BASE_URL", url+"/")
	step{args: "dtab|list|-json", out: "[]\n"}.check(t)
	t.Setenv("ARGOSY_NAMERD_ADDR", "http://127.0.0.1:1")
	step{args: fmt.Sprintf("dtab|list|-json|-addr|%s", url), out: "[]\n"}.check(t)
}

func TestDtabHelp(t *testing.T) {
	for _, name := range []string{"list", "get", "create", "update", "delete"} {
		code, out, errs := call(t, "", "dtab", name, "-h")
		if code != 0 || !strings.HasPrefix(out, "Usage: argosy dtab "+name) || !strings.Contains(out, "Example:") || errs != "" {
			t.Errorf("%s: exit %d %q %q", name, code, out, errs)
		}
	}
	if code, out, errs := call(t, "", "dtab"); code != exitUsage || out != "" || !strings.HasPrefix(errs, "Usage: argosy dtab") {
		t.Errorf("exit %d\n%s%s", code, out, errs)
	}
	if code, out, errs := call(t, "", "dtab", "show"); code != exitUsage || out != "" || !strings.Contains(errs, `dtab has no command "show"`) {
		t.Errorf("exit %d\n%s%s", code, out, errs)
	}
	code, out, _ := call(t, "", "dtab", "-h")
	if code != exitOK {
		t.Errorf("exit %d", code)
	}
	if strings.Contains(out, "cat ") || strings.Contains(out, " rm ") {
		t.Errorf("shows aliases:\n%s", out)
	}
}
