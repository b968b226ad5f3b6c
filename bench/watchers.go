package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"

	"argosy/bench/proxies"
	"argosy/e2e/stack"
	"argosy/internal/backoff"
)

// serveWatchers starts a namerd, watchers of one namespace, and changes it.
func serveWatchers(ctx context.Context, s settings) (figures []figure, err error) {
	if err := needDescriptors(s.watchers+200, "watchers"); err != nil {
		return nil, err
	}
	binary, err := stack.Build(ctx, "./cmd/argosy")
	if err != nil {
		return nil, err
	}
	st, err := stack.Start(ctx, stack.Options{Progress: s.progress})
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, st.Close()) }()
	for _, stream := range []struct{ what, path string }{
		{"dtabs", "/api/1/dtabs/default?watch=true"},
		{"bind", "/api/1/bind/default?watch=true&path=%2Fsvc%2Fredis"},
	} {
		more, err := watchAndChange(ctx, s, st, binary, stream.what, stream.path)
		figures = append(figures, more...)
		if err != nil {
			return figures, fmt.Errorf("streams of %s: %w", stream.what, err)
		}
	}
	return figures, nil
}

// watchAndChange measures one kind of stream on a namerd of its own.
func watchAndChange(ctx context.Context, s settings, st *stack.Stack, binary, what, path string) (figures []figure, err error) {
	address, config := st.Addr(), st.Path(what+".hcl")
	text := fmt.Sprintf("http { address = %q }\nlog { level = \"warn\" }\nstore \"memory\" {\n  namespaces = { default = %q }\n}\n", address, tableVersion(0))
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		return nil, err
	}
	namerd, err := st.Go("namerd-"+what, binary, []string{"namerd", "-config", config})
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, namerd.Stop(20*time.Second)) }()
	url := "http://" + address
	found := 0
	starting, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	if err := stack.Eventually(starting, 20*time.Millisecond, func(ctx context.Context) (err error) {
		found, err = status(ctx, url+strings.Replace(path, "watch=true", "watch=false", 1))
		return err
	}); err != nil {
		return nil, fmt.Errorf("%w\n%s", err, namerd.Output())
	}
	if found != http.StatusOK {
		return []figure{{name: what + " streams", note: fmt.Sprintf("not served by this build: status %d", found)}}, nil
	}
	before, err := memory(namerd.Pid())
	if err != nil {
		return nil, err
	}
	fmt.Fprintf(s.progress, "  opening %d streams of %s\n", s.watchers, what)
	a := newAudience(s.watchers)
	defer a.close()
	if err := a.open(ctx, address, path); err != nil {
		return nil, err
	}
	if err := a.await(ctx, 0); err != nil {
		return nil, err
	}
	if err := backoff.Sleep(ctx, 2*time.Second); err != nil {
		return nil, err
	}
	after, err := memory(namerd.Pid())
	if err != nil {
		return nil, err
	}
	used0, err := cpu(namerd.Pid())
	if err != nil {
		return nil, err
	}
	var took []time.Duration
	for n := 1; n <= s.runs; n++ {
		began := time.Now()
		if err := put(ctx, url+"/api/1/dtabs/default", tableVersion(n)); err != nil {
			return nil, err
		}
		if err := a.await(ctx, n); err != nil {
			return nil, err
		}
		took = append(took, time.Since(began))
		if err := backoff.Sleep(ctx, 500*time.Millisecond); err != nil {
			return nil, err
		}
	}
	used1, err := cpu(namerd.Pid())
	if err != nil {
		return nil, err
	}
	name := func(rest string) string { return what + ": " + rest }
	return []figure{
		{name("from a change until all have it"), "ms", in(time.Millisecond, took), fmt.Sprintf("%d watchers, in one other process; aim: 1000", s.watchers)},
		{name("CPU of namerd per change"), "ms", []float64{float64(used1-used0) / float64(time.Millisecond) / float64(s.runs)}, "mean"},
		{name("memory of namerd"), "MiB", []float64{after}, fmt.Sprintf("resident; %s before the watchers came", proxies.Show(before))},
		{name("memory per watcher"), "KiB", []float64{(after - before) * 1024 / float64(s.watchers)}, ""},
	}, nil
}

// firstVersion makes the numbers of versions look alike.
const firstVersion = 10_000

func tableVersion(n int) string {
	return fmt.Sprintf("/svc => /$/inet/127.0.0.1/%d", firstVersion+n)
}

// versionIn finds the version in a message, or -1.
func versionIn(line []byte) int {
	const mark = "/127.0.0.1/"
	i := bytes.Index(line, []byte(mark))
	if i < 0 || len(line) < i+len(mark)+5 {
		return -1
	}
	n, err := strconv.Atoi(string(line[i+len(mark) : i+len(mark)+5]))
	if err != nil {
		return -1
	}
	return n - firstVersion
}

func status(ctx context.Context, url string) (int, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return 0, err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0, err
	}
	resp.Body.Close()
	return resp.StatusCode, nil
}

func put(ctx context.Context, url, text string) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodPut, url, strings.NewReader(text))
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", "application/dtab")
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	resp.Body.Close()
	if resp.StatusCode != http.StatusNoContent {
		return fmt.Errorf("PUT %s: %s", url, resp.Status)
	}
	return nil
}

// audience is many readers of one stream, each with a connection.
type audience struct {
	size    int
	reading sync.WaitGroup

	mu     sync.Mutex
	conns  []net.Conn
	counts map[int]int // version -> readers that have it
	failed error
	news   chan struct{} // one token is enough
}

func newAudience(size int) *audience {
	return &audience{size: size, counts: map[int]int{}, news: make(chan struct{}, 1)}
}

// open connects all readers, some at a time.
func (a *audience) open(ctx context.Context, address, path string) error {
	places := make(chan struct{}, 64)
	var opening sync.WaitGroup
	for range a.size {
		select {
		case places <- struct{}{}:
		case <-ctx.Done():
			opening.Wait()
			return ctx.Err()
		}
		opening.Go(func() {
			defer func() { <-places }()
			if err := a.join(ctx, address, path); err != nil {
				a.report(-1, err)
			}
		})
	}
	opening.Wait()
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.failed
}

func (a *audience) join(ctx context.Context, address, path string) error {
	d := net.Dialer{Timeout: 20 * time.Second}
	c, err := d.DialContext(ctx, "tcp", address)
	if err != nil {
		return err
	}
	a.mu.Lock()
	a.conns = append(a.conns, c)
	a.mu.Unlock()
	if _, err := fmt.Fprintf(c, "GET %s HTTP/1.1\r\nHost: %s\r\n\r\n", path, address); err != nil {
		return err
	}
	a.reading.Go(func() {
		resp, err := http.ReadResponse(bufio.NewReaderSize(c, 1024), nil)
		if err != nil {
			a.report(-1, fmt.Errorf("read a stream: %w", err))
			return
		}
		lines := bufio.NewReaderSize(resp.Body, 1024)
		for {
			line, err := lines.ReadSlice('\n')
			if err != nil {
				a.report(-1, fmt.Errorf("read a stream: %w", err))
				return
			}
			a.report(versionIn(line), nil)
		}
	})
	return nil
}

func (a *audience) report(version int, err error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if err != nil {
		a.failed = errors.Join(err) // the last one will do
	}
	a.counts[version]++
	if err != nil || a.counts[version] == a.size {
		select {
		case a.news <- struct{}{}:
		default:
		}
	}
}

// await waits until all have a version.
func (a *audience) await(ctx context.Context, version int) error {
	limit := time.After(time.Minute)
	for {
		a.mu.Lock()
		have, failed := a.counts[version], a.failed
		a.mu.Unlock()
		switch {
		case failed != nil:
			return failed
		case have == a.size:
			return nil
		}
		select {
		case <-a.news:
		case <-limit:
			return fmt.Errorf("%d of %d watchers have the change after a minute", have, a.size)
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// close ends all connections and waits for the readers.
func (a *audience) close() {
	a.mu.Lock()
	for _, c := range a.conns {
		c.Close()
	}
	a.mu.Unlock()
	a.reading.Wait()
}
