// Package rewrite is a namer that answers with another name: Linkerd's io.l5d.rewrite.
//
//	n, err := rewrite.New("/{host}/{port}", "/svc/{port}/{host}")
//
// With it, /#/io.l5d.rewrite/db/5432/x is looked up again as /svc/5432/db. What is behind the pattern is dropped.
package rewrite

import (
	"context"

	"argosy/dtab"
	"argosy/namer"
)

// Namer rewrites the names that match a pattern; others are nothing. Its methods may be called from any goroutine.
type Namer struct {
	pattern []element
	name    template
}

var _ namer.Constant = (*Namer)(nil)

// New makes a namer of a pattern and of the name that it makes of what matches. The pattern has elements divided by
// slashes: labels, "*" for any one element, and texts with variables, as in "{service}" or "{host}:http", each of which
// stands for as much as possible of one element. Such a text need not be all of an element: "{A}.com" is in "foo.com.au",
// where A is "foo". The name may use the variables of the pattern.
func New(pattern, name string) (*Namer, error) {
	elements, err := parsePattern(pattern)
	if err != nil {
		return nil, err
	}
	t, err := parseTemplate(name, elements)
	if err != nil {
		return nil, err
	}
	return &Namer{elements, t}, nil
}

// Split takes the whole name.
func (n *Namer) Split(name dtab.Path) (key, residual dtab.Path, ok bool) { return name, nil, true }

// Constant answers for every name.
func (n *Namer) Constant(prefix, name dtab.Path) (namer.Answer, bool) {
	variables, ok := match(n.pattern, name)
	if !ok {
		return namer.NoAnswer(), true
	}
	return namer.RewriteAnswer(prefix.Concat(name), n.name.fill(variables), true), true
}

// Watch publishes what Constant says.
func (n *Namer) Watch(ctx context.Context, prefix, key dtab.Path, publish func(namer.Answer)) {
	if a, _ := n.Constant(prefix, key); ctx.Err() == nil {
		publish(a)
	}
	<-ctx.Done()
}
