package snapshot

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/hashicorp/go-hclog"
)

// What could not be written, because the disk was full for instance, is written as soon as it can be, though it is what
// was to be written before.
func TestFailedWriteIsTriedAgain(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "snapshots")
	folder, err := Open(dir, "here", hclog.NewNullLogger())
	if err != nil {
		t.Fatal(err)
	}
	f := folder.File("it")
	if err := os.RemoveAll(dir); err != nil {
		t.Fatal(err)
	}
	f.Keep("good")
	f.Finish()
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	f.Keep("good")
	f.Finish()
	var got string
	if _, ok := folder.File("it").Load(&got); !ok || got != "good" {
		t.Errorf("got %q, %v", got, ok)
	}
}
