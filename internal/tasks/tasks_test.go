package tasks

import (
	"context"
	"sync/atomic"
	"testing"
)

// Many begin while the owner closes: whatever has begun is over when Close returns, and nothing begins after it.
func TestClose(t *testing.T) {
	t.Parallel()
	for range 100 {
		var g Group
		var under atomic.Int64
		ctx, cancel := context.WithCancel(t.Context())
		var all Group
		for range 8 {
			all.Begin()
			go func() {
				defer all.End()
				for g.Begin() {
					under.Add(1)
					go func() {
						defer g.End()
						defer under.Add(-1)
						<-ctx.Done()
					}()
					if ctx.Err() != nil {
						return
					}
				}
			}()
			if !g.Begin() {
				t.Fatal("closed from the start")
			}
			g.End()
		}
		g.Close(cancel)
		if n := under.Load(); n != 0 {
			t.Fatalf("%d tasks go on after Close", n)
		}
		if g.Begin() {
			t.Fatal("a task begins after Close")
		}
		g.Close(func() {})
		all.Close(func() {})
	}
}
