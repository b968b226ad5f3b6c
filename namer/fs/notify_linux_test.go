package fs

import (
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"
)

// A folder that takes the place of another in one step is watched from then on, although no place has changed.
func TestFoldersThatChangePlaces(t *testing.T) {
	root := t.TempDir()
	team, next := filepath.Join(root, "team"), filepath.Join(root, "next")
	for dir, text := range map[string]string{team: "10.0.0.1 1\n", next: "10.0.0.2 1\n"} {
		must(t, os.Mkdir(dir, 0o700))
		write(t, filepath.Join(dir, "redis"), text)
	}
	w := follow(t, attentive(root), "/team/redis")
	w.await("/#/fs/team/redis / ok 10.0.0.1:1")
	settle()
	must(t, unix.Renameat2(unix.AT_FDCWD, next, unix.AT_FDCWD, team, unix.RENAME_EXCHANGE))
	w.await("/#/fs/team/redis / ok 10.0.0.2:1")
	settle()
	write(t, filepath.Join(team, "redis"), "10.0.0.3 1\n")
	w.await("/#/fs/team/redis / ok 10.0.0.3:1")
	settle()
	write(t, filepath.Join(next, "redis"), "10.0.0.4 1\n") // the first folder: nobody's any more
	replace(t, filepath.Join(team, "redis"), "10.0.0.5 1\n")
	w.await("/#/fs/team/redis / ok 10.0.0.5:1")
}
