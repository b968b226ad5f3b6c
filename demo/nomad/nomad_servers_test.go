//go:build servers

package main

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"argosy/dev"
)

// scratch is a temporary folder with a short name: Nomad has sockets below it, whose paths have a limit.
func scratch(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("/tmp", "demo-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	t.Setenv("TMPDIR", dir)
	return dir
}

func nothingIn(t *testing.T, dir string) {
	t.Helper()
	if left := dev.ProcessesIn(dir); len(left) > 0 {
		t.Errorf("left behind: %s", strings.Join(left, "\n"))
	}
	if left, _ := filepath.Glob(filepath.Join(dir, "*")); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
	if mounts, err := os.ReadFile("/proc/mounts"); err == nil && strings.Contains(string(mounts), dir) {
		t.Error("mounts are left behind")
	}
}

func TestTheWholeStoryOnNomad(t *testing.T) {
	dir := scratch(t)
	var out, errs bytes.Buffer
	code := tell(t.Context(), true, false, nil, &out, &errs)
	t.Logf("%s%s", errs.String(), out.String())
	if code != 0 || !strings.Contains(out.String(), "every step happened") {
		t.Errorf("exit code %d", code)
	}
	nothingIn(t, dir)
}

// lines counts the steps that have begun.
type lines struct {
	mu    sync.Mutex
	text  bytes.Buffer
	until string
	then  func()
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.text.Write(p)
	if l.then != nil && strings.Contains(l.text.String(), l.until) {
		l.then()
		l.then = nil
	}
	return len(p), nil
}

func TestInterruptedOnNomad(t *testing.T) {
	for _, at := range []string{"starting Consul", "submitting", "waiting until the check of proxy", "[4/7]"} {
		t.Run(at, func(t *testing.T) {
			dir := scratch(t)
			ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
			defer cancel()
			out, errs := &lines{until: at, then: cancel}, &bytes.Buffer{}
			if code := tell(ctx, true, false, nil, out, errs); code != 1 {
				t.Errorf("exit code %d", code)
			}
			if !strings.Contains(errs.String(), "interrupted") || strings.Contains(out.text.String(), "left behind") {
				t.Errorf("it says\n%s\n%s", out.text.String(), errs)
			}
			nothingIn(t, dir)
		})
	}
}
