// Package names binds names for the interfaces of namerd: under the table of any namespace, over the same namers.
package names

import (
	"context"
	"errors"
	"fmt"

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
	tables      *share.Share[store.Observation]
	stop        context.CancelFunc
}

// New makes a Names over the tables of s. The mounts are asked in their order, as Options.Mounts are. Every binding
// shows the state as it is, Failed and Pending included, and follows Finagle's rules unless options say otherwise.
func New(s store.Store, options namer.Options, logger hclog.Logger) *Names {
	ctx, cancel := context.WithCancel(context.Background())
	options.Raw, options.Logger = true, logger
	return &Names{
		interpreter: namer.NewInterpreter(options),
		tables:      share.New(ctx, store.Observation{}, store.Observation.Equal, s.Observe),
		stop:        cancel,
	}
}

// Close ends all bindings and waits.
func (n *Names) Close() {
	n.stop()
	n.interpreter.Close()
	n.tables.Wait()
}

// Table returns the live table of a namespace, and release, which is to be called once when it is not read any more.
func (n *Names) Table(ns string) (table watch.Reader[store.Observation], release func()) {
	return n.tables.Read(ns)
}

// tableReader shows an observed namespace as a table to bind under. A namespace that does not exist is the empty table.
type tableReader struct {
	observed watch.Reader[store.Observation]
}

func (r tableReader) Load() (namer.TableState, <-chan struct{}) {
	o, superseded := r.observed.Load()
	switch {
	case o.Known:
		return namer.TableState{Status: namer.OK, Dtab: o.Entry.Dtab, Err: o.Err}, superseded
	case o.Err != nil:
		return namer.TableState{Status: namer.Failed, Err: o.Err}, superseded
	}
	return namer.TableState{Status: namer.Pending}, superseded
}

// under is the interpreter for a namespace. release ends the reading of the table.
func (n *Names) under(ns string, local dtab.Dtab) (in *namer.Interpreter, release func()) {
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
	return n.interpreter.Under(watch.Fixed(namer.TableState{Status: namer.OK, Dtab: table}), nil).ExplainTree(ctx, tree)
}

// Addr returns the endpoints of a concrete name, the ID of a bound leaf, live until ctx ends. A name that is nothing is
// Neg; one that is not concrete is Failed.
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
	switch {
	case b.Status == namer.Pending:
		return namer.Addr{Status: namer.Pending}
	case b.Status == namer.Failed:
		return namer.Addr{Status: namer.Failed, Err: b.Err}
	}
	switch b.Tree.Kind {
	case dtab.Neg:
		return namer.Addr{Status: namer.Neg}
	case dtab.Empty:
		return namer.Addr{Status: namer.OK}
	case dtab.Leaf:
		return b.Tree.Leaf.Addr
	case dtab.Fail:
		return namer.Addr{Status: namer.Failed, Err: errors.New("name tree failed")}
	}
	return namer.Addr{Status: namer.Failed, Err: fmt.Errorf("%s is not a concrete bound id", id)}
}
