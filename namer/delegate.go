package namer

import "argosy/dtab"

// lookup takes one step, through the table or else a namer, and goes on from there.
func (e *evaluation) lookup(path dtab.Path, depth int, weight *float64) outcome {
	entries, ok := e.match(path)
	switch {
	case !ok:
		return failed(e.abort)
	case len(entries) == 0 || len(entries) == 1 && e.table.entry(entries[0]).Dst.Kind == dtab.Neg:
		return e.askNamers(path, depth, weight)
	}
	o, _ := e.alt(len(entries), func(i int) outcome { return e.follow(entries[i], path, depth+1, weight) })
	return o
}

// match pays for a lookup and finds the entries that match, the last one first.
func (e *evaluation) match(path dtab.Path) (entries []int, ok bool) {
	if err := e.ctx.Err(); err != nil && e.abort == nil {
		e.abort = err
	}
	bytes := 0
	for _, element := range path {
		bytes += len(element)
	}
	if !e.spend(costOfLookup + bytes/bytesOfElement) {
		return nil, false
	}
	entries, visited := e.table.match(path)
	return entries, e.spend(4*visited + len(entries))
}

// follow binds what the entry at an index makes of a path that it matches.
func (e *evaluation) follow(index int, path dtab.Path, depth int, weight *float64) outcome {
	entry, before := e.table.entry(index), e.by
	e.by = &use{entry: index, dentry: entry, before: before}
	defer func() { e.by = before }()
	return bind(e, entry.Dst, depth, weight, func(leaf dtab.Path, weight *float64) outcome {
		return e.lookup(e.below(leaf, entry, path), depth, weight)
	})
}

// below is a leaf of entry's destination, with what entry's prefix leaves over of path.
func (e *evaluation) below(leaf dtab.Path, entry *dtab.Dentry, path dtab.Path) dtab.Path {
	rest := path[len(entry.Prefix):]
	if len(rest) == 0 || !e.spend(len(leaf)+len(rest)) {
		return leaf
	}
	return leaf.Concat(rest)
}

// askNamers binds a path that no entry matches.
func (e *evaluation) askNamers(path dtab.Path, depth int, weight *float64) outcome {
	a, residual := e.namers(path)
	switch a.Status {
	case Pending:
		return outcome{status: Pending, since: a.since}
	case Failed:
		return failed(a.Err)
	}
	return bind(e, a.Tree, depth+1, weight, func(l Leaf, weight *float64) outcome {
		if l.Bound == nil {
			return e.lookup(l.Path, depth+1, weight)
		}
		end := a.end(*l.Bound, residual, weight)
		end.by = e.by
		return outcome{status: OK, tree: dtab.LeafOf(end)}
	})
}

// end is a bound leaf of the answer, with what the namer did not look at as its residual.
func (a asked) end(b Bound, residual dtab.Path, weight *float64) found {
	if len(residual) > 0 {
		b.Residual = b.Residual.Concat(residual)
	}
	b.Weight = weight
	return found{Bound: b, from: a.from}
}

// namers is the first answer of a namer that is not Neg, with the part of path that the namer did not look at. All Neg
// is so since the last of them is.
func (e *evaluation) namers(path dtab.Path) (a asked, residual dtab.Path) {
	none := asked{Answer: NoAnswer()}
	for i, m := range e.mounts {
		if !path.HasPrefix(m.Prefix) {
			continue
		}
		a, residual := e.namer(i, m, path[len(m.Prefix):])
		if a.Status != OK || a.Tree.Kind != dtab.Neg {
			return a, residual
		}
		if a.since.After(none.since) {
			none.since = a.since
		}
		if none.Err == nil {
			none.Err = a.Err
		}
	}
	return none, nil
}

// namer asks one namer, which need not be watched where its answer never changes.
func (e *evaluation) namer(mount int, m Mount, name dtab.Path) (a asked, residual dtab.Path) {
	if c, ok := m.Namer.(Constant); ok {
		if a, ok := c.Constant(m.Prefix, name); ok {
			return asked{Answer: a}, nil
		}
	}
	key, residual, ok := m.Namer.Split(name)
	if !ok {
		return asked{Answer: NoAnswer()}, nil
	}
	return e.ask(mount, key), residual
}
