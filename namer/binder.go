package namer

import (
	"context"
	"slices"
	"time"

	"argosy/dtab"
	"argosy/internal/watch"
)

// binder keeps one name bound. All its methods but the first step run in one goroutine.
type binder struct {
	in    *Interpreter
	ctx   context.Context
	tree  dtab.Tree[dtab.Path]
	guest bool
	cell  *watch.Cell[Binding]

	held map[string]*lookup // in use since the last step
	good *dtab.Tree[found]  // the last good answer
	read watch.Set          // what the last step read
	wake time.Time          // when the next step is due even if nothing changes; zero: never

	rewrites rewrites
}

// follow steps whenever something that the last step read has changed.
func (b *binder) follow() {
	defer func() {
		for _, l := range b.held {
			b.in.shared.release(l)
		}
	}()
	for b.wait() {
		b.step()
	}
}

// wait returns when a step is due, or false when the binding has ended.
func (b *binder) wait() bool {
	ctx := b.ctx
	if !b.wake.IsZero() {
		var cancel context.CancelFunc
		ctx, cancel = context.WithDeadline(ctx, b.wake)
		defer cancel()
	}
	_ = b.read.Wait(ctx)
	return b.ctx.Err() == nil
}

// step evaluates the name once, publishes the outcome, and gives up the lookups that only the step before needed.
func (b *binder) step() {
	b.read.Reset()
	b.wake = time.Time{}
	used := make(map[string]*lookup)
	o := b.evaluate(used)
	if b.ctx.Err() != nil { // the outcome may be half of one
		b.keep(used)
		return
	}
	var binding Binding
	if b.good != nil && o.status != OK && !b.in.options.Raw {
		binding = b.lastGood(o, used)
	} else {
		binding = bindingOf(o)
		b.good = nil
		if o.status == OK && hasLeaf(o.tree) {
			b.good = &o.tree
		}
	}
	if b.in.options.Rewrites && b.good != nil {
		b.rewrites.credit(binding.Clusters, *b.good, b.cell.Value().Clusters)
	}
	b.report(binding)
	b.cell.Set(binding)
	b.keep(used)
}

// keep holds on to the lookups of this step, and releases those of the step before.
func (b *binder) keep(used map[string]*lookup) {
	for _, l := range b.held {
		b.in.shared.release(l)
	}
	b.held = used
}

// evaluate runs the evaluation on what the table and the namers say now.
func (b *binder) evaluate(used map[string]*lookup) outcome {
	table := watch.Read(&b.read, b.in.options.Dtab)
	switch table.Status {
	case Pending:
		return outcome{status: Pending, err: table.Err}
	case Failed:
		return failed(table.Err)
	}
	e := b.evaluation(layers{table.index(), b.in.local}, used)
	o := e.run(b.tree)
	b.wake = e.wake
	return o
}

// evaluation makes a run over what the namers say now.
func (b *binder) evaluation(table layers, used map[string]*lookup) *evaluation {
	known := make(map[string]asked)
	e := &evaluation{
		ctx:    b.ctx,
		limits: b.in.limits,
		table:  table,
		mounts: b.in.mounts,
		now:    time.Now(),
	}
	e.ask = func(mount int, key dtab.Path) asked {
		id := lookupID(mount, key)
		a, ok := known[id]
		if !ok { // each name is read once, so that one step sees one state of it
			a = b.ask(e, id, mount, key, used)
			known[id] = a
		}
		return a
	}
	return e
}

// againWhenFull is how often it is tried whether there is room for another watch.
const againWhenFull = time.Second

func (b *binder) ask(e *evaluation, id string, mount int, key dtab.Path, used map[string]*lookup) asked {
	l, err := b.in.shared.acquire(id, mount, key, b.guest)
	if err != nil {
		e.lookAgain(e.now.Add(againWhenFull))
		return asked{Answer: Answer{Status: Failed, Err: err}}
	}
	used[id] = l
	s := watch.Read(&b.read, watch.Reader[stamped](l.cell))
	return asked{Answer: s.Answer, since: s.since, from: l}
}

// hasLeaf reports whether a tree is worth keeping. Being nothing is not: then better wait, or say what is wrong.
func hasLeaf(t dtab.Tree[found]) bool {
	return t.Kind == dtab.Leaf || slices.ContainsFunc(t.Branches, func(b dtab.Branch[found]) bool { return hasLeaf(b.Tree) })
}

func bindingOf(o outcome) Binding {
	b := Binding{Status: o.status, Err: o.err}
	if o.status == OK {
		b.Tree = dtab.Map(o.tree, func(f found) Bound { return f.Bound })
		b.Clusters = Clusters(b.Tree)
	}
	return b
}

// lastGood is the last good binding, with the endpoints that its names have now, beside the reason why there is no
// better one. It goes on using the lookups of those names.
func (b *binder) lastGood(now outcome, used map[string]*lookup) Binding {
	tree := dtab.Map(*b.good, func(f found) found {
		if f.from == nil {
			return f
		}
		if _, ok := used[f.from.id]; !ok && !b.in.shared.share(f.from) {
			return f
		}
		used[f.from.id] = f.from
		f.Addr = currentAddr(f, watch.Read(&b.read, watch.Reader[stamped](f.from.cell)).Answer)
		return f
	})
	b.good = &tree
	binding := bindingOf(outcome{status: OK, tree: tree})
	if binding.Err = now.err; binding.Err == nil {
		binding.Err = errUnknownNow
	}
	return binding
}

// currentAddr is what an answer says of the endpoints of a name that came from an earlier answer.
func currentAddr(f found, a Answer) Addr {
	if a.Status != OK {
		return f.Addr
	}
	addr := Addr{Status: Neg}
	dtab.Map(a.Tree, func(l Leaf) struct{} {
		if l.Bound != nil && l.Bound.ID.Equal(f.ID) {
			addr = l.Bound.Addr
		}
		return struct{}{}
	})
	return addr
}

// report logs when a bound name cannot be bound any more, and when it can again.
func (b *binder) report(binding Binding) {
	before := b.cell.Value()
	if before.Status == binding.Status && errText(before.Err) == errText(binding.Err) {
		return
	}
	log := b.in.options.Logger.With("name", dtab.TreeString(b.tree))
	switch {
	case binding.Status == OK && binding.Err != nil:
		log.Warn("name cannot be bound any more, the last good binding stays", "error", binding.Err)
	case binding.Status == Failed:
		log.Warn("name cannot be bound", "error", binding.Err)
	case binding.Status == OK:
		log.Debug("name is bound", "tree", dtab.Show(binding.Tree, func(b Bound) string { return b.ID.String() }))
	}
}
