package namer

import (
	"context"
	"errors"
	"slices"
	"time"

	"argosy/dtab"
)

// Settle binds name once, and waits until nothing that the binding depends on is unknown any more: Bind may at first
// show a union without a branch that is still Pending. When ctx ends before that, it is not settled, and the binding is
// what Bind would show then. It is a guest: names that carry connections go before it where watches are scarce.
func (in *Interpreter) Settle(ctx context.Context, name dtab.Path) (b Binding, settled bool) {
	if !in.tasks.Begin() {
		return Binding{Status: Failed, Err: ErrClosed}, true
	}
	defer in.tasks.End()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(in.ctx, cancel)()
	once := &binder{in: in, ctx: ctx, tree: dtab.LeafOf(name.Concat()), guest: true}
	defer func() { once.keep(nil) }()
	for {
		once.read.Reset()
		once.wake = time.Time{}
		used := make(map[string]*lookup)
		o := once.evaluate(used)
		once.keep(used)
		if ctx.Err() != nil { // the outcome may be half of one
			return b, false
		}
		if b = bindingOf(o); b.known(used) {
			return b, true
		}
		if !once.wait() {
			return b, false
		}
	}
}

// known reports whether a binding will not change only because something becomes known.
func (b Binding) known(used map[string]*lookup) bool {
	var tooMany *TooManyWatchesError
	if b.Status == Pending || errors.As(b.Err, &tooMany) || slices.ContainsFunc(b.Clusters, func(c Cluster) bool { return c.Addr.Status == Pending }) {
		return false
	}
	for _, l := range used {
		if l.cell.Value().Status == Pending {
			return false
		}
	}
	return true
}
