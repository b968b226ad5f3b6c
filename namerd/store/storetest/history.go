package storetest

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"argosy/namerd/store"
)

// historian is the store as one that remembers, which all of ours are.
func historian(t *testing.T, s store.Store) store.Historian {
	t.Helper()
	h, ok := s.(store.Historian)
	if !ok {
		t.Fatalf("%T keeps no history", s)
	}
	return h
}

func history(t *testing.T, s store.Store, ns string, limit int) []store.Change {
	t.Helper()
	changes, err := historian(t, s).History(t.Context(), ns, limit)
	must(t, err)
	return changes
}

// story is a history in one line: the newest first.
func story(changes []store.Change) string {
	var b strings.Builder
	for _, c := range changes {
		what := "nothing"
		if c.Exists {
			what = c.Dtab.String()
		}
		fmt.Fprintf(&b, "%s %s|", c.Action, what)
	}
	return b.String()
}

func historyTells(t *testing.T, s store.Store) {
	ctx := store.WithAuthor(t.Context(), store.Author{Name: "ann@example.com", Message: `moved "to" the new – cluster`})
	began := time.Now().Add(-time.Minute)
	var versions []store.Version
	note := func(err error) {
		t.Helper()
		must(t, err)
		versions = append(versions, get(t, s, "default").Version)
	}
	note(s.Create(ctx, "default", table("/a=>/1")))
	note(s.Put(t.Context(), "default", table("/a=>/2 | /3")))
	wantError(t, "create again", s.Create(ctx, "default", table("/x=>/y")), store.ErrExists)
	wantError(t, "update of another version", s.Update(ctx, "default", table("/x=>/y"), versions[0]), store.ErrVersion)
	note(s.Update(ctx, "default", table(""), versions[1]))
	must(t, s.Delete(ctx, "default"))
	wantError(t, "delete again", s.Delete(ctx, "default"), store.ErrMissing)
	if got, want := story(history(t, s, "default", 0)), "delete nothing|update |put /a=>/2 | /3|create /a=>/1|"; got != want {
		t.Errorf("after the deletion\n got %s\nwant %s", got, want)
	}
	note(s.Create(t.Context(), "default", table("/a=>/4")))

	changes := history(t, s, "default", 0)
	if got, want := story(changes), "create /a=>/4|delete nothing|update |put /a=>/2 | /3|create /a=>/1|"; got != want {
		t.Fatalf("got  %s\nwant %s", got, want)
	}
	got := []store.Version{changes[4].Version, changes[3].Version, changes[2].Version, changes[0].Version}
	if !slices.Equal(got, versions) {
		t.Errorf("versions %q, want %q", got, versions)
	}
	for i, c := range changes {
		named := i == 1 || i == 2 || i == 4
		if (c.Author.Name == "ann@example.com") != named || (c.Author.Message == `moved "to" the new – cluster`) != named || c.Author.Verified {
			t.Errorf("change %d is by %+v", i, c.Author)
		}
		if c.At.Before(began) || c.At.After(time.Now().Add(time.Minute)) {
			t.Errorf("change %d is of %v", i, c.At)
		}
	}
	if two := history(t, s, "default", 2); story(two) != "create /a=>/4|delete nothing|" {
		t.Errorf("the newest two: %s", story(two))
	}
	if many := history(t, s, "default", 1000); len(many) != 5 {
		t.Errorf("the newest 1000 are %d", len(many))
	}
	if list, err := s.List(t.Context()); err != nil || !slices.Equal(list, []string{"default"}) {
		t.Errorf("history shows in the list: %q %v", list, err)
	}
}

func historyOfNobody(t *testing.T, s store.Store) {
	_, err := historian(t, s).History(t.Context(), "nobody", 0)
	wantError(t, "history of nobody", err, store.ErrMissing)
	for _, ns := range []string{"", "a/b", "..", ".history", "a\x00", "a?b", "a%20b"} {
		_, err := historian(t, s).History(t.Context(), ns, 0)
		wantError(t, fmt.Sprintf("history of %q", ns), err, store.ErrName)
	}
	must(t, s.Create(t.Context(), "ab", table("/ab=>/1")))
	must(t, s.Create(t.Context(), "a", table("/a=>/1")))
	if got := story(history(t, s, "a", 0)); got != "create /a=>/1|" {
		t.Errorf("history of a: %s", got)
	}
}

// The oldest are forgotten, the newest never.
func historyIsBounded(t *testing.T, s store.Store) {
	const writes = 115
	for i := range writes {
		must(t, s.Put(t.Context(), "default", table(fmt.Sprintf("/a=>/%d", i))))
	}
	changes := history(t, s, "default", 0)
	if len(changes) != (store.Limits{}).WithDefaults().Changes {
		t.Errorf("%d changes are remembered", len(changes))
	}
	for i, c := range changes {
		if want := fmt.Sprintf("/a=>/%d", writes-1-i); c.Dtab.String() != want {
			t.Fatalf("change %d is %s, want %s", i, c.Dtab, want)
		}
	}
}

// Whoever writes at the same time, each accepted change is remembered once, in the order in which they were made.
func historyOfManyWriters(t *testing.T, s store.Store) {
	writes := appended(t, s)
	changes := history(t, s, "default", 0)
	if len(changes) != writes+1 {
		t.Fatalf("%d changes are remembered: %s", len(changes), story(changes))
	}
	seen := map[store.Version]bool{}
	for i, c := range changes {
		if len(c.Dtab) != writes-i || seen[c.Version] {
			t.Errorf("change %d, version %q: %s", i, c.Version, c.Dtab)
		}
		seen[c.Version] = true
	}
	if e := get(t, s, "default"); e.Version != changes[0].Version {
		t.Errorf("version %q is there, %q the newest remembered", e.Version, changes[0].Version)
	}
}
