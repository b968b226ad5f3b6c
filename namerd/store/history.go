package store

import (
	"context"
	"time"

	"argosy/dtab"
)

// Author is who makes a change, for the history.
type Author struct {
	Name     string // who it says it is; empty if it does not say
	Verified bool   // by a certificate or token; else Name is only a claim
	Address  string // where the change came from
	Message  string // why, in the author's words
	Action   string // in place of the operation's own name, such as "rollback"
}

type authorKey struct{}

// WithAuthor hands the author of a change to a store that remembers.
func WithAuthor(ctx context.Context, a Author) context.Context {
	return context.WithValue(ctx, authorKey{}, a)
}

// AuthorOf is the author that WithAuthor has put in, or a nobody.
func AuthorOf(ctx context.Context) Author {
	a, _ := ctx.Value(authorKey{}).(Author)
	return a
}

// Change is one state that a namespace has had, and how it came to be.
type Change struct {
	Version Version
	At      time.Time
	Author  Author
	Action  string    // create, update, put, delete, rollback, found, or initial
	Exists  bool      // false after a delete
	Dtab    dtab.Dtab // if it exists
}

// Historian is a Store that remembers earlier states of its namespaces: a bounded number of each.
type Historian interface {
	Store
	// History returns the changes of a namespace, the newest first; at most limit of them if that is above 0. It returns
	// ErrMissing for a namespace of which nothing is known. The newest is the state that is there now: one that was
	// made past the store is found at the latest when it is asked for, and its time is when it was found.
	History(ctx context.Context, ns string, limit int) ([]Change, error)
}

// What a change is called when its author does not call it otherwise.
const (
	ActionCreate   = "create"
	ActionUpdate   = "update"
	ActionPut      = "put"
	ActionDelete   = "delete"
	ActionRollback = "rollback"
	ActionFound    = "found"   // made past the store, by hand or by another program
	ActionInitial  = "initial" // what a memory store began with
)

// NewChange describes a change that the author in ctx makes now. action is what it is called unless the author calls it
// otherwise.
func NewChange(ctx context.Context, action string, now time.Time) Change {
	c := Change{At: now.UTC(), Author: AuthorOf(ctx), Action: action}
	if c.Author.Action != "" {
		c.Action = c.Author.Action
	}
	return c
}

// Limits bound what a store remembers of each namespace.
type Limits struct {
	Changes int // 100 unless set
	Bytes   int // of the tables as text, all changes together; 8 MiB unless set
}

// MaxForgotten is how many namespaces that do not exist any more a store remembers.
const MaxForgotten = 1000

// WithDefaults fills in what is not set.
func (l Limits) WithDefaults() Limits {
	if l.Changes <= 0 {
		l.Changes = 100
	}
	if l.Bytes <= 0 {
		l.Bytes = 8 << 20
	}
	return l
}

// Excess tells how many of the oldest changes are to be dropped, of changes that have these sizes in bytes, the oldest
// first. The newest is always kept: it says how things are.
func (l Limits) Excess(sizes []int) int {
	l = l.WithDefaults()
	total := 0
	for kept := range len(sizes) {
		total += sizes[len(sizes)-1-kept]
		if kept > 0 && (kept == l.Changes || total > l.Bytes) {
			return len(sizes) - kept
		}
	}
	return 0
}

// Newest puts changes that are in the order of their making the other way round, and cuts them to limit if it is above 0.
func Newest(changes []Change, limit int) []Change {
	n := len(changes)
	if limit > 0 {
		n = min(n, limit)
	}
	out := make([]Change, 0, n)
	for i := range n {
		out = append(out, changes[len(changes)-1-i])
	}
	return out
}
