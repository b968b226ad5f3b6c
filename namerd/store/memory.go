package store

import (
	"context"
	"encoding/binary"
	"fmt"
	"maps"
	"slices"

	"argosy/dtab"
	"argosy/internal/watch"
)

// Memory keeps namespaces in this process. They are gone when it ends.
type Memory struct {
	cell *watch.Cell[tables]
}

// tables is one state of all namespaces. It is replaced, never changed.
type tables struct {
	entries map[string]Entry
	deleted uint64 // the largest version that a deleted namespace had: a new one starts above, so that no version repeats
}

// NewMemory makes a store that holds the initial tables, at their first version.
func NewMemory(initial map[string]dtab.Dtab) *Memory {
	entries := make(map[string]Entry, len(initial))
	for ns, d := range initial {
		entries[ns] = Entry{Dtab: d, Version: counter(1)}
	}
	return &Memory{cell: watch.New(tables{entries: entries}, nil)}
}

// counter is a version as Namerd's memory storage has it: 8 bytes, big-endian.
func counter(n uint64) Version { return Version(binary.BigEndian.AppendUint64(nil, n)) }

func (v Version) count() uint64 {
	if len(v) != 8 {
		return 0
	}
	return binary.BigEndian.Uint64([]byte(v))
}

// ValidName reports whether ns may name a namespace. It is the rule that Consul's layout has, and all stores share.
func ValidName(ns string) bool {
	for i := range len(ns) {
		switch c := ns[i]; {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9', c == '-', c == '_':
		default:
			return false
		}
	}
	return ns != ""
}

func checkName(ns string) error {
	if !ValidName(ns) {
		return fmt.Errorf("%w: %q", ErrName, ns)
	}
	return nil
}

// List returns the names in sorted order.
func (m *Memory) List(context.Context) ([]string, error) {
	return slices.Sorted(maps.Keys(m.cell.Value().entries)), nil
}

// Get returns ErrMissing for a namespace that does not exist.
func (m *Memory) Get(_ context.Context, ns string) (Entry, error) {
	if err := checkName(ns); err != nil {
		return Entry{}, err
	}
	e, ok := m.cell.Value().entries[ns]
	if !ok {
		return Entry{}, ErrMissing
	}
	return e, nil
}

// change replaces the state by what f makes of a copy, unless f fails.
func (m *Memory) change(ns string, f func(t *tables) error) error {
	if err := checkName(ns); err != nil {
		return err
	}
	var failed error
	m.cell.Update(func(old tables) tables {
		t := tables{entries: maps.Clone(old.entries), deleted: old.deleted}
		if failed = f(&t); failed != nil {
			return old
		}
		return t
	})
	return failed
}

func (t *tables) put(ns string, d dtab.Dtab) {
	last := t.deleted
	if e, ok := t.entries[ns]; ok {
		last = e.Version.count()
	}
	t.entries[ns] = Entry{Dtab: d, Version: counter(last + 1)}
}

// Create returns ErrExists for a namespace that does.
func (m *Memory) Create(_ context.Context, ns string, d dtab.Dtab) error {
	return m.change(ns, func(t *tables) error {
		if _, ok := t.entries[ns]; ok {
			return ErrExists
		}
		t.put(ns, d)
		return nil
	})
}

// Update replaces the table if v is its current version; ErrMissing says that there is none, ErrVersion that v is another.
func (m *Memory) Update(_ context.Context, ns string, d dtab.Dtab, v Version) error {
	return m.change(ns, func(t *tables) error {
		e, ok := t.entries[ns]
		if !ok {
			return ErrMissing
		}
		if e.Version != v {
			return ErrVersion
		}
		t.put(ns, d)
		return nil
	})
}

// Put replaces or creates.
func (m *Memory) Put(_ context.Context, ns string, d dtab.Dtab) error {
	return m.change(ns, func(t *tables) error {
		t.put(ns, d)
		return nil
	})
}

// Delete returns ErrMissing for a namespace that does not exist.
func (m *Memory) Delete(_ context.Context, ns string) error {
	return m.change(ns, func(t *tables) error {
		e, ok := t.entries[ns]
		if !ok {
			return ErrMissing
		}
		t.deleted = max(t.deleted, e.Version.count())
		delete(t.entries, ns)
		return nil
	})
}

// Observe publishes the namespace now and at every change, until ctx ends.
func (m *Memory) Observe(ctx context.Context, ns string, publish func(Observation)) {
	if err := checkName(ns); err != nil {
		publish(Observation{Err: err})
		<-ctx.Done()
		return
	}
	var last Observation // not Known, so that it equals nothing that follows
	for t := range watch.Values(ctx, m.cell) {
		o := Observation{Known: true}
		o.Entry, o.Exists = t.entries[ns]
		if !o.Equal(last) {
			last = o
			publish(o)
		}
	}
}
