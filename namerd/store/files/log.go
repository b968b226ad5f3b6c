package files

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"argosy/namerd/store"
)

// tempPrefix is how files begin that are about to take the name of another one.
const tempPrefix = ".new-"

// history is the file of a namespace's changes: a line of JSON for each, the oldest first.
type history struct {
	path   string
	limits store.Limits
}

func (s *Store) log(ns string) history {
	return history{path: filepath.Join(s.dir, historyDir, ns+historySuffix), limits: s.limits.WithDefaults()}
}

// lines are the lines that are whole. What a crash has cut off in the middle is left out, and so is a last line that is
// none yet.
func (h history) lines() ([][]byte, error) {
	text, err := os.ReadFile(h.path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("history: %w", err)
	}
	return bytes.Split(bytes.TrimSuffix(text, []byte("\n")), []byte("\n")), nil
}

// read returns the changes that the limits allow.
func (h history) read() ([]store.Change, error) {
	lines, err := h.lines()
	if err != nil {
		return nil, err
	}
	changes, sizes := make([]store.Change, 0, len(lines)), make([]int, 0, len(lines))
	for _, line := range lines {
		if c, err := store.UnmarshalChange(line); err == nil { // a line that is none was cut off
			changes, sizes = append(changes, c), append(sizes, len(line))
		}
	}
	return changes[h.limits.Excess(sizes):], nil
}

// append adds a change, and returns the size of the file.
func (h history) append(c store.Change) (size int64, err error) {
	line := append(store.MarshalChange(c), '\n')
	f, err := os.OpenFile(h.path, os.O_CREATE|os.O_RDWR|os.O_APPEND, 0o600)
	if err != nil {
		return 0, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return 0, err
	}
	size = info.Size()
	if size > 0 {
		last := make([]byte, 1)
		if _, err := f.ReadAt(last, size-1); err == nil && last[0] != '\n' { // a crash has cut the last one off
			line = append([]byte{'\n'}, line...)
		}
	}
	if _, err := f.Write(line); err != nil {
		return 0, err
	}
	if err := f.Sync(); err != nil {
		return 0, err
	}
	if size == 0 {
		err = syncDir(filepath.Dir(h.path))
	}
	return size + int64(len(line)), err
}

// compact writes the file anew, with what the limits allow.
func (h history) compact() error {
	lines, err := h.lines()
	if err != nil {
		return err
	}
	sizes := make([]int, len(lines))
	for i, line := range lines {
		sizes[i] = len(line)
	}
	drop := h.limits.Excess(sizes)
	if drop == 0 {
		return nil
	}
	return replace(h.path, append(bytes.Join(lines[drop:], []byte("\n")), '\n'))
}

// replace gives a file a new content, all of it or nothing, that stays after a crash. The file keeps its permissions;
// a new one is for its owner only.
func replace(path string, content []byte) error {
	mode := fs.FileMode(0o600)
	if info, err := os.Stat(path); err == nil {
		mode = info.Mode().Perm()
	}
	f, err := os.CreateTemp(filepath.Dir(path), tempPrefix+"*")
	if err != nil {
		return err
	}
	_, err = f.Write(content)
	if err == nil {
		err = f.Chmod(mode)
	}
	if err == nil {
		err = f.Sync()
	}
	err = errors.Join(err, f.Close())
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		return errors.Join(err, os.Remove(f.Name()))
	}
	return syncDir(filepath.Dir(path))
}

// remove deletes a file for good.
func remove(path string) error {
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return syncDir(filepath.Dir(path))
}

// syncDir makes the names in a folder stay after a crash.
func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// forget removes the histories of namespaces that are gone, the longest gone first, where they are too many.
// It is called with the lock held.
func (s *Store) forget() error {
	entries, err := os.ReadDir(filepath.Join(s.dir, historyDir))
	if err != nil || len(entries) <= store.MaxForgotten {
		return err
	}
	type gone struct {
		ns string
		at time.Time
	}
	var all []gone
	for _, e := range entries {
		ns, ok := strings.CutSuffix(e.Name(), historySuffix)
		info, err := e.Info()
		if !ok || err != nil || stat(s.path(ns)).there {
			continue
		}
		all = append(all, gone{ns, info.ModTime()})
	}
	slices.SortFunc(all, func(a, b gone) int { return a.at.Compare(b.at) })
	for len(all) > store.MaxForgotten {
		if err := os.Remove(s.log(all[0].ns).path); err != nil {
			return err
		}
		delete(s.spaces, all[0].ns)
		all = all[1:]
	}
	return nil
}
