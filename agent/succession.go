package agent

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"argosy/agent/config"
	"argosy/agent/handover"
)

// adminSocket is what the sockets of the admin endpoint are called in a hand-over.
const adminSocket = "admin "

// socketName is what both processes call a listener's socket in a hand-over.
func socketName(k portKey) string { return "listener " + k.address + " " + k.name }

// inherit asks the process that runs before this one, if there is one, for its listening sockets. Without them this one
// opens its own, which fails where the other one has them.
func (a *Agent) inherit(path string) {
	if path == "" {
		return
	}
	got, err := handover.Take(context.Background(), path)
	switch {
	case errors.Is(err, handover.ErrNobody):
	case err != nil:
		a.logger.Warn("cannot take over from the process at the hand-over socket", "socket", path, "error", err)
	default:
		a.logger.Info("taking over from a running process", "sockets", len(got.Sockets))
		a.before = got
	}
}

// inherited returns an inherited socket, which is the caller's to close, or nil.
func (a *Agent) inherited(name string) *os.File {
	if a.before == nil {
		return nil
	}
	return a.before.File(name)
}

// ripeTime is how long a new process may take to become able to serve, unless a test says otherwise. The one before waits for
// longer.
const ripeTime = 90 * time.Second

// ripen waits, in a process that follows another one, until this one could serve as well: the one before has a table and
// certificates, which may not be had now, because Consul is away. If it takes too long, or ctx ends, this one is over and the
// one before goes on alone.
func (a *Agent) ripen(ctx context.Context, g *generation) (ripe bool, _ error) {
	if a.before == nil {
		return true, nil
	}
	wait, cancel := context.WithTimeout(ctx, a.ripeTime)
	defer cancel()
	told := false
	if waitUntil(wait, func() bool {
		missing := g.missing()
		if len(missing) > 0 && !told {
			told = true
			a.logger.Info("not ready yet: the process before this one goes on meanwhile", "reasons", missing)
		}
		return len(missing) == 0
	}) {
		return true, nil
	}
	missing := g.missing()
	a.before.Close()
	for _, l := range g.listeners {
		l.port.leave()
	}
	a.end(g)
	if ctx.Err() != nil {
		return false, nil
	}
	return false, fmt.Errorf("take over: not ready within %s: %s; the process before this one goes on", a.ripeTime, strings.Join(missing, "; "))
}

// succeed tells the process before this one that this one serves, and offers the sockets to the one after it.
func (a *Agent) succeed(cfg *config.Config) {
	if a.before != nil {
		var t handover.Taken
		for _, s := range a.current.Load().services {
			t.Services = append(t.Services, s.ID)
		}
		if err := a.before.Serving(t); err != nil {
			a.logger.Warn("the process before this one may still accept connections", "error", err)
		} else {
			a.logger.Info("took over: the process before this one accepts no more")
		}
		a.before.Close()
	}
	if cfg.Handover == "" {
		return
	}
	offering, err := handover.Offer(cfg.Handover, a.sockets, a.handOver, a.logger.Named("handover"))
	if err != nil {
		a.logger.Error("no process will be able to take over from this one", "error", err)
		return
	}
	a.offering = offering
}

// sockets are duplicates of all that this process listens on.
func (a *Agent) sockets() ([]handover.Socket, error) {
	a.changing.Lock() // no reload meanwhile
	defer a.changing.Unlock()
	if a.draining.Load() {
		return nil, errDraining
	}
	g := a.current.Load()
	var all []handover.Socket
	for _, l := range g.listeners {
		f, err := l.port.socket.Dup()
		if err == nil {
			all = append(all, handover.Socket{Name: socketName(l.port.key), File: f})
			continue
		}
		for _, s := range all {
			s.File.Close()
		}
		return nil, err
	}
	if f := g.admin.duplicate(); f != nil {
		all = append(all, handover.Socket{Name: adminSocket + g.config.Admin.Address, File: f})
	}
	return all, nil
}

// handOver makes this process leave what it listens on to the one that has the sockets now, and drain.
func (a *Agent) handOver(t handover.Taken) {
	a.changing.Lock()
	defer a.changing.Unlock()
	g := a.current.Load()
	for _, l := range g.listeners {
		l.port.leave()
	}
	g.admin.leave()
	a.draining.Store(true) // not before: whoever asks for the health here means the one that serves
	a.registry.stop()
	a.registry.forget(t.Services)
	a.handed = true
	a.logger.Info("handed over: a new process accepts the connections", "connections", a.census.count())
	a.Drain()
}

// waitUntil asks until ok or ctx ends.
func waitUntil(ctx context.Context, ok func() bool) bool {
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for !ok() {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return false
		}
	}
	return true
}
