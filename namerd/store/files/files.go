// Package files keeps Dtab namespaces in a folder: <namespace>.dtab holds the table as text, for people and for
// configuration management to read and to edit, with comments. What has changed is kept in .history beside them.
//
// A table is written to a file of its own that then takes the name, so that whoever reads sees all of it or the one
// before, also after a crash. What this process did not write is noticed by looking, several times a second while the
// namespace is watched, and is a version of its own; text that does not parse changes nothing.
package files

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/hashicorp/go-hclog"

	"argosy/dtab"
	"argosy/internal/watch"
	"argosy/namerd/store"
)

const (
	suffix        = ".dtab"
	historyDir    = ".history"
	historySuffix = ".jsonl"
	lockFile      = ".lock"
	maxFile       = 5 << 20 // bytes of a table's text
	settle        = 100 * time.Millisecond
)

// Options may be left out.
type Options struct {
	Logger hclog.Logger
	Limits store.Limits
	Poll   time.Duration // how often a watched file is looked at; 200ms unless set
}

// Store implements store.Historian. Its methods may be called from any goroutine. A version is a number that only grows
// and a checksum of the file, as in 7-0123456789abcdef.
type Store struct {
	dir    string
	logger hclog.Logger
	limits store.Limits
	poll   time.Duration
	lock   *os.File

	mu      sync.Mutex
	spaces  map[string]*space // what is known of the namespaces that exist, or are remembered
	changed *watch.Cell[int]  // counts what this process has written, and wakes those who watch
}

// Open takes the folder, and makes it if need be, for its owner only. No second store can have it, in this process or
// another one. Close gives it back.
func Open(dir string, o Options) (*Store, error) {
	if o.Logger == nil {
		o.Logger = hclog.NewNullLogger()
	}
	if o.Poll <= 0 {
		o.Poll = 200 * time.Millisecond
	}
	if err := os.MkdirAll(filepath.Join(dir, historyDir), 0o700); err != nil {
		return nil, fmt.Errorf("store of files: %w", err)
	}
	lock, err := os.OpenFile(filepath.Join(dir, lockFile), os.O_CREATE|os.O_RDWR|syscall.O_CLOEXEC, 0o600)
	if err != nil {
		return nil, fmt.Errorf("store of files: %w", err)
	}
	if err := syscall.Flock(int(lock.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		lock.Close()
		if errors.Is(err, syscall.EWOULDBLOCK) {
			return nil, fmt.Errorf("store of files: another namerd has the folder %s: only one can write to it", dir)
		}
		return nil, fmt.Errorf("store of files: lock %s: %w", lock.Name(), err)
	}
	s := &Store{dir: dir, logger: o.Logger, limits: o.Limits, poll: o.Poll, lock: lock,
		spaces: map[string]*space{}, changed: watch.New(0, nil)}
	s.tidy()
	return s, nil
}

// tidy removes what a crash in the middle of a write has left.
func (s *Store) tidy() {
	for _, dir := range []string{s.dir, filepath.Join(s.dir, historyDir)} {
		left, _ := filepath.Glob(filepath.Join(dir, tempPrefix+"*"))
		for _, path := range left {
			if err := os.Remove(path); err != nil {
				s.logger.Warn("the rest of an interrupted write stays", "error", err)
			}
		}
	}
}

// Close gives the folder back. The store must not be used afterwards.
func (s *Store) Close() error {
	// Closing would do, but for a child that this process is starting at the moment: it has the file for a while, too.
	err := syscall.Flock(int(s.lock.Fd()), syscall.LOCK_UN)
	return errors.Join(err, s.lock.Close())
}

func (s *Store) path(ns string) string { return filepath.Join(s.dir, ns+suffix) }

func check(ctx context.Context, ns string) error {
	if err := store.CheckName(ns); err != nil {
		return err
	}
	return ctx.Err()
}

// List returns the names in sorted order.
func (s *Store) List(ctx context.Context) ([]string, error) {
	entries, err := os.ReadDir(s.dir)
	if err != nil {
		return nil, fmt.Errorf("list namespaces: %w", err)
	}
	names := []string{}
	for _, e := range entries {
		if ns, ok := strings.CutSuffix(e.Name(), suffix); ok && store.ValidName(ns) && !e.IsDir() {
			names = append(names, ns)
		}
	}
	slices.Sort(names) // not the order of the files, which have a dot behind
	return names, ctx.Err()
}

// Get returns ErrMissing for a namespace that does not exist.
func (s *Store) Get(ctx context.Context, ns string) (store.Entry, error) {
	if err := check(ctx, ns); err != nil {
		return store.Entry{}, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	p, err := s.look(ns, false)
	switch {
	case err != nil:
		return store.Entry{}, err
	case p.bad != nil:
		return store.Entry{}, p.bad
	case !p.exists:
		return store.Entry{}, store.ErrMissing
	}
	return p.entry, nil
}

// Create returns ErrExists for a namespace that does.
func (s *Store) Create(ctx context.Context, ns string, d dtab.Dtab) error {
	return s.change(ctx, ns, store.ActionCreate, func(p *space) error {
		if p.exists || p.bad != nil {
			return store.ErrExists
		}
		return nil
	}, &d)
}

// Update replaces the table if v is its current version; ErrMissing says that there is none, ErrVersion that v is another.
func (s *Store) Update(ctx context.Context, ns string, d dtab.Dtab, v store.Version) error {
	return s.change(ctx, ns, store.ActionUpdate, func(p *space) error {
		switch {
		case p.bad != nil: // nobody has seen a version of this
			return store.ErrVersion
		case !p.exists:
			return store.ErrMissing
		case p.entry.Version != v:
			return store.ErrVersion
		}
		return nil
	}, &d)
}

// Put replaces or creates.
func (s *Store) Put(ctx context.Context, ns string, d dtab.Dtab) error {
	return s.change(ctx, ns, store.ActionPut, func(*space) error { return nil }, &d)
}

// Delete returns ErrMissing for a namespace that does not exist.
func (s *Store) Delete(ctx context.Context, ns string) error {
	return s.change(ctx, ns, store.ActionDelete, func(p *space) error {
		if !p.exists && p.bad == nil {
			return store.ErrMissing
		}
		return nil
	}, nil)
}

// change writes a table, or without one deletes the namespace, if allowed says nothing against the state that is there.
func (s *Store) change(ctx context.Context, ns, action string, allowed func(*space) error, d *dtab.Dtab) error {
	if err := check(ctx, ns); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	p, err := s.look(ns, true)
	if err != nil {
		return err
	}
	if err := allowed(p); err != nil {
		return err
	}
	c := store.NewChange(ctx, action, time.Now())
	var text []byte
	if d == nil {
		if err := remove(s.path(ns)); err != nil {
			return fmt.Errorf("delete %s: %w", ns, err)
		}
	} else {
		text = render(*d)
		if c.Dtab, err = dtab.Parse(string(text)); err != nil { // what will be read is what counts
			return fmt.Errorf("write %s: %w", ns, err)
		}
		if len(text) > maxFile {
			return fmt.Errorf("write %s: %w: its text has %d bytes, more than %d", ns, store.ErrLarge, len(text), maxFile)
		}
		if err := replace(s.path(ns), text); err != nil {
			return fmt.Errorf("write %s: %w", ns, err)
		}
		c.Exists = true
	}
	s.accept(ns, p, c, text)
	p.stamp, p.readAt = stat(s.path(ns)), time.Now()
	s.changed.Update(func(n int) int { return n + 1 })
	return nil
}

// History returns ErrMissing for a namespace of which nothing is known.
func (s *Store) History(ctx context.Context, ns string, limit int) ([]store.Change, error) {
	if err := check(ctx, ns); err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, err := s.look(ns, false); err != nil {
		return nil, err
	}
	changes, err := s.log(ns).read()
	switch {
	case err != nil:
		return nil, err
	case len(changes) == 0:
		return nil, store.ErrMissing
	}
	return store.Newest(changes, limit), nil
}

// Observe publishes the namespace now and at every change, until ctx ends.
func (s *Store) Observe(ctx context.Context, ns string, publish func(store.Observation)) {
	if err := store.CheckName(ns); err != nil {
		publish(store.Observation{Err: err})
		<-ctx.Done()
		return
	}
	ticker := time.NewTicker(s.poll)
	defer ticker.Stop()
	var last store.Observation
	first := true
	for ctx.Err() == nil {
		_, written := s.changed.Load()
		if o := s.observe(ns, last); first || !o.Equal(last) {
			if o.Err != nil {
				s.logger.Warn("no good table in its file: what is known stays in use", "namespace", ns, "known", o.Known, "error", o.Err)
			} else if last.Err != nil {
				s.logger.Info("the file has a good table again", "namespace", ns, "version", string(o.Entry.Version))
			}
			first, last = false, o
			publish(o)
		}
		select {
		case <-written:
		case <-ticker.C:
		case <-ctx.Done():
		}
	}
}

// observe looks once. What cannot be read, or does not parse, leaves things as they were.
func (s *Store) observe(ns string, last store.Observation) store.Observation {
	s.mu.Lock()
	defer s.mu.Unlock()
	p, err := s.look(ns, false)
	if err != nil {
		last.Err = err
		return last
	}
	if p.bad != nil && !p.known {
		return store.Observation{Err: p.bad}
	}
	return store.Observation{Known: true, Exists: p.exists, Entry: p.entry, Err: p.bad}
}
