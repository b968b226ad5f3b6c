//go:build linux

package proxies

import (
	"context"
	"fmt"
	"time"

	"argosy/bench/load"
	"argosy/bench/usage"
	"argosy/internal/backoff"
)

// bulk moves bytes from the server to the client as fast as it goes.
func bulk(ctx context.Context, l *lab, g *target) (all sample, err error) {
	for _, streams := range []int{1, 8} {
		before, err := g.cpu()
		if err != nil {
			return nil, err
		}
		r := load.Bulk(ctx, g.dial(false), streams, l.settings.Slice)
		if r.Err != nil {
			return nil, r.Err
		}
		after, err := g.cpu()
		if err != nil {
			return nil, err
		}
		name := "1 stream"
		if streams > 1 {
			name = fmt.Sprintf("%d streams", streams)
		}
		gb := float64(r.Bytes) / 1e9
		all = append(all, value{name, "GB/s", gb / r.Elapsed.Seconds()})
		if len(g.procs) > 0 && gb > 0 {
			all = append(all, value{"CPU, " + name, "s per GB", (after - before).Seconds() / gb})
		}
	}
	return all, nil
}

// latency sends at a fixed rate that is far from what any proxy can do.
func latency(ctx context.Context, l *lab, g *target) (sample, error) {
	times, err := load.Latencies(ctx, g.dial(false), clients, 2000, 2*l.settings.Slice)
	if err != nil {
		return nil, err
	}
	var s sample
	for _, p := range []struct {
		name  string
		share float64
	}{{"p50", 0.5}, {"p99", 0.99}, {"p99.9", 0.999}} {
		s = append(s, value{p.name, "µs", float64(load.Percentile(times, p.share)) / float64(time.Microsecond)})
	}
	return s, nil
}

// warmUp connections come and go, warmUps times, before the memory of idle ones is measured: what a program brings into
// memory once, with its first connections and with its first tidying up, is no connection's.
const (
	warmUp  = 100
	warmUps = 20
)

// idle holds connections that have carried a few bytes once.
func idle(ctx context.Context, l *lab, g *target) (sample, error) {
	dial := g.dial(false)
	for range warmUps {
		held, err := load.Hold(ctx, dial, warmUp)
		if err != nil {
			return nil, err
		}
		held.Close()
	}
	if err := backoff.Sleep(ctx, min(l.settings.Rest, 5*time.Second)); err != nil {
		return nil, err
	}
	before, err := g.usage()
	if err != nil {
		return nil, err
	}
	n := min(l.settings.Idle, mostConnections())
	held, err := load.Hold(ctx, dial, n)
	if err != nil {
		return nil, err
	}
	defer held.Close()
	// What was needed to open them may be given back meanwhile.
	if err := backoff.Sleep(ctx, l.settings.Rest); err != nil {
		return nil, err
	}
	during, err := g.usage()
	if err != nil {
		return nil, err
	}
	busy, err := atRest(ctx, g, l.settings.Rest)
	if err != nil {
		return nil, err
	}
	if err := held.Check(); err != nil {
		return nil, err
	}
	return sample{
		{"memory per connection", "KiB", (during.Memory - before.Memory) / float64(n)},
		{"CPU at rest", "% of a core", busy},
		{"connections", "", float64(n)},
	}, nil
}

// atRest is the share of a core that a target takes while nobody wants anything of it.
func atRest(ctx context.Context, g *target, d time.Duration) (float64, error) {
	before, err := g.cpu()
	if err != nil {
		return 0, err
	}
	began := time.Now()
	if err := backoff.Sleep(ctx, d); err != nil {
		return 0, err
	}
	after, err := g.cpu()
	return float64(after-before) / float64(time.Since(began)) * 100, err
}

// churn opens, uses and closes many connections in ten rounds, and looks at what is left after the first and the last.
func churn(ctx context.Context, l *lab, g *target) (sample, error) {
	start, err := g.usage()
	if err != nil {
		return nil, err
	}
	var first, last usage.Usage
	for round := range 10 {
		r := load.Exchanges{Addr: g.addr, Connections: 200, Size: 100, Reconnect: true, Count: int64(l.settings.Churn)}.Run(ctx)
		if r.Count < int64(l.settings.Churn) {
			return nil, fmt.Errorf("round %d: %d of %d connections succeeded: %w", round+1, r.Count, l.settings.Churn, r.Err)
		}
		if round > 0 && round < 9 {
			continue
		}
		if err := backoff.Sleep(ctx, min(l.settings.Rest/2, 5*time.Second)); err != nil {
			return nil, err
		}
		if last, err = g.usage(); err != nil {
			return nil, err
		}
		if round == 0 {
			first = last
		}
	}
	return sample{
		{"memory after the first round", "MiB", first.Memory / 1024},
		{"memory after the tenth", "MiB", last.Memory / 1024},
		{"growth", "%", (last.Memory/first.Memory - 1) * 100},
		{"descriptors left", "", float64(last.Files - start.Files)},
	}, nil
}

// process looks at what there is when nothing is to do.
func process(ctx context.Context, l *lab, g *target) (sample, error) {
	if err := backoff.Sleep(ctx, min(time.Second, l.settings.Rest)); err != nil {
		return nil, err
	}
	u, err := g.usage()
	if err != nil {
		return nil, err
	}
	busy, err := atRest(ctx, g, l.settings.Rest)
	return sample{
		{"start to listening", "ms", float64(g.starting) / float64(time.Millisecond)},
		{"memory", "MiB", u.Memory / 1024},
		{"CPU at rest", "% of a core", busy},
	}, err
}
