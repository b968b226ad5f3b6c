package main

import (
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"strings"
	"sync"
	"time"
)

// front stands between an agent and Consul, and counts. It adds some tenths of a millisecond to each request.
type front struct {
	addr   string
	server *http.Server
	done   sync.WaitGroup

	mu       sync.Mutex
	requests int
	errors   int             // answers that are none
	known    map[string]bool // services that Consul has answered about
}

// newFront listens on a free loopback port.
func newFront(consul string) (*front, error) {
	target, err := url.Parse(consul)
	if err != nil {
		return nil, err
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("listen in front of Consul: %w", err)
	}
	f := &front{addr: l.Addr().String(), known: map[string]bool{}}
	proxy := httputil.NewSingleHostReverseProxy(target)
	proxy.Transport = &http.Transport{MaxIdleConnsPerHost: 200, IdleConnTimeout: time.Minute}
	proxy.ErrorLog = log.New(io.Discard, "", 0)
	proxy.ModifyResponse = func(r *http.Response) error {
		f.answered(r.Request.URL.Path, r.StatusCode)
		return nil
	}
	f.server = &http.Server{
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			f.mu.Lock()
			f.requests++
			f.mu.Unlock()
			proxy.ServeHTTP(w, r)
		}),
		ErrorLog: log.New(io.Discard, "", 0),
	}
	f.done.Go(func() { _ = f.server.Serve(l) }) // until close
	return f, nil
}

func (f *front) answered(path string, status int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if status != http.StatusOK {
		f.errors++
		return
	}
	if i := strings.LastIndexByte(path, '/'); strings.HasPrefix(path, "/v1/health/") {
		f.known[path[i+1:]] = true
	}
}

// counts are the requests so far, those among them that Consul has refused, and the services it has answered about.
func (f *front) counts() (requests, errors, known int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.requests, f.errors, len(f.known)
}

func (f *front) close() {
	f.server.Close()
	f.done.Wait()
}
