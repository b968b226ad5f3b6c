//go:build servers

package consul

import (
	"os"
	"strings"
	"testing"

	"github.com/hashicorp/go-hclog"

	"argosy/internal/consultest"
)

// The policies that come with argosy allow what their roles do, and a right that is missing is named.
func TestPoliciesOfTables(t *testing.T) {
	c := consultest.Start(t, consultest.Options{HCL: consultest.Deny, Token: consultest.Root})
	ctx := t.Context()
	with := func(rules string) *Store {
		t.Helper()
		return New(c.ClientWith(t, c.Grant(t, rules)), "", hclog.NewNullLogger())
	}
	policy := func(file string) string {
		t.Helper()
		text, err := os.ReadFile("../../../acl/" + file)
		if err != nil {
			t.Fatal(err)
		}
		return string(text)
	}
	one, two := table(t, "/svc => /a"), table(t, "/svc => /b")

	w := with(policy("dtab-writer.hcl"))
	must := func(what string, err error) {
		t.Helper()
		if err != nil {
			t.Fatalf("%s: %v", what, err)
		}
	}
	must("create", w.Create(ctx, "web", one))
	e, err := w.Get(ctx, "web")
	must("get", err)
	must("update", w.Update(ctx, "web", two, e.Version))
	must("put", w.Put(ctx, "other", one))
	must("delete", w.Delete(ctx, "other"))

	r := with(policy("dtab-reader.hcl"))
	for _, s := range []*Store{w, r} {
		names, err := s.List(ctx)
		if must("list", err); len(names) != 1 || names[0] != "web" {
			t.Errorf("listed %v", names)
		}
		changes, err := s.History(ctx, "web", 0)
		if must("history", err); len(changes) != 2 {
			t.Errorf("history: %+v", changes)
		}
		observe(t, s, "web").expect(t, "/svc=>/b")
	}

	says := func(what string, err error, want string) {
		t.Helper()
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, want %s", what, err, want)
		}
	}
	const write = `add to its policy: key "namerd/dtabs/web" { policy = "write" }`
	err = r.Put(ctx, "web", one)
	says("reader writes", err, write)
	says("reader writes", err, `its history: Permission denied: the token lacks key:write on "namerd/dtabs/.history/"; add to its policy: key_prefix "namerd/dtabs/.history/" { policy = "write" }`)
	if n := strings.Count(err.Error(), "add to its policy"); n != 2 {
		t.Errorf("%d rules for one change: %v", n, err)
	}
	says("reader deletes", r.Delete(ctx, "web"), write)
	says("reader creates", r.Create(ctx, "new", one), `key "namerd/dtabs/new" { policy = "write" }`)
	none := with(`node_prefix "" { policy = "read" }`)
	const read = `add to its policy: key "namerd/dtabs/web" { policy = "read" }`
	_, err = none.Get(ctx, "web")
	says("nobody reads", err, read)
	_, err = none.List(ctx)
	says("nobody lists", err, `no keys visible: the token lacks key:read on "namerd/dtabs/"; add to its policy: key_prefix "namerd/dtabs/" { policy = "read" }`)
	o := observe(t, none, "web")
	o.expect(t, "unknown +error")
	last, _ := o.newest()
	says("nobody observes", last.Err, read)

	// One namespace is enough for an agent.
	own := with(`key "namerd/dtabs/web" { policy = "read" }`)
	observe(t, own, "web").expect(t, "/svc=>/b")
	// Without the histories, tables are written all the same.
	bare := with(`key "namerd/dtabs/bare" { policy = "write" }`)
	must("create without histories", bare.Create(ctx, "bare", one))
	e, err = bare.Get(ctx, "bare")
	must("get", err)
	must("update without histories", bare.Update(ctx, "bare", two, e.Version))
}
