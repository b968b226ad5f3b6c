package fs

import (
	"context"
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
		f.logger.Warn("service file is of no use, keeping what it said before", "error", err)
		f.spoil(err)
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

// spoil keeps the last good answer; if there never was one, the name has failed.
func (f *follower) spoil(err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if !f.good {
		f.publish(namer.Answer{Status: namer.Failed, Err: err})
		return
	}
	f.stale = true
	f.emit()
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
