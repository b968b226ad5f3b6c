package main

import (
	"bufio"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strings"
	"sync"
)

// front stands between an agent and Consul, and counts. It has one connection to Consul for each of the agent's, since
// Consul limits them, and adds some tenths of a millisecond to each request.
type front struct {
	addr     string
	consul   string
	listener net.Listener
	running  sync.WaitGroup

	mu       sync.Mutex
	closed   bool
	conns    map[net.Conn]struct{}
	requests int
	refused  int
	known    map[string]bool // services that Consul has answered about
}

// newFront listens on a free loopback port, in front of a Consul at host:port.
func newFront(consul string) (*front, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("listen in front of Consul: %w", err)
	}
	f := &front{addr: l.Addr().String(), consul: consul, listener: l, conns: map[net.Conn]struct{}{}, known: map[string]bool{}}
	f.running.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			f.running.Go(func() { f.serve(c) })
		}
	})
	return f, nil
}

// serve hands the requests of one connection on.
func (f *front) serve(agent net.Conn) {
	defer agent.Close()
	consul, err := net.Dial("tcp", f.consul)
	if err != nil {
		return
	}
	defer consul.Close()
	if !f.hold(agent, consul) {
		return
	}
	defer f.release(agent, consul)
	requests, answers := bufio.NewReader(agent), bufio.NewReader(consul)
	for {
		request, err := http.ReadRequest(requests)
		if err != nil {
			return
		}
		f.asked()
		if request.Write(consul) != nil {
			return
		}
		// The agent sends nothing before it has the answer, unless it goes away: then Consul is to know.
		waited := make(chan error, 1)
		go func() {
			_, err := requests.Peek(1)
			if err != nil {
				consul.Close()
			}
			waited <- err
		}()
		response, err := http.ReadResponse(answers, request)
		if err == nil {
			f.answered(request.URL.Path, response.StatusCode)
			err = response.Write(agent)
			if err == nil && response.Close {
				err = errors.New("the last one of this connection")
			}
		}
		if err != nil {
			agent.Close()
		}
		if err := errors.Join(err, <-waited); err != nil {
			return
		}
	}
}

// hold notes connections to be ended by close. It is false when that has been called.
func (f *front) hold(conns ...net.Conn) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, c := range conns {
		f.conns[c] = struct{}{}
	}
	return !f.closed
}

func (f *front) release(conns ...net.Conn) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, c := range conns {
		delete(f.conns, c)
	}
}

func (f *front) asked() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.requests++
}

func (f *front) answered(path string, status int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if status != http.StatusOK {
		f.refused++
		return
	}
	if i := strings.LastIndexByte(path, '/'); strings.HasPrefix(path, "/v1/health/") {
		f.known[path[i+1:]] = true
	}
}

// counts are the requests so far, those among them that Consul has refused, and the services it has answered about.
func (f *front) counts() (requests, refused, known int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.requests, f.refused, len(f.known)
}

// close ends all connections and waits.
func (f *front) close() {
	f.listener.Close()
	f.mu.Lock()
	f.closed = true
	for c := range f.conns {
		c.Close()
	}
	f.mu.Unlock()
	f.running.Wait()
}
