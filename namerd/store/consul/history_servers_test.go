//go:build servers

package consul

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/hashicorp/consul/api"
	"github.com/hashicorp/go-hclog"

	"argosy/dtab"
	"argosy/internal/consultest"
	"argosy/namerd/store"
)

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// story is the history in one line, the newest first. Versions must not repeat, and the newest be the one that is there.
func story(t *testing.T, s *Store, ns string) (string, []store.Change) {
	t.Helper()
	changes, err := s.History(t.Context(), ns, 0)
	must(t, err)
	var words []string
	seen := map[store.Version]bool{}
	for _, c := range changes {
		words = append(words, c.Action+" "+c.Dtab.String())
		if seen[c.Version] && c.Version != "" {
			t.Errorf("version %s is there twice", c.Version)
		}
		seen[c.Version] = true
	}
	if e, err := s.Get(t.Context(), ns); err == nil && e.Version != changes[0].Version {
		t.Errorf("version %s is there, the newest remembered is %s", e.Version, changes[0].Version)
	}
	return strings.Join(words, "|"), changes
}

func wantStory(t *testing.T, s *Store, ns, want string) []store.Change {
	t.Helper()
	got, changes := story(t, s, ns)
	if got != want {
		t.Errorf("history of %s\n got %s\nwant %s", ns, got, want)
	}
	return changes
}

// The record of a change and the table have one index, which is the version, and what others have written in between is
// found.
func TestRealHistory(t *testing.T) {
	t.Parallel()
	c := consultest.Start(t, consultest.Options{})
	s := New(c.Client, "", hclog.NewNullLogger())
	kv := c.Client.KV()
	put(t, c, "namerd/dtabs/default", "# by hand\n/a => /1 ;")
	byHand, err := s.Get(t.Context(), "default")
	must(t, err)
	wantStory(t, s, "default", "found /a=>/1")
	must(t, s.Update(t.Context(), "default", table(t, "/a=>/2"), byHand.Version))
	changes := wantStory(t, s, "default", "update /a=>/2|found /a=>/1")
	if changes[1].Version != byHand.Version {
		t.Errorf("what was found has version %s, not %s", changes[1].Version, byHand.Version)
	}
	pairs, _, err := kv.List("namerd/dtabs/", nil)
	must(t, err)
	var indices []uint64
	for _, p := range pairs {
		indices = append(indices, p.ModifyIndex)
		if strings.Contains(p.Key, ".history") && !bytes.HasPrefix(p.Value, []byte(`{"`)) {
			t.Errorf("%s is not for people: %s", p.Key, p.Value)
		}
	}
	if len(pairs) != 3 || slices.Min(indices) != slices.Max(indices) {
		t.Errorf("indices %d of one transaction", indices)
	}
	// Its own text again is no change to Consul.
	must(t, s.Put(t.Context(), "default", table(t, "/a=>/2")))
	wantStory(t, s, "default", "update /a=>/2|found /a=>/1")

	// Others delete it, write what does not parse, and write again.
	_, err = kv.Delete("namerd/dtabs/default", nil)
	must(t, err)
	wantStory(t, s, "default", "found |update /a=>/2|found /a=>/1")
	must(t, s.Create(t.Context(), "default", table(t, "/a=>/3")))
	wantStory(t, s, "default", "create /a=>/3|found |update /a=>/2|found /a=>/1")
	put(t, c, "namerd/dtabs/default", "/a -> /4")
	if _, err := s.Get(t.Context(), "default"); err == nil {
		t.Error("it parses")
	}
	must(t, s.Put(t.Context(), "default", table(t, "/a=>/5")))
	must(t, s.Delete(t.Context(), "default"))
	if _, err := s.History(t.Context(), "none", 0); !errors.Is(err, store.ErrMissing) {
		t.Error(err)
	}
	must(t, s.Create(t.Context(), "default", table(t, "/a=>/6")))
	wantStory(t, s, "default", "create /a=>/6|delete |put /a=>/5|create /a=>/3|found |update /a=>/2|found /a=>/1")
	names, err := s.List(t.Context())
	if err != nil || !slices.Equal(names, []string{"default"}) {
		t.Errorf("%q %v", names, err)
	}
	// As Namerd lists: everything nested is one key with a slash at its end, which it skips.
	keys, _, err := kv.Keys("namerd/dtabs/", "/", nil)
	if err != nil || !slices.Equal(keys, []string{"namerd/dtabs/.history/", "namerd/dtabs/default"}) {
		t.Errorf("%q %v", keys, err)
	}
}

// entries makes a table of about so many bytes that does not compress to nothing.
func entries(t *testing.T, bytes int) dtab.Dtab {
	t.Helper()
	var d dtab.Dtab
	for i, n := 0, 0; n < bytes; i++ {
		e := table(t, fmt.Sprintf("/svc/%d/%x => /host/%x/%d", i, i*7919, i*104729, i))
		n += len(e.String()) + 1
		d = append(d, e...)
	}
	return d
}

// Tables that leave no room for their history in a transaction, up to what Consul takes.
func TestRealLargeTables(t *testing.T) {
	t.Parallel()
	c := consultest.Start(t, consultest.Options{})
	s := New(c.Client, "", hclog.NewNullLogger(), store.Limits{Bytes: 400_000})
	sizes := []int{100_000, 370_000, 385_000, 400_000, 520_000, 300}
	for i, size := range sizes {
		d := entries(t, size)
		before, err := s.Get(t.Context(), "default")
		if err == nil {
			must(t, s.Update(t.Context(), "default", d, before.Version))
			if err := s.Update(t.Context(), "default", nil, before.Version); !errors.Is(err, store.ErrVersion) {
				t.Errorf("update of an old version: %v", err)
			}
		} else {
			must(t, s.Create(t.Context(), "default", d))
		}
		_, changes := story(t, s, "default")
		if !changes[0].Dtab.Equal(d) || changes[0].Action == store.ActionFound {
			t.Errorf("table of %d bytes: the newest remembered is %s, of %d entries", size, changes[0].Action, len(changes[0].Dtab))
		}
		if i == 0 && len(changes) != 1 {
			t.Errorf("%d changes", len(changes))
		}
	}
	pairs, _, err := c.Client.KV().List("namerd/dtabs/.history/", nil)
	must(t, err)
	total := 0
	for _, p := range pairs {
		total += len(p.Value)
	}
	if total > 401_000 || len(pairs) < 2 || len(pairs) == len(sizes) {
		t.Errorf("%d records of %d bytes", len(pairs), total)
	}
	must(t, s.Delete(t.Context(), "default"))
}

// A token that may not write the history still writes tables; one that may not write tables is refused.
func TestRealACL(t *testing.T) {
	t.Parallel()
	const root = "11111111-1111-1111-1111-111111111111"
	c := consultest.Start(t, consultest.Options{Token: root, HCL: `
acl {
  enabled        = true
  default_policy = "deny"
  tokens {
    initial_management = "` + root + `"
  }
}
`})
	token := func(name, rules string) *api.Client {
		t.Helper()
		policy, _, err := c.Client.ACL().PolicyCreate(&api.ACLPolicy{Name: name, Rules: rules}, nil)
		must(t, err)
		token, _, err := c.Client.ACL().TokenCreate(&api.ACLToken{Policies: []*api.ACLTokenPolicyLink{{ID: policy.ID}}}, nil)
		must(t, err)
		return c.ClientWith(t, token.SecretID)
	}
	var log bytes.Buffer
	tablesOnly := New(token("tables", `
key_prefix "namerd/dtabs/" { policy = "write" }
key_prefix "namerd/dtabs/.history/" { policy = "deny" }
`), "", hclog.New(&hclog.LoggerOptions{Output: &log}))
	for range 2 {
		must(t, tablesOnly.Create(t.Context(), "default", table(t, "/a=>/1")))
		e, err := tablesOnly.Get(t.Context(), "default")
		must(t, err)
		must(t, tablesOnly.Update(t.Context(), "default", table(t, "/a=>/2"), e.Version))
		if err := tablesOnly.Update(t.Context(), "default", table(t, "/a=>/2"), e.Version); !errors.Is(err, store.ErrVersion) {
			t.Error(err)
		}
		must(t, tablesOnly.Delete(t.Context(), "default"))
	}
	if n := strings.Count(log.String(), "without their history"); n != 1 {
		t.Errorf("%d warnings:\n%s", n, log.String())
	}
	readsHistory := New(token("reader-of-history", `
key_prefix "namerd/dtabs/" { policy = "write" }
key_prefix "namerd/dtabs/.history/" { policy = "read" }
`), "", hclog.NewNullLogger())
	must(t, readsHistory.Put(t.Context(), "default", table(t, "/a=>/3")))

	reader := New(token("reader", `key_prefix "namerd/dtabs/" { policy = "read" }`), "", hclog.NewNullLogger())
	for what, err := range map[string]error{
		"put": reader.Put(t.Context(), "default", nil), "create": reader.Create(t.Context(), "new", nil), "delete": reader.Delete(t.Context(), "default"),
	} {
		if err == nil || !strings.Contains(err.Error(), "Permission denied") {
			t.Errorf("%s: %v", what, err)
		}
	}
	if e, err := reader.Get(t.Context(), "default"); err != nil || e.Dtab.String() != "/a=>/3" {
		t.Error(e, err)
	}
	wantStory(t, New(c.Client, "", hclog.NewNullLogger()), "default", "found /a=>/3")
}

// The histories of namespaces that are gone do not fill Consul.
func TestRealForgetsTheGone(t *testing.T) {
	t.Parallel()
	c := consultest.Start(t, consultest.Options{})
	s := New(c.Client, "", hclog.NewNullLogger())
	must(t, s.Create(t.Context(), "aa-here", table(t, "/a=>/1")))
	must(t, s.Create(t.Context(), "aa-last", table(t, "/a=>/1")))
	var ops api.TxnOps
	for i := range store.MaxForgotten { // as deletions long ago have left them, the last one the longest ago
		key := fmt.Sprintf("namerd/dtabs/.history/ns-%04d/%sT030405.000000006Z-10", i, []string{"20250102", "20240102"}[i/(store.MaxForgotten-1)])
		ops = append(ops, &api.TxnOp{KV: &api.KVTxnOp{Verb: api.KVSet, Key: key, Value: []byte(`{"exists":false}`)}})
		if len(ops) == 100 {
			if ok, answer, _, err := c.Client.Txn().Txn(ops, nil); !ok || err != nil {
				t.Fatal(answer, err)
			}
			ops = nil
		}
	}
	must(t, s.Delete(t.Context(), "aa-last"))
	folders, _, err := c.Client.KV().Keys("namerd/dtabs/.history/", "/", nil)
	must(t, err)
	if want := store.MaxForgotten*9/10 + 1; len(folders) != want {
		t.Errorf("%d histories are left, want %d", len(folders), want)
	}
	for _, ns := range []string{"aa-here", "aa-last"} {
		if !slices.Contains(folders, "namerd/dtabs/.history/"+ns+"/") {
			t.Errorf("%s is forgotten", ns)
		}
	}
	if slices.Contains(folders, fmt.Sprintf("namerd/dtabs/.history/ns-%04d/", store.MaxForgotten-1)) {
		t.Error("the longest gone is not forgotten")
	}
}
