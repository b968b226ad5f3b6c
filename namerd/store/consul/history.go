package consul

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/hashicorp/consul/api"

	"argosy/dtab"
	"argosy/namerd/store"
)

// The changes of a namespace are keys below <path prefix>/.history/<namespace>/, which Namerd does not see: it skips keys
// that are nested. Each is named for its time and for the size of its value, as in 20260102T030405.000000006Z-120, and is
// written in one transaction with the table. Such a transaction has one index: the ModifyIndex of the record is the
// version of the table that it describes, and only a record that is written later says its version itself.
const historyFolder = ".history"

const (
	timeForm   = "20060102T150405.000000000Z"
	maxOps     = 100 // in a transaction; Consul takes 128
	maxRequest = 500_000
)

func (s *Store) historyPrefix(ns string) string {
	return s.prefix + "/" + historyFolder + "/" + ns + "/"
}

// past is what was remembered of a namespace when a change was prepared.
type past struct {
	keys     []string // the oldest first
	sizes    []int
	recorded bool // the newest describes the state that is there
	newest   *api.KVPair
}

// recordName is the name of a record made at that time, which is put after that of the newest one: clocks differ.
func (p *past) recordName(prefix string, at time.Time, size int) string {
	if len(p.keys) > 0 {
		if newest, ok := recordTime(p.keys[len(p.keys)-1]); ok && !at.After(newest) {
			at = newest.Add(1)
		}
	}
	return fmt.Sprintf("%s%s-%d", prefix, at.UTC().Format(timeForm), size)
}

func recordTime(key string) (time.Time, bool) {
	name := key[strings.LastIndexByte(key, '/')+1:]
	stamp, _, _ := strings.Cut(name, "-")
	at, err := time.Parse(timeForm, stamp)
	return at, err == nil
}

// recordSize is the size of a record's value. The tables are what Limits.Bytes is about, and most of it.
func recordSize(key string) int {
	n, err := strconv.Atoi(key[strings.LastIndexByte(key, '-')+1:])
	if err != nil || n < 0 {
		return 0
	}
	return n
}

// past reads what is remembered; current is the state that is there, nil if there is none.
func (s *Store) past(ctx context.Context, ns string, current *api.KVPair) (*past, error) {
	p := &past{}
	var err error
	if p.keys, err = s.recordKeys(ctx, ns); err != nil {
		return nil, err
	}
	for len(p.keys) > 0 && p.newest == nil {
		newest := p.keys[len(p.keys)-1]
		if p.newest, _, err = s.kv.Get(newest, (&api.QueryOptions{RequireConsistent: true}).WithContext(ctx)); err != nil {
			return nil, fmt.Errorf("read the history of %s from Consul: %w", ns, err)
		}
		if p.newest != nil && p.newest.Flags == 0 {
			break
		}
		// It has been forgotten, or is followed by another: as a rule, somebody has just been faster.
		if p.keys, err = s.recordKeys(ctx, ns); err != nil {
			return nil, err
		}
		if len(p.keys) > 0 && p.keys[len(p.keys)-1] != newest {
			p.newest = nil
		}
	}
	for _, k := range p.keys {
		p.sizes = append(p.sizes, recordSize(k))
	}
	if p.newest == nil {
		p.recorded = current == nil
		return p, nil
	}
	if newest, err := change(p.newest); err == nil {
		p.recorded = current == nil && !newest.Exists || current != nil && newest.Version == versionOf(current)
	}
	return p, nil
}

// recordKeys are the keys of all records of a namespace, the oldest first.
func (s *Store) recordKeys(ctx context.Context, ns string) ([]string, error) {
	keys, _, err := s.kv.Keys(s.historyPrefix(ns), "", (&api.QueryOptions{RequireConsistent: true}).WithContext(ctx))
	if err != nil {
		return nil, fmt.Errorf("read the history of %s from Consul: %w", ns, err)
	}
	keys = slices.DeleteFunc(keys, func(k string) bool {
		_, ok := recordTime(k)
		return !ok
	})
	slices.Sort(keys)
	return keys, nil
}

// change reads a record.
func change(pair *api.KVPair) (store.Change, error) {
	c, err := store.UnmarshalChange(pair.Value)
	if err != nil {
		return store.Change{}, fmt.Errorf("value of %s in Consul: %w", pair.Key, err)
	}
	if c.Version == "" {
		c.Version = versionOf(pair)
	}
	return c, nil
}

// found describes a state that was made past this store. One that does not parse cannot be kept.
func found(current *api.KVPair) (store.Change, bool) {
	c := store.NewChange(context.Background(), store.ActionFound, time.Now())
	if current == nil {
		c.Version = "0" // so that it is not taken for the version of its record
		return c, true
	}
	var err error
	c.Exists, c.Version = true, versionOf(current)
	c.Dtab, err = dtab.Parse(string(current.Value))
	return c, err == nil
}

// records are the operations that remember a change: what was found before it, the change itself, and the oldest ones
// that are forgotten. own is the record of the change.
func (s *Store) records(ns string, p *past, current *api.KVPair, c store.Change) (ops api.TxnOps, own *api.KVTxnOp) {
	prefix := s.historyPrefix(ns)
	sizes := slices.Clone(p.sizes)
	add := func(c store.Change) *api.KVTxnOp {
		value := store.MarshalChange(c)
		name := p.recordName(prefix, c.At, len(value))
		p.keys, sizes = append(p.keys, name), append(sizes, len(value))
		op := &api.KVTxnOp{Verb: api.KVSet, Key: name, Value: value}
		ops = append(ops, &api.TxnOp{KV: op})
		return op
	}
	if current == nil {
		ops = stillNewest(p.newest)
	}
	if !p.recorded {
		if f, ok := found(current); ok {
			add(f)
		}
	}
	own = add(c)
	for _, key := range p.keys[:s.limits.Excess(sizes)] {
		if len(ops) < maxOps {
			ops = append(ops, &api.TxnOp{KV: &api.KVTxnOp{Verb: api.KVDelete, Key: key}})
		}
	}
	return ops, own
}

// stillNewest lets a namespace be created only if no other has been created, and deleted again, since the newest record was
// read, as ours would stand before theirs then: that there is no table is so before and after. Whoever creates changes the
// newest record, which keeps the version that it had.
func stillNewest(newest *api.KVPair) api.TxnOps {
	if newest == nil {
		return nil
	}
	c, err := change(newest)
	if err != nil {
		return nil
	}
	return api.TxnOps{{KV: &api.KVTxnOp{
		Verb: api.KVCAS, Key: newest.Key, Value: store.MarshalChange(c), Flags: newest.Flags + 1, Index: newest.ModifyIndex,
	}}}
}

// History returns ErrMissing for a namespace of which nothing is known.
func (s *Store) History(ctx context.Context, ns string, limit int) ([]store.Change, error) {
	key, err := s.key(ns)
	if err != nil {
		return nil, err
	}
	pairs, _, err := s.kv.List(s.historyPrefix(ns), (&api.QueryOptions{RequireConsistent: true}).WithContext(ctx))
	if err != nil {
		return nil, fmt.Errorf("read the history of %s from Consul: %w", ns, err)
	}
	slices.SortFunc(pairs, func(a, b *api.KVPair) int { return strings.Compare(a.Key, b.Key) })
	var changes []store.Change
	for _, pair := range pairs {
		if _, ok := recordTime(pair.Key); !ok {
			continue
		}
		c, err := change(pair)
		if err != nil {
			s.logger.Warn("a record of the history cannot be read", "error", err)
			continue
		}
		if n := len(changes); n > 0 && c.Exists && changes[n-1].Version == c.Version {
			continue // two have recorded the same
		}
		if !c.Exists && c.Version == "0" {
			c.Version = ""
		}
		changes = append(changes, c)
	}
	current, err := s.get(ctx, key)
	if err != nil && !errors.Is(err, store.ErrMissing) {
		return nil, err
	}
	if n := len(changes); current != nil && (n == 0 || changes[n-1].Version != versionOf(current)) || current == nil && n > 0 && changes[n-1].Exists {
		if f, ok := found(current); ok {
			if current == nil {
				f.Version = ""
			}
			changes = append(changes, f)
		}
	}
	if len(changes) == 0 {
		return nil, store.ErrMissing
	}
	return store.Newest(changes, limit), nil
}

// forget removes the histories of namespaces that are gone, the longest gone first, where they are too many. It makes
// room for some more, so that it has nothing to do the next times. What it cannot do is left for then.
func (s *Store) forget(ctx context.Context) {
	folder := s.prefix + "/" + historyFolder + "/"
	folders, _, err := s.kv.Keys(folder, "/", (&api.QueryOptions{}).WithContext(ctx))
	if err != nil || len(folders) <= store.MaxForgotten {
		return
	}
	names, err := s.List(ctx)
	if err != nil {
		return
	}
	keys, _, err := s.kv.Keys(folder, "", (&api.QueryOptions{}).WithContext(ctx))
	if err != nil {
		return
	}
	newest := map[string]string{} // when a namespace that is gone was changed last, as in its records' names
	for _, key := range keys {
		ns, record, ok := strings.Cut(strings.TrimPrefix(key, folder), "/")
		if _, there := slices.BinarySearch(names, ns); ok && !there && store.ValidName(ns) {
			newest[ns] = max(newest[ns], record)
		}
	}
	if len(newest) <= store.MaxForgotten {
		return
	}
	gone := slices.SortedFunc(maps.Keys(newest), func(a, b string) int { return strings.Compare(newest[a], newest[b]) })
	for _, ns := range gone[:len(gone)-store.MaxForgotten*9/10] {
		if _, err := s.kv.DeleteTree(s.historyPrefix(ns), (&api.WriteOptions{}).WithContext(ctx)); err != nil {
			s.logger.Warn("the history of a namespace that is gone stays", "namespace", ns, "error", err)
			return
		}
	}
}
