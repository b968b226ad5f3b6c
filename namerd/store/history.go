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
	Action  string    // create, update, put, delete, rollback, or found: it was made past this store
	Exists  bool      // false after a delete
	Dtab    dtab.Dtab // if it exists
}

// Historian is a Store that remembers earlier states of its namespaces: a bounded number of each.
type Historian interface {
	Store
	// History returns the changes of a namespace, the newest first; at most limit of them if that is above 0. It returns
	// ErrMissing for a namespace of which nothing is known.
	History(ctx context.Context, ns string, limit int) ([]Change, error)
}
