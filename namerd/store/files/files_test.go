package files

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"argosy/dtab"
	"argosy/namerd/store"
)

func table(t *testing.T, text string) dtab.Dtab {
	t.Helper()
	d, err := dtab.Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// byHand writes a file as an editor does that is done at once.
func byHand(t *testing.T, s *Store, ns, text string) {
	t.Helper()
	other := filepath.Join(t.TempDir(), "x")
	must(t, os.WriteFile(other, []byte(text), 0o640))
	must(t, os.Rename(other, s.path(ns)))
}

func story(t *testing.T, s *Store, ns string) string {
	t.Helper()
	changes, err := s.History(t.Context(), ns, 0)
	must(t, err)
	var words []string
	for _, c := range changes {
		words = append(words, c.Action+" "+c.Dtab.String())
	}
	return strings.Join(words, "|")
}

// follow shows what Observe publishes.
func follow(t *testing.T, s *Store, ns string) (until func(want string)) {
	ctx, cancel := context.WithCancel(context.Background())
	news := make(chan store.Observation, 1000)
	var running sync.WaitGroup
	running.Go(func() { s.Observe(ctx, ns, func(o store.Observation) { news <- o }) })
	t.Cleanup(func() { cancel(); running.Wait() })
	return func(want string) {
		t.Helper()
		deadline := time.After(15 * time.Second)
		var seen []string
		for {
			select {
			case o := <-news:
				got := "unknown"
				switch {
				case o.Exists:
					got = o.Entry.Dtab.String()
				case o.Known:
					got = "missing"
				}
				if o.Err != nil {
					got += " +error " + o.Err.Error()
				}
				if got == want {
					return
				}
				seen = append(seen, got)
			case <-deadline:
				t.Fatalf("not seen: %s; but %q", want, seen)
			}
		}
	}
}

func TestFilesAreForPeople(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "a", "tables")
	s := open(t, dir, Options{})
	must(t, s.Put(t.Context(), "default", table(t, "/svc=>/a;/svc/redis=>9*/b & /c")))
	must(t, s.Put(t.Context(), "empty", nil))
	for name, want := range map[string]string{
		"default.dtab": "/svc => /a ;\n/svc/redis => 9.00*/b & /c ;\n", "empty.dtab": "# This table has no entries.\n",
	} {
		got, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil || string(got) != want {
			t.Errorf("%s: %q %v", name, got, err)
		}
	}
	for name, want := range map[string]os.FileMode{".": 0o700, ".history": 0o700, "default.dtab": 0o600, ".history/default.jsonl": 0o600, ".lock": 0o600} {
		info, err := os.Stat(filepath.Join(dir, name))
		if err != nil || info.Mode().Perm() != want {
			t.Errorf("%s: %v %v", name, info.Mode(), err)
		}
	}
	must(t, os.Chmod(s.path("default"), 0o644)) // whoever opens it to others means it
	must(t, s.Put(t.Context(), "default", table(t, "/x=>/y")))
	if info, err := os.Stat(s.path("default")); err != nil || info.Mode().Perm() != 0o644 {
		t.Error(info.Mode(), err)
	}
}

func TestChangesByHand(t *testing.T) {
	t.Parallel()
	s := open(t, t.TempDir(), Options{Poll: 10 * time.Millisecond})
	until := follow(t, s, "default")
	until("missing")
	byHand(t, s, "default", "# by hand\n/svc => /a ;\n")
	until("/svc=>/a")
	e, err := s.Get(t.Context(), "default")
	must(t, err)
	must(t, s.Update(t.Context(), "default", table(t, "/svc=>/b"), e.Version))
	until("/svc=>/b")

	// A writer that has not seen the change by hand does not overwrite it, however fast it is.
	e, err = s.Get(t.Context(), "default")
	must(t, err)
	must(t, os.WriteFile(s.path("default"), []byte("/svc => /c ;\n"), 0o600)) // of the same length, in place
	if err := s.Update(t.Context(), "default", table(t, "/svc=>/d"), e.Version); !errors.Is(err, store.ErrVersion) {
		t.Errorf("update of what was changed by hand: %v", err)
	}
	until("/svc=>/c")

	// What does not parse changes nothing, and no version matches it.
	e, err = s.Get(t.Context(), "default")
	must(t, err)
	byHand(t, s, "default", "/svc -> /d")
	until("/svc=>/c +error default.dtab, line 1, column 6: '=' expected but '-' found at '/svc [-]> /d'")
	if _, err := s.Get(t.Context(), "default"); err == nil || !strings.Contains(err.Error(), "default.dtab, line 1, column 6: '=' expected") {
		t.Error(err)
	}
	if err := s.Update(t.Context(), "default", nil, e.Version); !errors.Is(err, store.ErrVersion) {
		t.Error(err)
	}
	if err := s.Create(t.Context(), "default", nil); !errors.Is(err, store.ErrExists) {
		t.Error(err)
	}
	byHand(t, s, "default", " \n")
	until("/svc=>/c +error default.dtab: it is empty: a comment says that a table has no entries")
	byHand(t, s, "default", "/svc => /c ;\n") // as it was: no new version
	until("/svc=>/c")
	if again, err := s.Get(t.Context(), "default"); err != nil || again.Version != e.Version {
		t.Errorf("%q, was %q: %v", again.Version, e.Version, err)
	}
	must(t, os.Remove(s.path("default")))
	until("missing")
	byHand(t, s, "default", "#\n")
	until("")
	if got, want := story(t, s, "default"), "found |found |found /svc=>/c|update /svc=>/b|found /svc=>/a"; got != want {
		t.Errorf("history\n got %s\nwant %s", got, want)
	}
}

// An editor that empties a file and then writes it, or moves it away and back, makes no table vanish in between.
func TestUnfinishedEditsAreNotSeen(t *testing.T) {
	t.Parallel()
	s := open(t, t.TempDir(), Options{})
	must(t, s.Put(t.Context(), "default", table(t, "/svc=>/a")))
	must(t, os.WriteFile(s.path("default"), []byte("#"), 0o600))
	if o := s.observe("default", store.Observation{}); o.Entry.Dtab.String() != "/svc=>/a" || o.Err != nil {
		t.Errorf("half written: %+v", o)
	}
	must(t, os.Remove(s.path("default")))
	if o := s.observe("default", store.Observation{}); !o.Exists {
		t.Errorf("moved away: %+v", o)
	}
	time.Sleep(2 * settle)
	if o := s.observe("default", store.Observation{}); o.Exists {
		t.Errorf("gone: %+v", o)
	}
}

func TestOneAtATime(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := open(t, dir, Options{})
	if _, err := Open(dir, Options{}); err == nil || !strings.Contains(err.Error(), "another namerd has the folder") {
		t.Error(err)
	}
	must(t, s.Put(t.Context(), "default", table(t, "/a=>/1")))
	before, err := s.Get(t.Context(), "default")
	must(t, err)
	must(t, s.Close())
	byHand(t, s, "other", "/b=>/2")
	again := open(t, dir, Options{})
	after, err := again.Get(t.Context(), "default")
	if err != nil || after.Version != before.Version {
		t.Errorf("%q, was %q: %v", after.Version, before.Version, err)
	}
	if got := story(t, again, "default"); got != "put /a=>/1" {
		t.Error(got)
	}
	if got := story(t, again, "other"); got != "found /b=>/2" {
		t.Error(got)
	}
}

// A namerd that starts with a file that does not parse goes on with the table of before.
func TestStartsWithABrokenFile(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := open(t, dir, Options{})
	must(t, s.Put(t.Context(), "default", table(t, "/a=>/1")))
	must(t, s.Close())
	must(t, os.WriteFile(s.path("default"), []byte("/a=>"), 0o600))
	must(t, os.WriteFile(s.path("fresh"), []byte("/a=>"), 0o600))
	s = open(t, dir, Options{})
	if o := s.observe("default", store.Observation{}); !o.Known || o.Entry.Dtab.String() != "/a=>/1" || o.Err == nil {
		t.Errorf("%+v", o)
	}
	if o := s.observe("fresh", store.Observation{}); o.Known || o.Err == nil {
		t.Errorf("%+v", o)
	}
	must(t, s.Put(t.Context(), "default", table(t, "/a=>/2")))
	must(t, s.Delete(t.Context(), "fresh"))
}

func TestThingsThatAreNoTables(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := open(t, dir, Options{})
	must(t, os.Mkdir(s.path("folder"), 0o700))
	must(t, os.WriteFile(s.path("large"), []byte("#"+strings.Repeat(" ", maxFile)), 0o600))
	must(t, os.WriteFile(filepath.Join(dir, "a.b.dtab"), nil, 0o600))
	must(t, os.WriteFile(filepath.Join(dir, "README"), nil, 0o600))
	names, err := s.List(t.Context())
	if err != nil || strings.Join(names, " ") != "large" {
		t.Errorf("%q %v", names, err)
	}
	for ns, want := range map[string]string{"folder": "no regular file", "large": "more than 5242880 bytes"} {
		if _, err := s.Get(t.Context(), ns); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", ns, err)
		}
	}
	d := table(t, "/a=>/b"+strings.Repeat("|/b", maxFile/5))
	if err := s.Put(t.Context(), "larger", d); !errors.Is(err, store.ErrLarge) {
		t.Error(err)
	}
	// A folder that has gone as a whole is trouble, and no deletion.
	must(t, s.Put(t.Context(), "default", table(t, "/a=>/1")))
	must(t, os.Rename(dir, dir+".away"))
	t.Cleanup(func() { os.RemoveAll(dir + ".away") })
	time.Sleep(2 * settle)
	if _, err := s.Get(t.Context(), "default"); err == nil || errors.Is(err, store.ErrMissing) {
		t.Error(err)
	}
	if err := s.Put(t.Context(), "default", nil); err == nil {
		t.Error("written into nowhere")
	}
}

// The file of a history does not grow for ever, and what it has lost its end, or is garbage, is left out.
func TestHistoryFile(t *testing.T) {
	t.Parallel()
	s := open(t, t.TempDir(), Options{Limits: store.Limits{Changes: 3}})
	for i := range 40 {
		must(t, s.Put(t.Context(), "default", table(t, fmt.Sprintf("/a=>/%d", i))))
	}
	if lines, err := s.log("default").lines(); err != nil || len(lines) > 6 {
		t.Errorf("%d lines, %v", len(lines), err)
	}
	path := s.log("default").path
	f, err := os.OpenFile(path, os.O_APPEND|os.O_WRONLY, 0)
	must(t, err)
	_, err = f.WriteString(`{"version":"99-torn","exi`)
	must(t, errors.Join(err, f.Close()))
	must(t, s.Put(t.Context(), "default", table(t, "/b=>/1")))
	if got := story(t, s, "default"); got != "put /b=>/1|put /a=>/39|put /a=>/38" {
		t.Error(got)
	}
	// A history that cannot be written does not undo what is done.
	must(t, os.Rename(path, path+".old"))
	must(t, os.Mkdir(path, 0o700))
	must(t, s.Put(t.Context(), "default", table(t, "/c=>/1")))
	if e, err := s.Get(t.Context(), "default"); err != nil || e.Dtab.String() != "/c=>/1" {
		t.Error(e, err)
	}
}

func TestForgetsTheGone(t *testing.T) {
	t.Parallel()
	s := open(t, t.TempDir(), Options{})
	for i := range store.MaxForgotten + 3 { // as deletions leave them
		must(t, os.WriteFile(s.log(fmt.Sprintf("old-%d", i)).path, nil, 0o600))
	}
	must(t, s.Put(t.Context(), "last", nil))
	must(t, s.Put(t.Context(), "here", nil))
	must(t, s.Delete(t.Context(), "last"))
	left, err := os.ReadDir(filepath.Join(s.dir, historyDir))
	if err != nil || len(left) != store.MaxForgotten+1 {
		t.Errorf("%d are left, %v", len(left), err)
	}
	if got := story(t, s, "last"); got != "delete |put " {
		t.Error(got)
	}
}

// File systems count time in steps: what was changed just before it was read may be changed again without a trace.
func TestFreshStampsAreNotTrusted(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "x")
	must(t, os.WriteFile(path, nil, 0o600))
	now := stat(path)
	for age, want := range map[time.Duration]bool{0: false, time.Second: false, 3 * time.Second: true} {
		p := &space{stamp: now, readAt: time.Now().Add(age)}
		if got := p.same(now); got != want {
			t.Errorf("read %v after the change: trusted %v", age, got)
		}
	}
	if p := (&space{}); !p.same(stamp{}) {
		t.Error("what is not there is something else")
	}
}
