package consul

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"argosy/internal/snapshot"

	"github.com/hashicorp/consul/api"
	"github.com/hashicorp/go-hclog"
)

// remembering are options with a snapshot folder, and log what happens to it.
func remembering(t *testing.T, dir string) (Options, *bytes.Buffer) {
	t.Helper()
	var log bytes.Buffer
	s, err := snapshot.Open(dir, "consul-1", hclog.New(&hclog.LoggerOptions{Output: &log}))
	if err != nil {
		t.Fatal(err)
	}
	return Options{UseHealth: true, HoldEmpty: 15 * time.Second, Snapshots: s}, &log
}

func list(entries ...*api.ServiceEntry) answer { return answer{entries: entries} }

var errDown = answer{err: errors.New("connection refused")}

// file is the only one in dir.
func file(t *testing.T, dir string) string {
	t.Helper()
	all, err := filepath.Glob(filepath.Join(dir, "*"))
	if err != nil || len(all) != 1 {
		t.Fatalf("files %v, %v", all, err)
	}
	return all[0]
}

func TestSnapshotOutlivesARestart(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		o, _ := remembering(t, dir)
		w, last := following(t, o)
		native := weighted("a", 1, "passing", 3, 1)
		native.Service.Connect = &api.AgentServiceConnect{Native: true}
		w.take(list(native, inst("b", "", 2, "passing")))
		const all = "10.0.0.1:1*3@dc1/web 10.0.0.1:2"
		if last() != all {
			t.Fatalf("got %q", last())
		}
		if info, err := os.Stat(file(t, dir)); err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("mode %v, %v", info.Mode(), err)
		}
		time.Sleep(time.Hour)

		down, last := following(t, o)
		down.take(errDown)
		if last() != all+" stale" {
			t.Errorf("when consul is down: %q", last())
		}
		down.take(list()) // it is back, and knows nothing: its services have to register again
		if last() != all+" stale" {
			t.Errorf("when consul has lost its data: %q", last())
		}
		down.take(list(inst("b", "", 2, "passing")))
		if last() != "10.0.0.1:2" {
			t.Errorf("when consul is back: %q", last())
		}

		silent, last := following(t, o)
		time.Sleep(patience / 2)
		if last() != "pending" {
			t.Errorf("at once: %q", last())
		}
		time.Sleep(patience)
		synctest.Wait()
		if last() != "10.0.0.1:2 stale" {
			t.Errorf("when consul hangs: %q", last())
		}
		silent.take(list(inst("c", "", 3, "passing")))
		if last() != "10.0.0.1:3" {
			t.Errorf("when it answers: %q", last())
		}

		failing, last := following(t, o)
		failing.take(list(inst("b", "", 2, "critical"), inst("c", "", 3, "critical")))
		if last() != "10.0.0.1:3 stale" {
			t.Errorf("when all fail at first: %q", last())
		}
		time.Sleep(16 * time.Second)
		synctest.Wait()
		if last() != "~" {
			t.Errorf("when they do so for long: %q", last())
		}

		// Other options and other services have files of their own.
		for _, other := range []Options{{Snapshots: o.Snapshots}, {UseHealth: true, PreferService: true, Snapshots: o.Snapshots}} {
			w, last := following(t, other)
			w.take(errDown)
			if last() != "~" {
				t.Errorf("with %+v: %q", other, last())
			}
		}
		// A service that has stopped is forgotten.
		w.take(list())
		again, last := following(t, o)
		again.take(errDown)
		if last() != "~" {
			t.Errorf("a service that has stopped: %q", last())
		}
	})
}

func TestSnapshotsThatAreNotUsed(t *testing.T) {
	t.Parallel()
	for name, spoil := range map[string]func(t *testing.T, path string, good []byte){
		"corrupt":        put(func(b []byte) []byte { return b[:len(b)/2] }),
		"empty":          put(func([]byte) []byte { return nil }),
		"foreign":        put(func([]byte) []byte { return []byte(`{"some": "json"}`) }),
		"version":        put(func(b []byte) []byte { return bytes.Replace(b, []byte(`"version":1`), []byte(`"version":2`), 1) }),
		"other service":  put(func(b []byte) []byte { return bytes.Replace(b, []byte("web"), []byte("db"), 1) }),
		"other consul":   put(func(b []byte) []byte { return bytes.Replace(b, []byte("consul-1"), []byte("consul-2"), 1) }),
		"no address":     put(func(b []byte) []byte { return bytes.Replace(b, []byte("10.0.0.1:1"), []byte("10.0.0.1"), 1) }),
		"no weight":      put(func(b []byte) []byte { return bytes.Replace(b, []byte(`"weight":1`), []byte(`"weight":-1`), 1) }),
		"not a list":     put(func(b []byte) []byte { return bytes.Replace(b, []byte(`"content":[`), []byte(`"content":7,"x":[`), 1) }),
		"too old":        put(func(b []byte) []byte { return bytes.Replace(b, []byte(`"at":"20`), []byte(`"at":"19`), 1) }),
		"of tomorrow":    put(func(b []byte) []byte { return bytes.Replace(b, []byte(`"at":"20`), []byte(`"at":"21`), 1) }),
		"huge":           put(func(b []byte) []byte { return append(b, bytes.Repeat([]byte(" "), 1<<20)...) }),
		"a symlink":      func(t *testing.T, path string, _ []byte) { must(t, os.Remove(path), os.Symlink("/dev/zero", path)) },
		"a folder":       func(t *testing.T, path string, _ []byte) { must(t, os.Remove(path), os.Mkdir(path, 0o700)) },
		"nothing at all": func(t *testing.T, path string, _ []byte) { must(t, os.Remove(path)) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			o, log := remembering(t, dir)
			w, _ := following(t, o)
			w.take(list(inst("a", "", 1, "passing")))
			path := file(t, dir)
			good, err := os.ReadFile(path)
			must(t, err)
			spoil(t, path, good)
			again, last := following(t, o)
			again.take(errDown)
			if last() != "~" {
				t.Errorf("it was used: %q", last())
			}
			if told := strings.Contains(log.String(), "snapshot is not used"); told != (name != "nothing at all") {
				t.Errorf("log: %s", log)
			}
		})
	}
}

func put(change func([]byte) []byte) func(*testing.T, string, []byte) {
	return func(t *testing.T, path string, good []byte) { must(t, os.WriteFile(path, change(good), 0o600)) }
}

func must(t *testing.T, errs ...error) {
	t.Helper()
	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
	}
}

// A service that changes all the time does not keep the disk busy, and its last state is written all the same.
func TestSnapshotWritesAreBounded(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		o, _ := remembering(t, dir)
		w, _ := following(t, o)
		writes, before := 0, os.FileInfo(nil)
		for i := range 100 { // for twenty seconds
			w.take(list(inst("a", "", 1+i, "passing")))
			if info, err := os.Stat(file(t, dir)); err != nil {
				t.Fatal(err)
			} else if before == nil || !os.SameFile(info, before) {
				writes, before = writes+1, info
			}
			time.Sleep(200 * time.Millisecond)
		}
		if writes > 3 {
			t.Errorf("%d writes", writes)
		}
		time.Sleep(snapshot.Every)
		synctest.Wait()
		again, last := following(t, o)
		again.take(errDown)
		if last() != "10.0.0.1:100 stale" {
			t.Errorf("got %q", last())
		}
	})
}

func TestSnapshotFolder(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	old, other := filepath.Join(dir, "x"+snapshot.Suffix), filepath.Join(dir, "notes.txt")
	for _, path := range []string{old, other} {
		must(t, os.WriteFile(path, nil, 0o600), os.Chtimes(path, time.Time{}, time.Now().Add(-30*24*time.Hour)))
	}
	if _, err := snapshot.Open(dir, "", hclog.NewNullLogger()); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(old); err == nil {
		t.Error("an old snapshot is still there")
	}
	if _, err := os.Stat(other); err != nil {
		t.Error("a file that is not ours is gone")
	}
}

func TestRecordedPlan(t *testing.T) {
	t.Parallel()
	n := New(nil, Options{Resolver: true}, hclog.NewNullLogger(), nil)
	c := &compiler{namer: n, prefix: []string{"#", "c"}}
	p := plan{known: true, targets: []target{
		{id: []string{"#", "c", ".subset", "dc1", "web", "v1"}, request: n.request("dc1", "web").narrowed("Service.Meta.v == 1")},
		{id: []string{"#", "c", ".target", "dc2", "db"}, request: n.request("dc2", "db")},
	}}
	if got := c.planOf(recordPlan(p)); !got.equal(p) {
		t.Errorf("got %+v", got)
	}
	bad := recordPlan(p)
	bad[0].ID, bad[1].Service = "/other/x", "../../agent"
	if got := c.planOf(bad); len(got.targets) != 0 {
		t.Errorf("got %+v", got)
	}
}
