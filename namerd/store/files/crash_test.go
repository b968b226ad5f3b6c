package files

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// A process that writes until it is killed. It says of every table that it is there.
func TestCrashingWriter(t *testing.T) {
	dir := os.Getenv("ARGOSY_TEST_CRASH_DIR")
	if dir == "" {
		t.Skip("only for TestCrash")
	}
	s, err := Open(dir, Options{})
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; ; i++ {
		if err := s.Put(t.Context(), "default", table(t, fmt.Sprintf("/a=>/%d", i))); err != nil {
			t.Fatal(err)
		}
		fmt.Println("done", i)
	}
}

// Killed at any moment, a writer leaves the last table that it has acknowledged, or the one after it, and a history
// that tells of what is there.
func TestCrash(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for round := range 5 {
		writer := exec.Command(os.Args[0], "-test.run=^TestCrashingWriter$")
		writer.Env = append(os.Environ(), "ARGOSY_TEST_CRASH_DIR="+dir)
		out, err := writer.StdoutPipe()
		must(t, err)
		must(t, writer.Start())
		killed := time.AfterFunc(time.Minute, func() { writer.Process.Kill() })
		last := -1
		for lines := bufio.NewScanner(out); lines.Scan(); {
			if _, err := fmt.Sscanf(lines.Text(), "done %d", &last); err == nil && last == 20+round*7 {
				writer.Process.Kill()
			}
		}
		killed.Stop()
		writer.Wait()
		if last < 20 {
			t.Fatalf("it wrote only %d", last)
		}
		s := open(t, dir, Options{})
		e, err := s.Get(t.Context(), "default")
		must(t, err)
		if got := e.Dtab.String(); got != fmt.Sprintf("/a=>/%d", last) && got != fmt.Sprintf("/a=>/%d", last+1) {
			t.Errorf("%d was acknowledged, %s is there", last, got)
		}
		changes, err := s.History(t.Context(), "default", 0)
		must(t, err)
		if len(changes) < 20 || changes[0].Version != e.Version || !changes[0].Dtab.Equal(e.Dtab) {
			t.Errorf("%d changes, the newest %+v", len(changes), changes[0])
		}
		if left, err := filepath.Glob(filepath.Join(dir, "*", tempPrefix+"*")); err != nil || len(left) > 0 {
			t.Error(left, err)
		}
		for _, c := range changes {
			if !strings.HasPrefix(c.Dtab.String(), "/a=>/") {
				t.Errorf("%+v", c)
			}
		}
		must(t, s.Close())
	}
}
