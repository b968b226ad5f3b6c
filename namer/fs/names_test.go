package fs

import (
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"testing"
)

func TestNames(t *testing.T) {
	root := t.TempDir()
	n := New(root, nil)
	if got, err := n.Names(t.Context()); err != nil || len(got) != 0 {
		t.Errorf("an empty folder: %v, %v", got, err)
	}
	write(t, filepath.Join(root, "web"), "x")
	write(t, filepath.Join(root, "redis"), "10.0.0.1 1\n")
	write(t, filepath.Join(root, "with space"), "")
	write(t, filepath.Join(root, ".hidden"), "")
	for _, dir := range []string{"team", "..data"} {
		if err := os.Mkdir(filepath.Join(root, dir), 0o700); err != nil {
			t.Fatal(err)
		}
		write(t, filepath.Join(root, dir, "inner"), "10.0.0.1 1\n")
	}
	for name, to := range map[string]string{"link": "..data/inner", "todir": "team", "dangling": "nowhere"} {
		if err := os.Symlink(to, filepath.Join(root, name)); err != nil {
			t.Fatal(err)
		}
	}
	if err := syscall.Mkfifo(filepath.Join(root, "pipe"), 0o600); err != nil {
		t.Fatal(err)
	}
	got, err := n.Names(t.Context())
	if want := `[/link /redis /web /\x77\x69\x74\x68\x20\x73\x70\x61\x63\x65]`; err != nil || fmt.Sprint(got) != want {
		t.Errorf("got %v, %v, want %s", got, err, want)
	}
	if _, err := New(filepath.Join(root, "gone"), nil).Names(t.Context()); err == nil {
		t.Error("a folder that is not there can be listed")
	}
}
