// Package tasks counts what is under way, for an owner that waits for it when it is closed.
package tasks

import "sync"

// Group is what an owner has under way. Its zero value is ready; its methods may be called from any goroutine.
type Group struct {
	mu      sync.Mutex // guards closed, so that nothing begins once running is waited for
	closed  bool
	running sync.WaitGroup
}

// Begin counts one task more, for which End is to be called once. It is false after Close, and then nothing may begin.
func (g *Group) Begin() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if !g.closed {
		g.running.Add(1)
	}
	return !g.closed
}

// End says that a task is over.
func (g *Group) End() { g.running.Done() }

// Close lets nothing begin any more, calls stop, which is to end what is under way, and waits for that. It may be called
// again.
func (g *Group) Close(stop func()) {
	g.mu.Lock()
	g.closed = true
	g.mu.Unlock()
	stop()
	g.running.Wait()
}
