// Package web is the demo's web server: it answers from a cache in Redis, which it reaches through the proxies.
//
// A request takes a connection to Redis, reads a key and keeps the connection for a while, as a transaction would, so
// that the number of connections follows the load. On a miss it does slow work and writes the key. A connection is given
// up after about five seconds; that is how a change of the table reaches a client whose open connections are left alone.
package web

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	mathrand "math/rand/v2"
	"net"
	"net/http"
	"strconv"
	"time"

	"github.com/hashicorp/go-hclog"

	"argosy/demo/resp"
)

// Config says how to serve. All durations and numbers but the optional TLS must be set; Defaults has good ones.
type Config struct {
	Redis       string        // host:port of the proxies
	TLS         *TLS          // nil: plain
	Lifetime    time.Duration // of a connection, plus up to Jitter
	Jitter      time.Duration
	Idle        time.Duration // after which an unused connection is closed
	HoldMin     time.Duration // how long a request keeps its connection: between HoldMin and HoldMax
	HoldMax     time.Duration
	Work        time.Duration // the slow work of a miss
	Expiry      time.Duration // of a cached value: up to this
	DialTimeout time.Duration // of one dial, and of one command
	Dials       int           // tries to connect
	MaxConns    int           // in use at a time; further requests wait for one
}

// Defaults are the demo's.
func Defaults() Config {
	return Config{
		Lifetime: 5 * time.Second, Jitter: 300 * time.Millisecond, Idle: time.Second,
		HoldMin: 50 * time.Millisecond, HoldMax: 100 * time.Millisecond,
		Work: 300 * time.Millisecond, Expiry: 3 * time.Minute,
		DialTimeout: 5 * time.Second, Dials: 3,
		// Without a bound, a machine that is too busy gets ever more connections to set up, and ever slower.
		MaxConns: 40,
	}
}

// Server answers GET / and GET /stats. Its methods may be called from any goroutine.
type Server struct {
	config Config
	key    string
	pool   *pool
	stats  *stats
	log    hclog.Logger
}

// New makes a server; Close ends its connections.
func New(c Config, log hclog.Logger) *Server {
	key := make([]byte, 8)
	_, _ = rand.Read(key) // never fails
	s := newStats()
	return &Server{config: c, key: "app:" + hex.EncodeToString(key), pool: newPool(c, s), stats: s, log: log}
}

// Close closes the idle connections; those in use are closed when their request is done.
func (s *Server) Close() { s.pool.close() }

// Handler serves / and /stats.
func (s *Server) Handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", s.answer)
	mux.HandleFunc("GET /health", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, "ok") })
	mux.HandleFunc("GET /stats", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(s.stats.get())
	})
	return mux
}

func (s *Server) answer(w http.ResponseWriter, r *http.Request) {
	text, err := s.page(r.Context())
	s.stats.update(func(st *Stats) {
		st.Requests++
		if err != nil {
			st.Failed++
			st.LastFail = err.Error()
		}
	})
	if err != nil {
		s.log.Warn("request failed", "error", err)
		http.Error(w, err.Error(), http.StatusBadGateway)
		return
	}
	fmt.Fprintln(w, text)
}

// page returns the cached text, making it when it is not there.
func (s *Server) page(ctx context.Context) (string, error) {
	text, ok, err := s.do(ctx, true, "GET", s.key)
	if err != nil {
		return "", err
	}
	if ok {
		s.stats.update(func(st *Stats) { st.Hits++ })
		return text, nil
	}
	s.stats.update(func(st *Stats) { st.Misses++ })
	if err := pause(ctx, s.config.Work); err != nil { // without a connection in hand
		return "", err
	}
	seconds := 1 + mathrand.Int64N(max(1, int64(s.config.Expiry/time.Second)))
	if _, _, err := s.do(ctx, false, "SET", s.key, "hello", "EX", strconv.FormatInt(seconds, 10)); err != nil {
		return "", err
	}
	return "hello", nil
}

// do sends one command over a pooled connection, and keeps the connection for a while if hold is set. GET and SET can be
// repeated, so when an idle connection turns out to be dead the command is sent again over a new one.
func (s *Server) do(ctx context.Context, hold bool, args ...string) (string, bool, error) {
	for fresh := false; ; fresh = true {
		c, err := s.pool.get(ctx, fresh)
		if err != nil {
			return "", false, err
		}
		text, ok, err := c.Do(s.config.DialTimeout, args...)
		var refused resp.Error
		if err != nil && !errors.As(err, &refused) {
			s.pool.put(c, true)
			if !c.used {
				s.stats.update(func(st *Stats) { st.Retried++ })
				continue
			}
			return "", false, fmt.Errorf("%s: %w", args[0], err)
		}
		c.used = true
		if err == nil && hold {
			s.stats.backend(c.backend, func(b *Backend) { b.Requests++ })
			if p := pause(ctx, s.config.HoldMin+time.Duration(mathrand.Int64N(int64(s.config.HoldMax-s.config.HoldMin)+1))); p != nil {
				err = p
			}
		}
		s.pool.put(c, false)
		return text, ok, err
	}
}

func pause(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Serve answers on address until ctx ends, then lets requests under way finish.
func (s *Server) Serve(ctx context.Context, address string) error {
	l, err := net.Listen("tcp", address)
	if err != nil {
		return fmt.Errorf("listen for requests: %w", err)
	}
	h := &http.Server{Handler: s.Handler(), ReadHeaderTimeout: 10 * time.Second}
	done := make(chan error, 1)
	go func() { done <- h.Serve(l) }()
	s.log.Info("web server is up", "address", l.Addr(), "redis", s.config.Redis)
	select {
	case err := <-done:
		return fmt.Errorf("answer requests: %w", err)
	case <-ctx.Done():
	}
	end, cancel := context.WithTimeout(context.WithoutCancel(ctx), 3*time.Second)
	defer cancel()
	err = h.Shutdown(end)
	<-done
	if err != nil {
		h.Close()
		return fmt.Errorf("finish requests: %w", err)
	}
	return nil
}
