package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"argosy/dtab"
	"argosy/internal/backoff"
	"argosy/namer"
	"argosy/namer/fs"
)

// followFiles follows every file of a folder with one namer, in this process.
func followFiles(ctx context.Context, s settings) (figures []figure, err error) {
	root, err := os.MkdirTemp("", "argosy-bench-")
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(root)) }()
	file := func(i int) string { return fmt.Sprintf("service%d", i) }
	for i := range s.files {
		if err := os.WriteFile(filepath.Join(root, file(i)), []byte("10.0.0.1 80\n"), 0o600); err != nil {
			return nil, err
		}
	}

	ctx, cancel := context.WithCancel(ctx)
	var wg sync.WaitGroup
	defer wg.Wait()
	defer cancel()
	n := fs.New(root, nil)
	var known atomic.Int64
	changed := make(chan string, 1) // endpoint of the file that was changed last
	all := make(chan struct{})
	start := time.Now()
	for i := range s.files {
		wg.Go(func() {
			first := true
			n.Watch(ctx, dtab.Path{"#", "fs"}, dtab.Path{file(i)}, func(a namer.Answer) {
				if a.Status != namer.OK || a.Tree.Leaf.Bound == nil || len(a.Tree.Leaf.Bound.Addr.Endpoints) != 1 {
					return
				}
				if first {
					first = false
					if known.Add(1) == int64(s.files) {
						close(all)
					}
					return
				}
				select {
				case changed <- a.Tree.Leaf.Bound.Addr.Endpoints[0].Addr:
				case <-ctx.Done():
				}
			})
		})
	}
	select {
	case <-all:
	case <-ctx.Done():
		return nil, ctx.Err()
	case <-time.After(time.Minute):
		return nil, fmt.Errorf("of %d files %d were read within a minute", s.files, known.Load())
	}
	figures = append(figures, figure{"until all are known", "ms", in(time.Millisecond, []time.Duration{time.Since(start)}), fmt.Sprintf("%d files", s.files)})

	var seen []time.Duration
	for run := range s.runs {
		began := time.Now()
		port := 8000 + run
		if err := os.WriteFile(filepath.Join(root, file(run%s.files)), []byte(fmt.Sprintf("10.0.0.1 %d\n", port)), 0o600); err != nil {
			return figures, err
		}
		if err := awaitText(ctx, changed, fmt.Sprintf("10.0.0.1:%d", port)); err != nil {
			return figures, err
		}
		seen = append(seen, time.Since(began))
	}
	figures = append(figures, figure{"from a write to the endpoints", "ms", in(time.Millisecond, seen), "25 of them to see that the file stands still"})

	runtime.GC() // what the start has left
	if err := backoff.Sleep(ctx, min(5*time.Second, s.rest)); err != nil {
		return figures, err
	}
	before, err := cpu(os.Getpid())
	if err != nil {
		return figures, err
	}
	if err := backoff.Sleep(ctx, s.rest/2); err != nil {
		return figures, err
	}
	after, err := cpu(os.Getpid())
	share := float64(after-before) / float64(s.rest/2) * 100
	return append(figures, figure{"CPU at rest", "% of a core", []float64{share}, fmt.Sprintf("over %v", s.rest/2)}), err
}

// awaitText waits for a text on a channel.
func awaitText(ctx context.Context, from <-chan string, want string) error {
	limit := time.After(30 * time.Second)
	for {
		select {
		case got := <-from:
			if got == want {
				return nil
			}
		case <-limit:
			return fmt.Errorf("no news of %s within 30s", want)
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}
