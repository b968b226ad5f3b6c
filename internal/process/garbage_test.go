package process

import (
	"context"
	"runtime"
	"runtime/debug"
	"testing"
	"time"
)

func TestPercent(t *testing.T) {
	for _, c := range []struct {
		live uint64
		want int
	}{{0, 200}, {1, 200}, {2 << 20, 200}, {4 << 20, 100}, {8 << 20, 50}, {1 << 30, 50}} {
		if got := percent(c.live); got != c.want {
			t.Errorf("%d bytes in use: GOGC %d, not %d", c.live, got, c.want)
		}
	}
}

// A heap that has grown is collected sooner.
func TestPaceCollections(t *testing.T) {
	before := debug.SetGCPercent(100)
	defer debug.SetGCPercent(before)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		PaceCollections(ctx)
	}()
	held := make([]byte, 64<<20)
	runtime.GC()
	deadline := time.Now().Add(20 * time.Second)
	for {
		now := debug.SetGCPercent(100)
		debug.SetGCPercent(now)
		if now == leastPercent {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("GOGC is %d with %d bytes in use", now, len(held))
		}
		time.Sleep(10 * time.Millisecond)
	}
	runtime.KeepAlive(held)
	cancel()
	<-done
}
