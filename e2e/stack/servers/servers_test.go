package servers

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

func TestVersions(t *testing.T) {
	for text, want := range map[string]string{
		"Consul v1.21.0\nRevision abc\n":                                   "1.21.0",
		"Nomad v1.10.5\nBuildDate 2025-09-09T14:36:45Z\n":                  "1.10.5",
		"Nomad v2.0.6-dev\n":                                               "2.0.6",
		"prometheus, version 2.42.0+ds (branch: debian/sid, revision: 2.)": "2.42.0",
		"prometheus, version 3.16.0 (branch: , revision: unknown)":         "3.16.0",
	} {
		v, err := parseVersion([]byte(text))
		if err != nil || v.String() != want {
			t.Errorf("%q: %v, %v, want %s", text, v, err, want)
		}
	}
	for _, text := range []string{"", "no number", "1.2", "go1.26.8 99999999999999999999.1.1"} {
		if v, err := parseVersion([]byte(text)); err == nil {
			t.Errorf("%q: %v", text, v)
		}
	}
	if !(version{1, 9, 9}).less(version{1, 10, 0}) || (version{1, 10, 0}).less(version{1, 10, 0}) || (version{2, 0, 0}).less(version{1, 99, 0}) {
		t.Error("versions are compared as text")
	}
}

// fake puts a program into dir that answers with a version.
func fake(t *testing.T, dir, name, says string) string {
	t.Helper()
	path := filepath.Join(dir, name)
	if err := os.WriteFile(path, []byte("#!/bin/sh\necho '"+says+"'\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestEnvironmentWinsOverPathWinsOverCache(t *testing.T) {
	dir, other := t.TempDir(), t.TempDir()
	inPath := fake(t, dir, "consul", "Consul v1.22.3")
	t.Setenv("PATH", dir+":"+os.Getenv("PATH"))
	t.Setenv("ARGOSY_CONSUL", "")
	s, err := Find(t.Context(), Consul, nil)
	if err != nil || s != (Server{Consul, inPath, "1.22.3", FromPath}) {
		t.Errorf("got %+v, %v", s, err)
	}
	named := fake(t, other, "my-consul", "Consul v1.2.3")
	t.Setenv("ARGOSY_CONSUL", named)
	if s, err = Find(t.Context(), Consul, nil); err != nil || s != (Server{Consul, named, "1.2.3", FromEnv}) {
		t.Errorf("got %+v, %v", s, err)
	}
	t.Setenv("ARGOSY_CONSUL", filepath.Join(other, "missing"))
	if s, err = Find(t.Context(), Consul, nil); err == nil || !strings.Contains(err.Error(), "ARGOSY_CONSUL") {
		t.Errorf("a missing program is accepted: %+v, %v", s, err)
	}
	if _, err = Find(t.Context(), "etcd", nil); err == nil {
		t.Error("an unknown server is found")
	}
}

// repository makes a repository whose tools/consul is a small program, and works in a folder of it.
func repository(t *testing.T, source string) {
	t.Helper()
	root := t.TempDir()
	module := filepath.Join(root, "tools", "consul")
	for path, text := range map[string]string{
		filepath.Join(root, "go.mod"):          "module argosy\n",
		filepath.Join(root, "e2e", "x", "doc"): "",
		filepath.Join(module, "go.mod"): "module argosy.invalid/tools/consul\n\ngo 1.26\n\nrequire github.com/hashicorp/consul v1.21.0\n\n" +
			"replace github.com/hashicorp/consul => ./consul\n",
		filepath.Join(module, "go.sum"):            "",
		filepath.Join(module, "consul", "go.mod"):  "module github.com/hashicorp/consul\n\ngo 1.26\n",
		filepath.Join(module, "consul", "main.go"): source,
	} {
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	t.Chdir(filepath.Join(root, "e2e", "x"))
	// Its own cache of servers, but not of compiled packages, nor of modules.
	gocache := os.Getenv("GOCACHE")
	if gocache == "" {
		dir, err := os.UserCacheDir()
		if err != nil {
			t.Fatal(err)
		}
		gocache = filepath.Join(dir, "go-build")
	}
	t.Setenv("GOCACHE", gocache)
	t.Setenv("XDG_CACHE_HOME", t.TempDir())
	t.Setenv("ARGOSY_CONSUL", "")
}

func TestBuildsOnceAndKeeps(t *testing.T) {
	repository(t, "package main\n\nfunc main() { println(\"Consul v1.21.0\") }\n")
	// An installed one that is too old is passed over, and a user's flags do no harm.
	old := t.TempDir()
	fake(t, old, "consul", "Consul v1.9.9")
	t.Setenv("PATH", old+":"+os.Getenv("PATH"))
	t.Setenv("GOFLAGS", "-mod=vendor")

	const callers = 4
	var wg sync.WaitGroup
	var found [callers]Server
	var progress [callers]bytes.Buffer
	for i := range callers {
		wg.Go(func() {
			s, err := Find(t.Context(), Consul, &progress[i])
			if err != nil {
				t.Error(err)
			}
			found[i] = s
		})
	}
	wg.Wait()
	built := 0
	for i, s := range found {
		if s.Source == FromBuild {
			built++
			if text := progress[i].String(); !strings.Contains(text, "consul 1.21.0: built") {
				t.Errorf("progress of the build:\n%s", text)
			}
		}
		if s.Path != found[0].Path || s.Version != "1.21.0" {
			t.Errorf("got %+v", s)
		}
		if !strings.Contains(progress[i].String(), "older than 1.20.0") {
			t.Errorf("nothing says why the installed one is not used:\n%s", progress[i].String())
		}
	}
	if built != 1 {
		t.Errorf("built %d times: %+v", built, found)
	}
	if v, err := askVersion(t.Context(), found[0].Path); err != nil || v.String() != "1.21.0" {
		t.Errorf("it answers %v, %v", v, err)
	}
	entries, err := os.ReadDir(filepath.Dir(found[0].Path))
	if err != nil || len(entries) != 1 {
		t.Errorf("beside it are %v, %v", entries, err)
	}
	if s, err := Find(t.Context(), Consul, nil); err != nil || s.Source != FromCache {
		t.Errorf("the second time: %+v, %v", s, err)
	}
}

func TestFailedBuildIsToldAndLeavesNothing(t *testing.T) {
	repository(t, "package main\n\nfunc main() { undefinedName() }\n")
	s, err := Find(t.Context(), Consul, nil)
	if err == nil || !strings.Contains(err.Error(), "undefinedName") {
		t.Fatalf("got %+v, %v", s, err)
	}
	cache := filepath.Join(os.Getenv("XDG_CACHE_HOME"), "argosy", "servers")
	kept, _ := filepath.Glob(filepath.Join(cache, "*", "*"))
	if len(kept) > 0 {
		t.Errorf("left behind: %v", kept)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := Find(ctx, Consul, nil); err == nil {
		t.Error("a cancelled build succeeds")
	}
}

func TestOutsideTheRepository(t *testing.T) {
	t.Chdir(t.TempDir())
	t.Setenv("PATH", t.TempDir())
	t.Setenv("ARGOSY_CONSUL", "")
	if _, err := Find(t.Context(), Consul, nil); err == nil || !strings.Contains(err.Error(), "tools/") {
		t.Errorf("got %v", err)
	}
}

func TestPinned(t *testing.T) {
	root, err := Root()
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{Consul: "1.21.0", Nomad: "1.10.5", Prometheus: "0.316.0"} {
		sp, err := specOf(name)
		if err != nil {
			t.Fatal(err)
		}
		b, err := newBuild(t.Context(), root, sp)
		if err != nil || b.version != want {
			t.Errorf("%s: %v, %v", name, b, err)
		}
	}
}

func TestProgressInALog(t *testing.T) {
	var out bytes.Buffer
	p := newProgress(&out, "nomad 1.10.5")
	for i := range 1000 {
		p.say(fmt.Sprintf("%d of at most 1000 packages compiled", i))
	}
	p.done("built")
	if got := strings.Count(out.String(), "\n"); got != 2 {
		t.Errorf("%d lines in less than %s:\n%s", got, logEvery, out.String())
	}
}
