//go:build servers

package consul

import (
	"errors"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"

	"argosy/dtab"
	"argosy/internal/consultest"
	"argosy/namerd/store"
)

// A namespace is created by somebody else, and deleted again, between what a creation has read and what it writes: it
// has to begin anew, else its record would stand before the deletion.
func TestRealCreatedMeanwhile(t *testing.T) {
	t.Parallel()
	c := consultest.Start(t, consultest.Options{})
	ours, theirs := New(c.Client, "a", hclog.NewNullLogger()), New(c.Client, "a", hclog.NewNullLogger())
	must(t, ours.Create(t.Context(), "ns", table(t, "/a=>/b")))
	must(t, ours.Delete(t.Context(), "ns"))

	d := table(t, "/ours=>/x")
	change := store.NewChange(t.Context(), store.ActionCreate, time.Now())
	change.Exists, change.Dtab = true, d
	p, err := ours.past(t.Context(), "ns", nil)
	must(t, err)
	must(t, theirs.Create(t.Context(), "ns", table(t, "/theirs=>/x")))
	must(t, theirs.Delete(t.Context(), "ns"))
	records, _ := ours.records("ns", p, nil, change)
	if err := ours.commit(t.Context(), "a/ns", append(tableOps("a/ns", &d, nil), records...)); !errors.Is(err, errStale) {
		t.Errorf("got %v, want that it is stale", err)
	}
	must(t, ours.Create(t.Context(), "ns", d))
	must(t, ours.Put(t.Context(), "ns", dtab.Dtab{}))
	wantStory(t, ours, "ns", "put |create /ours=>/x|delete |create /theirs=>/x|delete |create /a=>/b")
	changes, err := theirs.History(t.Context(), "ns", 0)
	must(t, err)
	for i, c := range changes[1:] {
		if newer := changes[i]; len(c.Version) > len(newer.Version) || len(c.Version) == len(newer.Version) && c.Version >= newer.Version {
			t.Errorf("version %s of %s is not below %s of %s", c.Version, c.Action, newer.Version, newer.Action)
		}
	}
}
