// Package store keeps Dtab namespaces: the contract that namerd's API and the agents rely on, and the memory store.
// Stores over other systems have packages of their own below this one; they all pass storetest.
package store

import (
	"context"
	"errors"
	"fmt"

	"argosy/dtab"
)

// What a store can refuse. Implementations wrap these, callers use errors.Is.
var (
	ErrExists   = errors.New("namespace exists already")
	ErrMissing  = errors.New("no such namespace")
	ErrVersion  = errors.New("version does not match: somebody else has changed the namespace")
	ErrName     = errors.New("invalid namespace name: only letters, digits, '-' and '_' are allowed")
	ErrReadOnly = errors.New("store is read-only")
	ErrLarge    = errors.New("table is too large for this store")
	// ErrNoHistory: the store does not remember.
	ErrNoHistory = errors.New("this namerd keeps no history")
	// ErrForgotten: there has never been such a version, or not lately, or it was a deletion.
	ErrForgotten = errors.New("no table of that version is remembered")
)

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

// CheckName returns ErrName, with the name, unless ns may name a namespace.
func CheckName(ns string) error {
	if !ValidName(ns) {
		return fmt.Errorf("%w: %q", ErrName, ns)
	}
	return nil
}

// Version identifies one state of a namespace. It is opaque bytes, only ever compared and handed back; the HTTP API
// shows it as base64 in the ETag. Consul's is the ModifyIndex in decimal, the memory store's a big-endian counter.
type Version string

// Entry is one state of a namespace.
type Entry struct {
	Dtab    dtab.Dtab
	Version Version
}

// Observation is what a watcher of a namespace gets. A namespace that does not exist is Known and not Exists: for
// binding it acts as the empty table.
type Observation struct {
	Known  bool // false before the first answer
	Exists bool
	Entry  Entry // the last good one
	Err    error // set while the store is in trouble or holds text that does not parse; Entry stays what it was
}

// Equal reports whether two observations are the same to a watcher.
func (o Observation) Equal(p Observation) bool {
	return o.Known == p.Known && o.Exists == p.Exists && o.Entry.Version == p.Entry.Version &&
		(o.Err == nil) == (p.Err == nil) && (o.Err == nil || o.Err.Error() == p.Err.Error()) &&
		o.Entry.Dtab.Equal(p.Entry.Dtab)
}

// Store keeps namespaces. Its methods may be called from any goroutine; writes are linearizable.
type Store interface {
	// List returns the names in sorted order.
	List(ctx context.Context) ([]string, error)
	// Get returns ErrMissing for a namespace that does not exist.
	Get(ctx context.Context, ns string) (Entry, error)
	// Create returns ErrExists for a namespace that does.
	Create(ctx context.Context, ns string, d dtab.Dtab) error
	// Update replaces the table if v is its current version, else returns ErrVersion.
	Update(ctx context.Context, ns string, d dtab.Dtab, v Version) error
	// Put replaces or creates.
	Put(ctx context.Context, ns string, d dtab.Dtab) error
	// Delete returns ErrMissing for a namespace that does not exist.
	Delete(ctx context.Context, ns string) error
	// Observe publishes the namespace now and at every change, until ctx ends; then it returns. Errors do not end it:
	// it retries with backoff and keeps the last good entry. publish is called by one goroutine at a time.
	Observe(ctx context.Context, ns string, publish func(Observation))
}
