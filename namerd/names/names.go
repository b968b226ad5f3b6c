// Package names binds names for the interfaces of namerd: under the table of any namespace, over the same namers.
package names

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/hashicorp/go-hclog"

	"argosy/dtab"
	"argosy/internal/share"
	"argosy/internal/watch"
	"argosy/namer"
	"argosy/namerd/store"
)

// Names binds names. Its methods may be called from any goroutine.
type Names struct {
	interpreter *namer.Interpreter
	mounts      []namer.Mount
	tables      *share.Share[observed]
	stop        context.CancelFunc
}

// New makes a Names over the tables of s. The mounts are asked in their order, as Options.Mounts are. Every binding
// shows the state as it is, Failed and Pending included, and follows Finagle's rules unless options say otherwise.
func New(s store.Store, options namer.Options, logger hclog.Logger) *Names {
	ctx, cancel := context.WithCancel(context.Background())
	options.Raw, options.Logger = true, logger
	return &Names{
		interpreter: namer.NewInterpreter(options),
		mounts:      options.Mounts,
		tables: share.New(ctx, observed{}, observed.equal, func(ctx context.Context, ns string, set func(observed)) {
			s.Observe(ctx, ns, func(o store.Observation) { set(observed{o, tableState(o)}) })
		}),
		stop: cancel,
	}
}

// observed is an observation as it is, and as the table that names are bound under.
type observed struct {
	store.Observation
	table namer.TableState
}

func (o observed) equal(p observed) bool { return o.Observation.Equal(p.Observation) }

// tableState is what an observation means for binding. A namespace that does not exist is the empty table.
func tableState(o store.Observation) namer.TableState {
	switch {
	case o.Known:
		return namer.Table(o.Entry.Dtab, o.Err)
	case o.Err != nil:
		return namer.TableState{Status: namer.Failed, Err: o.Err}
	}
	return namer.TableState{Status: namer.Pending}
}

// Close ends all bindings and waits.
func (n *Names) Close() {
	n.stop()
	n.interpreter.Close()
	n.tables.Wait()
}

// Table returns the live table of a namespace, and release, which is to be called once when it is not read any more.
func (n *Names) Table(ns string) (table watch.Reader[store.Observation], release func()) {
	read, release := n.tables.Read(ns)
	return observationReader{read}, release
}

// tableReader shows the table of a namespace to bind under.
type tableReader struct{ watch.Reader[observed] }

func (r tableReader) Load() (namer.TableState, <-chan struct{}) {
	o, superseded := r.Reader.Load()
	return o.table, superseded
}

// observationReader shows it as it was observed.
type observationReader struct{ watch.Reader[observed] }

func (r observationReader) Load() (store.Observation, <-chan struct{}) {
	o, superseded := r.Reader.Load()
	return o.Observation, superseded
}

// under is the interpreter for a namespace. release ends the reading of the table. What can be no namespace is one that
// does not exist, so the empty table.
func (n *Names) under(ns string, local dtab.Dtab) (in *namer.Interpreter, release func()) {
	if !store.ValidName(ns) {
		return n.interpreter.Under(watch.Fixed(namer.Table(nil, nil)), local), func() {}
	}
	observed, release := n.tables.Read(ns)
	return n.interpreter.Under(tableReader{observed}, local), release
}

// Bind returns what a tree of names stands for in a namespace, with local behind its table, live until ctx ends.
func (n *Names) Bind(ctx context.Context, ns string, local dtab.Dtab, tree dtab.Tree[dtab.Path]) watch.Reader[namer.Binding] {
	in, release := n.under(ns, local)
	context.AfterFunc(ctx, release)
	return in.BindTree(ctx, tree)
}

// Explain delegates a tree of names in a namespace, with local behind its table; see namer.Interpreter.Explain.
func (n *Names) Explain(ctx context.Context, ns string, local dtab.Dtab, tree dtab.Tree[dtab.Path]) (*namer.Explanation, error) {
	in, release := n.under(ns, local)
	defer release()
	return in.ExplainTree(ctx, tree)
}

// ExplainTable is Explain under a table that is in no store.
func (n *Names) ExplainTable(ctx context.Context, table dtab.Dtab, tree dtab.Tree[dtab.Path]) (*namer.Explanation, error) {
	return n.interpreter.Under(watch.Fixed(namer.Table(table, nil)), nil).ExplainTree(ctx, tree)
}

// UnboundError says that a name came to no address set, and why. It is not about endpoints that are Failed.
type UnboundError struct{ Err error }

func (e *UnboundError) Error() string { return e.Err.Error() }

// Unwrap returns the reason.
func (e *UnboundError) Unwrap() error { return e.Err }

func unbound(err error) namer.Addr {
	return namer.Addr{Status: namer.Failed, Err: &UnboundError{err}}
}

// Addr returns the endpoints of a concrete name, the ID of a bound leaf, live until ctx ends. A name that is nothing is
// Neg. One that cannot be bound, or is not concrete, is Failed with an *UnboundError.
func (n *Names) Addr(ctx context.Context, id dtab.Path) watch.Reader[namer.Addr] {
	in := n.interpreter.Under(watch.Fixed(namer.TableState{Status: namer.OK}), nil)
	return addrReader{in.Bind(ctx, untransformed(id)), id}
}

// untransformed is an id without what Linkerd's transformers put in front: /%/... up to the first # or $ element.
func untransformed(id dtab.Path) dtab.Path {
	if len(id) == 0 || id[0] != "%" {
		return id
	}
	for i, e := range id {
		if e == "#" || e == "$" {
			return id[i:]
		}
	}
	return id
}

// addrReader shows the addresses of a binding's only leaf.
type addrReader struct {
	binding watch.Reader[namer.Binding]
	id      dtab.Path
}

func (r addrReader) Load() (namer.Addr, <-chan struct{}) {
	b, superseded := r.binding.Load()
	return addrOf(b, r.id), superseded
}

func addrOf(b namer.Binding, id dtab.Path) namer.Addr {
	switch b.Status {
	case namer.Pending:
		return namer.Addr{Status: namer.Pending, Err: b.Err}
	case namer.Failed:
		return unbound(b.Err)
	}
	switch b.Tree.Kind {
	case dtab.Neg:
		return namer.Addr{Status: namer.Neg}
	case dtab.Empty:
		return namer.Addr{Status: namer.OK}
	case dtab.Leaf:
		return b.Tree.Leaf.Addr
	case dtab.Fail:
		return unbound(errors.New("name tree failed"))
	}
	return unbound(fmt.Errorf("%s is not a concrete bound id", id))
}

// List returns the concrete names that the namers can enumerate, sorted, each once. A namer that cannot, now or ever,
// adds none; the error says why of those that should have.
func (n *Names) List(ctx context.Context) ([]dtab.Path, error) {
	names := make(map[string]dtab.Path)
	var errs []error
	for _, m := range n.mounts {
		lister, ok := m.Namer.(namer.Enumerator)
		if !ok {
			continue
		}
		keys, err := lister.Names(ctx)
		if err != nil {
			errs = append(errs, fmt.Errorf("list the names of %s: %w", m.Prefix, err))
		}
		for _, key := range keys {
			id := m.Prefix.Concat(key)
			names[id.String()] = id
		}
	}
	sorted := make([]dtab.Path, 0, len(names))
	for _, text := range slices.Sorted(maps.Keys(names)) {
		sorted = append(sorted, names[text])
	}
	return sorted, errors.Join(errs...)
}
