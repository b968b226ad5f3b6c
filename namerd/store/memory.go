package store

import (
	"context"
	"encoding/binary"
	"maps"
	"slices"
	"time"

	"argosy/dtab"
	"argosy/internal/watch"
)

// Memory keeps namespaces in this process. They are gone when it ends, and what it remembers of them as well.
type Memory struct {
	cell   *watch.Cell[tables]
	limits Limits
}

// tables is one state of all namespaces. It is replaced, never changed.
type tables struct {
	entries map[string]Entry
	deleted uint64 // the largest version that a deletion had: a new namespace starts above, so that no version repeats
	history map[string]past
	gone    []string // the namespaces with a past only, in the order of their deletion
}

// past is what is remembered of a namespace: its changes, the oldest first, and the sizes of their tables in bytes.
type past struct {
	changes []Change
	sizes   []int
}

// NewMemory makes a store that holds the initial tables, at their first version. Without limits, or with zero ones, it
// remembers what the defaults allow.
func NewMemory(initial map[string]dtab.Dtab, limits ...Limits) *Memory {
	m := &Memory{}
	for _, l := range limits {
		m.limits = l
	}
	t := tables{entries: make(map[string]Entry, len(initial)), history: map[string]past{}}
	now := time.Now().UTC()
	for ns, d := range initial {
		t.entries[ns] = Entry{Dtab: d, Version: counter(1)}
		m.remember(&t, ns, Change{Version: counter(1), At: now, Action: ActionInitial, Exists: true, Dtab: d})
	}
	m.cell = watch.New(t, nil)
	return m
}

// remember adds a change to a state that nobody else has seen yet.
func (m *Memory) remember(t *tables, ns string, c Change) {
	p := t.history[ns]
	sizes := append(slices.Clone(p.sizes), len(c.Dtab.String()))
	drop := m.limits.Excess(sizes)
	t.history[ns] = past{append(slices.Clone(p.changes), c)[drop:], sizes[drop:]}
	gone := slices.DeleteFunc(slices.Clone(t.gone), func(other string) bool { return other == ns })
	if !c.Exists {
		gone = append(gone, ns)
	}
	for len(gone) > MaxForgotten {
		delete(t.history, gone[0])
		gone = gone[1:]
	}
	t.gone = gone
}

// counter is a version as Namerd's memory storage has it: 8 bytes, big-endian.
func counter(n uint64) Version { return Version(binary.BigEndian.AppendUint64(nil, n)) }

func (v Version) count() uint64 {
	if len(v) != 8 {
		return 0
	}
	return binary.BigEndian.Uint64([]byte(v))
}

// List returns the names in sorted order.
func (m *Memory) List(context.Context) ([]string, error) {
	return slices.Sorted(maps.Keys(m.cell.Value().entries)), nil
}

// Get returns ErrMissing for a namespace that does not exist.
func (m *Memory) Get(_ context.Context, ns string) (Entry, error) {
	if err := CheckName(ns); err != nil {
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
	if err := CheckName(ns); err != nil {
		return err
	}
	var failed error
	m.cell.Update(func(old tables) tables {
		t := tables{entries: maps.Clone(old.entries), deleted: old.deleted, history: maps.Clone(old.history), gone: old.gone}
		if failed = f(&t); failed != nil {
			return old
		}
		return t
	})
	return failed
}

func (m *Memory) put(ctx context.Context, t *tables, ns, action string, d dtab.Dtab) {
	last := t.deleted
	if e, ok := t.entries[ns]; ok {
		last = e.Version.count()
	}
	c := NewChange(ctx, action, time.Now())
	c.Version, c.Exists, c.Dtab = counter(last+1), true, d
	t.entries[ns] = Entry{Dtab: d, Version: c.Version}
	m.remember(t, ns, c)
}

// Create returns ErrExists for a namespace that does.
func (m *Memory) Create(ctx context.Context, ns string, d dtab.Dtab) error {
	return m.change(ns, func(t *tables) error {
		if _, ok := t.entries[ns]; ok {
			return ErrExists
		}
		m.put(ctx, t, ns, ActionCreate, d)
		return nil
	})
}

// Update replaces the table if v is its current version; ErrMissing says that there is none, ErrVersion that v is another.
func (m *Memory) Update(ctx context.Context, ns string, d dtab.Dtab, v Version) error {
	return m.change(ns, func(t *tables) error {
		e, ok := t.entries[ns]
		if !ok {
			return ErrMissing
		}
		if e.Version != v {
			return ErrVersion
		}
		m.put(ctx, t, ns, ActionUpdate, d)
		return nil
	})
}

// Put replaces or creates.
func (m *Memory) Put(ctx context.Context, ns string, d dtab.Dtab) error {
	return m.change(ns, func(t *tables) error {
		m.put(ctx, t, ns, ActionPut, d)
		return nil
	})
}

// Delete returns ErrMissing for a namespace that does not exist.
func (m *Memory) Delete(ctx context.Context, ns string) error {
	return m.change(ns, func(t *tables) error {
		e, ok := t.entries[ns]
		if !ok {
			return ErrMissing
		}
		t.deleted = max(t.deleted, e.Version.count()+1)
		delete(t.entries, ns)
		c := NewChange(ctx, ActionDelete, time.Now())
		c.Version = counter(e.Version.count() + 1)
		m.remember(t, ns, c)
		return nil
	})
}

// History returns ErrMissing for a namespace of which nothing is known.
func (m *Memory) History(_ context.Context, ns string, limit int) ([]Change, error) {
	if err := CheckName(ns); err != nil {
		return nil, err
	}
	p, ok := m.cell.Value().history[ns]
	if !ok {
		return nil, ErrMissing
	}
	return Newest(p.changes, limit), nil
}

// Observe publishes the namespace now and at every change, until ctx ends.
func (m *Memory) Observe(ctx context.Context, ns string, publish func(Observation)) {
	if err := CheckName(ns); err != nil {
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
