package files

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"argosy/dtab"
	"argosy/namerd/store"
)

// space is what is known of one namespace: its last good state, and what its file was when it was looked at last.
type space struct {
	known  bool // there is a last good state
	exists bool
	entry  store.Entry // if it exists
	number uint64      // of the last state; they only grow
	lines  int         // about as many are in the file of the history
	bad    error       // the file has text that does not parse

	stamp  stamp
	readAt time.Time
	gone   time.Time // since when there is no file, while it is not believed yet
}

// recent is for how long after a change the stamp of a file is not trusted: file systems count time in steps.
const recent = 2 * time.Second

// same reports whether the file surely is what was read.
func (p *space) same(now stamp) bool {
	return now == p.stamp && (!now.there || p.readAt.Sub(now.changed) > recent)
}

// look brings what is known of a namespace up to date. Something that another program has changed this very moment is
// let settle, since it may not be done yet: unless at once is set, which it is before something is written.
// It is called with the lock held.
func (s *Store) look(ns string, atOnce bool) (*space, error) {
	p := s.spaces[ns]
	path := s.path(ns)
	info, err := os.Stat(path)
	missing := errors.Is(err, fs.ErrNotExist)
	switch {
	case err != nil && !missing:
		return nil, fmt.Errorf("look at the table of %s: %w", ns, err)
	case !missing && !info.Mode().IsRegular():
		return nil, fmt.Errorf("look at the table of %s: %s is no regular file", ns, path)
	case missing && !stat(filepath.Join(s.dir, lockFile)).there: // not a table is gone, but all: say, what was mounted
		return nil, fmt.Errorf("look at the table of %s: the folder %s is gone, or is another one", ns, s.dir)
	}
	if p == nil {
		if p, err = s.recall(ns); err != nil {
			return nil, err
		}
		if !missing || p.number > 0 { // a name that nobody has used takes no memory
			s.spaces[ns] = p
		}
		atOnce = true
	}
	if missing {
		s.miss(ns, p, atOnce)
		return p, nil
	}
	p.gone = time.Time{}
	now := stampOf(info)
	if p.same(now) {
		return p, nil
	}
	if age := time.Since(info.ModTime()); now != p.stamp && !atOnce && 0 <= age && age < settle {
		return p, nil
	}
	text, err := read(path)
	if err != nil {
		return nil, fmt.Errorf("read the table of %s: %w", ns, err)
	}
	p.stamp, p.readAt = now, time.Now()
	s.take(ns, p, text)
	return p, nil
}

// miss notes that there is no file.
func (s *Store) miss(ns string, p *space, atOnce bool) {
	p.stamp = stamp{}
	if p.known && !p.exists || !p.known && p.number == 0 && p.bad == nil {
		p.known, p.bad = true, nil
		return
	}
	if p.gone.IsZero() {
		p.gone = time.Now()
	}
	if !atOnce && time.Since(p.gone) < settle { // an editor may be about to put it back
		return
	}
	s.accept(ns, p, store.NewChange(context.Background(), store.ActionFound, time.Now()), nil)
}

// take takes over the text of a file, if it is not what was written or taken before.
func (s *Store) take(ns string, p *space, text []byte) {
	if p.known && p.exists && strings.HasSuffix(string(p.entry.Version), sum(text)) {
		p.bad = nil
		return
	}
	table, err := store.ParseText(ns+suffix, string(text))
	if err == nil && strings.TrimSpace(string(text)) == "" { // most likely what should have written it has failed
		err = fmt.Errorf("%s%s: it is empty: a comment says that a table has no entries", ns, suffix)
	}
	if err != nil {
		p.bad = err
		return
	}
	c := store.NewChange(context.Background(), store.ActionFound, time.Now())
	c.Exists, c.Dtab = true, table
	s.accept(ns, p, c, text)
}

// accept makes a change the newest state, and remembers it. A history that cannot be written does not undo what is done.
func (s *Store) accept(ns string, p *space, c store.Change, text []byte) {
	p.number++
	c.Version = store.Version(strconv.FormatUint(p.number, 10))
	p.entry = store.Entry{}
	if c.Exists {
		c.Version += store.Version("-" + sum(text))
		p.entry = store.Entry{Dtab: c.Dtab, Version: c.Version}
	}
	p.known, p.exists, p.bad, p.gone = true, c.Exists, nil, time.Time{}
	s.spaces[ns] = p
	if err := s.record(ns, p, c); err != nil {
		s.logger.Error("a change is not in the history", "namespace", ns, "version", string(c.Version), "error", err)
	}
}

// record writes a change into the history, which may become twice as long as its limits before it is cut down.
func (s *Store) record(ns string, p *space, c store.Change) error {
	log := s.log(ns)
	size, err := log.append(c)
	if err != nil {
		return err
	}
	p.lines++
	if p.lines >= 2*log.limits.Changes || size >= 2*int64(log.limits.Bytes) {
		p.lines = log.limits.Changes
		if err := log.compact(); err != nil {
			return err
		}
	}
	if !c.Exists {
		return s.forget()
	}
	return nil
}

// recall is what the history knows of a namespace: its last good table goes on where its file has become unreadable.
func (s *Store) recall(ns string) (*space, error) {
	changes, err := s.log(ns).read()
	if err != nil {
		return nil, err
	}
	p := &space{lines: len(changes)}
	if len(changes) == 0 {
		return p, nil
	}
	c := changes[len(changes)-1]
	number, _, _ := strings.Cut(string(c.Version), "-")
	if p.number, err = strconv.ParseUint(number, 10, 64); err != nil {
		return nil, fmt.Errorf("history of %s: %q is no version", ns, c.Version)
	}
	p.known, p.exists = true, c.Exists
	if c.Exists {
		p.entry = store.Entry{Dtab: c.Dtab, Version: c.Version}
	}
	return p, nil
}

// sum is a checksum of a file, as it stands in versions.
func sum(text []byte) string {
	h := sha256.Sum256(text)
	return fmt.Sprintf("%x", h[:8])
}

func read(path string) ([]byte, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0) // a pipe that has taken its place must not hold us up
	if err != nil {
		return nil, err
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err == nil && len(text) > maxFile {
		err = fmt.Errorf("it has more than %d bytes", maxFile)
	}
	return text, err
}

// render is a table as people like to edit it.
func render(d dtab.Dtab) []byte {
	if len(d) == 0 {
		return []byte("# This table has no entries.\n")
	}
	var b strings.Builder
	for _, e := range d {
		fmt.Fprintf(&b, "%s => %s ;\n", e.Prefix, dtab.TreeString(e.Dst))
	}
	return []byte(b.String())
}
