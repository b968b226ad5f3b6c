package fs

import (
	"context"
	"errors"
	"sync"

	"github.com/hashicorp/go-hclog"

	"argosy/dtab"
	"argosy/namer"
)

// follower turns looks at a file into answers. Its hosts are resolved by one goroutine, which it owns.
type follower struct {
	namer       *Namer
	prefix, key dtab.Path
	logger      hclog.Logger
	publish     func(namer.Answer)

	cancel context.CancelFunc // of the resolving goroutine, if there is one
	wg     sync.WaitGroup

	mu    sync.Mutex // guards what follows, and publishing
	good  bool       // there has been an answer from a file that could be read
	found bool       // and the name was something then
	used  int
	addr  namer.Addr
	stale bool // the file cannot be read now
}

// stop ends the resolving of hosts.
func (f *follower) stop() {
	if f.cancel != nil {
		f.cancel()
		f.wg.Wait()
		f.cancel = nil
	}
}

// follow makes l the state of the file.
func (f *follower) follow(ctx context.Context, l look) {
	if l.missing {
		f.stop()
		f.set(func() { f.good, f.found, f.stale, f.addr = true, false, false, namer.Addr{} })
		return
	}
	targets, err := parse(l.text)
	if l.err != nil {
		err = l.err
	}
	if err != nil {
		f.complain(err)
		f.spoil(l.used, err)
		return
	}
	f.stop()
	f.mu.Lock()
	f.stale = false
	f.mu.Unlock()
	inner, cancel := context.WithCancel(ctx)
	f.cancel = cancel
	f.wg.Go(func() {
		namer.WatchTargets(inner, f.namer.resolver, targets, func(a namer.Addr) { f.resolved(l.used, a) })
	})
}

// resolved publishes what the file's lines stand for. Until the first of new hosts is known, the old ones stay.
func (f *follower) resolved(used int, a namer.Addr) {
	f.set(func() {
		if a.Status == namer.Pending && f.found && f.addr.Status == namer.OK && f.used == used {
			return
		}
		f.good, f.found, f.used, f.addr = true, true, used, a
	})
}

// complain says what is wrong, with the line if it is one.
func (f *follower) complain(err error) {
	logger := f.logger
	var bad *MalformedError
	if errors.As(err, &bad) {
		logger = logger.With("line", bad.Line, "why", bad.Err)
	}
	logger.Warn("service file is of no use, keeping what it said before", "error", err)
}

// spoil keeps the last good answer. If there never was one, the file's endpoints have failed; without a file, the name
// has.
func (f *follower) spoil(used int, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	switch {
	case f.good:
		f.stale = true
		f.emit()
	case used > 0:
		f.publish(answer(f.prefix, f.key, used, namer.Addr{Status: namer.Failed, Err: err}))
	default:
		f.publish(namer.Answer{Status: namer.Failed, Err: err})
	}
}

func (f *follower) set(change func()) {
	f.mu.Lock()
	defer f.mu.Unlock()
	change()
	f.emit()
}

// emit publishes the answer. The caller holds mu.
func (f *follower) emit() {
	if !f.found {
		f.publish(namer.NoAnswer())
		return
	}
	addr := f.addr
	addr.Stale = addr.Stale || f.stale
	f.publish(answer(f.prefix, f.key, f.used, addr))
}
