package process

import (
	"context"
	"runtime/debug"
	"runtime/metrics"
	"time"
)

const (
	// leastPercent is the value of GOGC with a large heap: half of Go's own, so that very many idle connections take a third
	// less memory. Bytes that move make no garbage.
	leastPercent = 50
	// mostPercent is that with a tiny one.
	mostPercent = 200
	// slack is how many bytes of garbage are worth a collection, however small the heap is: with 2 or 3 MB in use, half of it
	// is made by some dozens of TLS handshakes, and collecting so often costs a sixth of their price.
	slack = 4 << 20

	liveBytes = "/gc/heap/live:bytes"
)

// PaceCollections sets Go's GOGC by how much of the heap is in use, every second until ctx ends.
func PaceCollections(ctx context.Context) {
	sample := []metrics.Sample{{Name: liveBytes}}
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for now := 0; ; {
		metrics.Read(sample)
		if next := percent(sample[0].Value.Uint64()); next < now-now/8 || next > now+now/8 {
			debug.SetGCPercent(next) // it stops the world for a moment
			now = next
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

// percent is the GOGC for a heap that has so many bytes in use.
func percent(live uint64) int {
	if live == 0 { // there was no collection yet
		return mostPercent
	}
	return min(max(int(slack*100/live), leastPercent), mostPercent)
}
