package main

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"argosy/internal/plan"
	"argosy/namerd"
	"argosy/namerd/store/files"
)

// A version may be counted, as dtab diff has it.
func TestRollbackCounts(t *testing.T) {
	withTables(t)
	for i, text := range []string{"/a => /1", "/a => /2", "/a => /3"} {
		command := "update"
		if i == 0 {
			command = "create"
		}
		if code, _, errs := call(t, "", "dtab", command, "default", "-dtab", text); code != 0 {
			t.Fatal(errs)
		}
	}
	const v1, v2, v3, v4 = "AAAAAAAAAAE=", "AAAAAAAAAAI=", "AAAAAAAAAAM=", "AAAAAAAAAAQ="
	for _, s := range []step{
		{args: "dtab|rollback|default@-1", out: "--- default@" + v3 + "\n+++ default@" + v2 + "\n- /a => /3 ;\n+ /a => /2 ;\nRolled back default to " + v2 + "\n"},
		{args: "dtab|rollback|default@" + v1 + "|-dry-run", out: "--- default@" + v4 + "\n+++ default@" + v1 + "\n- /a => /2 ;\n+ /a => /1 ;\n"},
		{args: "dtab|rollback|default@-9", code: 1, errs: "argosy: default@-9: no table of that version is remembered; argosy dtab history shows those that are remembered\n"},
		{args: "dtab|rollback|default@", code: 2, errs: "argosy: dtab rollback: \"\" is no version: versions are base64, as dtab get shows them\n"},
	} {
		s.check(t)
	}
}

// What somebody has broken past namerd is put right by a rollback, -1 being the last that was good.
func TestRollbackRepairs(t *testing.T) {
	dir := t.TempDir()
	tables, err := files.Open(dir, files.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { tables.Close() })
	api := namerd.NewServer(tables, namerd.Options{})
	server := httptest.NewServer(api.Handler())
	t.Cleanup(func() { api.Close(); server.Close() })
	t.Setenv("ARGOSY_NAMERD_ADDR", server.URL)
	step{args: "dtab|create|default|-dtab|/a => /1", out: "Created default\n"}.check(t)
	step{args: "dtab|update|default|-dtab|/a => /2", out: "Updated default\n"}.check(t)
	file := filepath.Join(dir, "default.dtab")
	if err := os.WriteFile(file, []byte("/a => /2 ;\n/b > /c\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	waitFor(t, "the table cannot be read", func() bool {
		code, _, errs := call(t, "", "dtab", "get", "default")
		return code == 1 && strings.HasSuffix(errs, "500 Internal Server Error: default.dtab, line 2, column 4: '=' expected but '>' found at '/b [>] /c'\n")
	})
	for _, args := range [][]string{{"-dry-run"}, nil} {
		code, out, errs := call(t, "", append([]string{"dtab", "rollback", "default@-1"}, args...)...)
		if code != 0 || !strings.HasPrefix(out, "--- default, which cannot be read\n+++ default@") || !strings.Contains(out, "\n+ /a => /2 ;\n") ||
			!strings.HasPrefix(errs, "argosy: warning: what is there now is replaced: read default: namerd at ") {
			t.Errorf("%q: exit %d\n%s%s", args, code, out, errs)
		}
	}
	if text, err := os.ReadFile(file); err != nil || string(text) != "/a => /2 ;\n" {
		t.Errorf("%q %v", text, err)
	}
}

// To delete a table may lose all its names.
func TestDeleteAsksAgents(t *testing.T) {
	withTables(t)
	agent := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		a := plan.Answer{Agent: "one", Namespace: "default", Source: "namerd", Why: "its table is that of namespace default"}
		if r.URL.Query().Get("namespace") == "default" {
			a.Why, a.Applies, a.Names = "", true, []plan.Name{{Name: "/svc/redis", Verdict: plan.Lost, Connections: 3}}
		}
		_ = json.NewEncoder(w).Encode(a)
	}))
	defer agent.Close()
	t.Setenv("ARGOSY_AGENTS", agent.URL)
	step{args: "dtab|create|default|-dtab|/svc => /a", out: "Created default\n"}.check(t)
	step{args: "dtab|create|blue|-dtab|/svc => /a", out: "Created blue\n"}.check(t)
	if code, _, errs := call(t, "", "dtab", "delete", "default"); code != exitLoses || !strings.HasSuffix(errs, "argosy: nothing changed: something would be lost; -force does it all the same\n") {
		t.Errorf("exit %d\n%s", code, errs)
	}
	step{args: "dtab|delete|blue", out: "Deleted blue\n", errs: "argosy: warning: none of the agents asked uses namespace blue: nothing was planned\n"}.check(t)
	step{args: "dtab|list", out: "default\n"}.check(t)
	step{args: "dtab|delete|default|-force", out: "Deleted default\n"}.check(t)
}
