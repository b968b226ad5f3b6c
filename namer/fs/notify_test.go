package fs

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// attentive makes a namer that would take hours to see what is not reported.
func attentive(root string) *Namer {
	n := New(root, nil)
	n.slow = time.Hour
	return n
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func replace(t *testing.T, path, text string) {
	t.Helper()
	write(t, path+".new", text)
	must(t, os.Rename(path+".new", path))
}

// settle waits until nothing is on its way any more, so that only an event can make the namer look.
func settle() { time.Sleep(6 * poll) }

// Each step is seen although nobody looks.
func TestChangesAreReported(t *testing.T) {
	root := t.TempDir()
	file := filepath.Join(root, "team", "redis")
	w := follow(t, attentive(root), "/team/redis")
	for _, step := range []struct {
		what string
		do   func()
		want string
	}{
		{"nothing is there", func() {}, "~"},
		{"folder and file come", func() {
			must(t, os.Mkdir(filepath.Dir(file), 0o700))
			write(t, file, "10.0.0.1 1\n")
		}, "/#/fs/team/redis / ok 10.0.0.1:1"},
		{"written", func() { write(t, file, "10.0.0.2 1\n") }, "/#/fs/team/redis / ok 10.0.0.2:1"},
		{"written with the same size and time", func() {
			info, err := os.Stat(file)
			must(t, err)
			write(t, file, "10.0.0.3 1\n")
			must(t, os.Chtimes(file, info.ModTime(), info.ModTime()))
		}, "/#/fs/team/redis / ok 10.0.0.3:1"},
		{"replaced", func() { replace(t, file, "10.0.0.4 1\n") }, "/#/fs/team/redis / ok 10.0.0.4:1"},
		{"replaced again", func() { replace(t, file, "10.0.0.5 1\n") }, "/#/fs/team/redis / ok 10.0.0.5:1"},
		{"appended", func() {
			f, err := os.OpenFile(file, os.O_APPEND|os.O_WRONLY, 0)
			must(t, err)
			_, err = f.WriteString("10.0.0.6 1\n")
			must(t, err)
			must(t, f.Close())
		}, "/#/fs/team/redis / ok 10.0.0.5:1 10.0.0.6:1"},
		{"removed", func() { must(t, os.Remove(file)) }, "~"},
		{"back", func() { write(t, file, "10.0.0.7 1\n") }, "/#/fs/team/redis / ok 10.0.0.7:1"},
		{"folder renamed away", func() { must(t, os.Rename(filepath.Dir(file), filepath.Join(root, "old"))) }, "~"},
		{"another folder in its place", func() {
			must(t, os.Mkdir(filepath.Join(root, "next"), 0o700))
			write(t, filepath.Join(root, "next", "redis"), "10.0.0.8 1\n")
			must(t, os.Rename(filepath.Join(root, "next"), filepath.Dir(file)))
		}, "/#/fs/team/redis / ok 10.0.0.8:1"},
		{"written in it", func() { write(t, file, "10.0.0.9 1\n") }, "/#/fs/team/redis / ok 10.0.0.9:1"},
		{"all gone", func() { must(t, os.RemoveAll(root)) }, "/#/fs/team/redis / ok 10.0.0.9:1 stale"},
		{"all back", func() {
			must(t, os.MkdirAll(filepath.Dir(file), 0o700))
			write(t, file, "10.0.0.1 2\n")
		}, "/#/fs/team/redis / ok 10.0.0.1:2"},
	} {
		t.Log(step.what)
		step.do()
		w.await(step.want)
		settle()
	}
}

// Kubernetes publishes a new version of all files by turning one link, templates by turning the file's own.
func TestLinks(t *testing.T) {
	base := t.TempDir()
	root := filepath.Join(base, "root")
	version := func(name, text string) {
		dir := filepath.Join(root, "..v"+name)
		must(t, os.MkdirAll(dir, 0o700))
		write(t, filepath.Join(dir, "redis"), text)
	}
	turn := func(link, to string) {
		must(t, os.Symlink(to, link+".tmp"))
		must(t, os.Rename(link+".tmp", link))
	}
	version("1", "10.0.0.1 1\n")
	version("2", "10.0.0.2 1\n")
	turn(filepath.Join(root, "..data"), "..v1")
	turn(filepath.Join(root, "redis"), "..data/redis")
	outside := filepath.Join(base, "outside", "deep")
	must(t, os.MkdirAll(outside, 0o700))
	write(t, filepath.Join(outside, "web"), "10.0.1.1 1\n")
	turn(filepath.Join(root, "web"), filepath.Join(outside, "web"))
	turn(filepath.Join(root, "team"), "../outside")
	turn(filepath.Join(root, "loop"), "loop")
	alias := filepath.Join(base, "alias")
	turn(alias, "root")

	n := attentive(alias)
	redis, web, deep := follow(t, n, "/redis"), follow(t, n, "/web"), follow(t, n, "/team/deep/web")
	loop := follow(t, n, "/loop")
	redis.await("/#/fs/redis / ok 10.0.0.1:1")
	web.await("/#/fs/web / ok 10.0.1.1:1")
	deep.await("/#/fs/team/deep/web / ok 10.0.1.1:1")
	loop.await("failed")
	settle()

	turn(filepath.Join(root, "..data"), "..v2")
	redis.await("/#/fs/redis / ok 10.0.0.2:1")
	settle()
	write(t, filepath.Join(root, "..v2", "redis"), "10.0.0.3 1\n") // in the folder that the link points to now
	redis.await("/#/fs/redis / ok 10.0.0.3:1")

	replace(t, filepath.Join(outside, "web"), "10.0.1.2 1\n")
	web.await("/#/fs/web / ok 10.0.1.2:1")
	deep.await("/#/fs/team/deep/web / ok 10.0.1.2:1")
	turn(filepath.Join(root, "web"), "redis")
	web.await("/#/fs/web / ok 10.0.0.3:1")
	settle()

	other := filepath.Join(base, "other")
	must(t, os.Mkdir(other, 0o700))
	write(t, filepath.Join(other, "redis"), "10.0.2.1 1\n")
	turn(alias, "other")
	redis.await("/#/fs/redis / ok 10.0.2.1:1")
	web.await("~")
	write(t, filepath.Join(other, "redis"), "10.0.2.2 1\n")
	redis.await("/#/fs/redis / ok 10.0.2.2:1")
	loop.await("~")
}

// Where nothing is reported, looking does it.
func TestWithoutReports(t *testing.T) {
	base := t.TempDir()
	root := filepath.Join(base, "not", "yet") // not even the folder that it would be in
	early := follow(t, attentive(root), "/redis")
	early.await("failed")

	n := attentive(root)
	n.notifier.users.Store(1) // as if there could be no queue
	n.notifier.dirs = map[string]*dir{}
	blind := follow(t, n, "/redis")
	blind.await("failed")

	must(t, os.MkdirAll(root, 0o700))
	write(t, filepath.Join(root, "redis"), "10.0.0.1 1\n")
	for _, w := range []*watched{early, blind} {
		w.await("/#/fs/redis / ok 10.0.0.1:1")
	}
	settle()
	write(t, filepath.Join(root, "redis"), "10.0.0.2 1\n")
	for _, w := range []*watched{early, blind} {
		w.await("/#/fs/redis / ok 10.0.0.2:1")
	}
}

// deaf makes a namer of a folder with a file that it watches, and takes the folder from it in secret.
func deaf(t *testing.T, slow time.Duration) (*Namer, *watched) {
	root := t.TempDir()
	file := filepath.Join(root, "redis")
	write(t, file, "10.0.0.1 1\n")
	n := New(root, nil)
	n.slow = slow
	w := follow(t, n, "/redis")
	w.await("/#/fs/redis / ok 10.0.0.1:1")
	settle()
	n.notifier.changing.Lock()
	must(t, n.notifier.queue.Remove(root))
	n.notifier.changing.Unlock()
	write(t, file, "10.0.0.2 1\n")
	return n, w
}

// When events were lost, everybody looks.
func TestLostEvents(t *testing.T) {
	n, w := deaf(t, time.Hour)
	settle()
	if got := w.last(); got != "/#/fs/redis / ok 10.0.0.1:1" {
		t.Fatalf("%s: seen without an event, so this tests nothing", got)
	}
	n.notifier.lost()
	w.await("/#/fs/redis / ok 10.0.0.2:1")
}

// What no event tells of, as on a file system that other machines write to, is seen in the end.
func TestSlowLooks(t *testing.T) {
	_, w := deaf(t, 4*poll)
	w.await("/#/fs/redis / ok 10.0.0.2:1")
}

// Many names in one folder: a change wakes only its own watch, and nothing is left at the end.
func TestManyFiles(t *testing.T) {
	const files = 3000
	before := descriptors(t)
	root := t.TempDir()
	for i := range files {
		write(t, filepath.Join(root, fmt.Sprint("s", i)), "10.0.0.1 1\n")
	}
	n := attentive(root)
	t.Run("watched", func(t *testing.T) {
		var all []*watched
		for i := range files {
			all = append(all, follow(t, n, fmt.Sprint("/s", i)))
		}
		for i, w := range all {
			w.await(fmt.Sprintf("/#/fs/s%d / ok 10.0.0.1:1", i))
		}
		n.notifier.mu.Lock()
		if alarms := n.notifier.dirs[root].names["s7"]; len(alarms) != 1 {
			t.Errorf("%d watches are woken by one file", len(alarms))
		}
		n.notifier.mu.Unlock()
		for _, i := range []int{7, files - 1} {
			write(t, filepath.Join(root, fmt.Sprint("s", i)), "10.0.0.2 1\n")
			all[i].await(fmt.Sprintf("/#/fs/s%d / ok 10.0.0.2:1", i))
		}
	})
	if n.notifier.queue != nil || len(n.notifier.dirs) != 0 || n.notifier.users.Load() != 0 {
		t.Errorf("left: %d folders, %d users, queue %v", len(n.notifier.dirs), n.notifier.users.Load(), n.notifier.queue)
	}
	if after := descriptors(t); after > before {
		t.Errorf("%d descriptors are open, %d were", after, before)
	}
}

func descriptors(t *testing.T) int {
	t.Helper()
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Skip(err)
	}
	return len(entries)
}
