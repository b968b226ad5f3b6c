package main

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"strings"
	"testing"
	"time"

	"argosy/dtab"
	"argosy/internal/watch"
	"argosy/namer"
	"argosy/namer/static"
)

// rewrites is how many entries the measured name passes on its way.
const rewrites = 5

// table makes the text of a table: entries for other services, among which those for the measured name are spread.
func table(entries int) string {
	var b strings.Builder
	next := 0
	for i := range entries {
		switch {
		case i == entries*next/rewrites && next < rewrites:
			from, to := fmt.Sprintf("/step%d", next), fmt.Sprintf("/step%d", next+1)
			if next == 0 {
				from = "/svc"
			}
			if next == rewrites-1 {
				to = "/#/static"
			}
			fmt.Fprintf(&b, "%s => %s ;\n", from, to)
			next++
		case i%10 == 0:
			fmt.Fprintf(&b, "/svc/service%d => 0.9 * /#/io.l5d.consul/dc1/service%d & 0.1 * /#/io.l5d.consul/dc1/service%d-next ;\n", i, i, i)
		default:
			fmt.Fprintf(&b, "/svc/service%d => /#/io.l5d.consul/dc1/service%d | /#/io.l5d.consul/dc2/service%d ;\n", i, i, i)
		}
	}
	return b.String()
}

// repeat runs a benchmark several times.
func repeat(ctx context.Context, runs int, f func(b *testing.B)) (results []testing.BenchmarkResult, err error) {
	for range runs {
		if err := ctx.Err(); err != nil {
			return results, err
		}
		runtime.GC()
		r := testing.Benchmark(f)
		if r.N == 0 {
			return results, errors.New("the measured code failed")
		}
		results = append(results, r)
	}
	return results, nil
}

// perOperation makes figures of results.
func perOperation(unit time.Duration, name string, results []testing.BenchmarkResult) []figure {
	var times, bytes, allocations []float64
	for _, r := range results {
		times = append(times, float64(r.T)/float64(r.N)/float64(unit))
		bytes = append(bytes, float64(r.AllocedBytesPerOp())/1024)
		allocations = append(allocations, float64(r.AllocsPerOp()))
	}
	return []figure{
		{"time", name, times, ""},
		{"memory allocated", "KiB", bytes, ""},
		{"allocations", "", allocations, ""},
	}
}

func parseTable(ctx context.Context, s settings) ([]figure, error) {
	text := table(s.entries)
	results, err := repeat(ctx, s.runs, func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if d, err := dtab.Parse(text); err != nil || len(d) != s.entries {
				b.Fatalf("%d entries, %v", len(d), err)
			}
		}
	})
	figures := perOperation(time.Millisecond, "ms", results)
	figures[0].note = fmt.Sprintf("%d entries, %d KiB of text", s.entries, len(text)/1024)
	return figures, err
}

// bindName binds one name through a table that is known, to a service that is known: what a first connection to a
// name waits for.
func bindName(ctx context.Context, s settings) ([]figure, error) {
	d, err := dtab.Parse(table(s.entries))
	if err != nil {
		return nil, err
	}
	services, err := static.New(map[string][]string{"redis": {"127.0.0.1:6379", "127.0.0.1:6380"}})
	if err != nil {
		return nil, err
	}
	interpreter := namer.NewInterpreter(namer.Options{
		Dtab:   watch.Fixed(namer.Table(d, nil)),
		Mounts: []namer.Mount{{Prefix: dtab.Path{"#", "static"}, Namer: services}},
	})
	defer interpreter.Close()
	name := dtab.MustParsePath("/svc/redis")
	results, err := repeat(ctx, s.runs, func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			bound, cancel := context.WithCancel(ctx)
			binding, _ := interpreter.Bind(bound, name).Load()
			cancel()
			if binding.Status != namer.OK || len(binding.Clusters) != 1 || len(binding.Clusters[0].Addr.Endpoints) != 2 {
				b.Fatalf("bound to %+v", binding)
			}
		}
	})
	figures := perOperation(time.Microsecond, "µs", results)
	figures[0].note = fmt.Sprintf("%d entries, %d rewrites, from the call to the endpoints; aim: 100", s.entries, rewrites)
	return figures, err
}
