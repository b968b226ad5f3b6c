// Package namerd serves Dtab namespaces over the HTTP API of Namerd 1.x, from any store.Store.
//
// It answers below /api/1/, the way Namerd does: dtabs, and with Options.Names bind, addr, resolve, delegate and
// bound-names; the same routes, formats, versions (bare base64 ETags) and statuses, and streams of JSON documents with
// ?watch=true. What Namerd answers with 500 because a client sent something malformed is 400 or 412 here, and what it
// waits for without an end is 503 after a while. Where its streams would have an error's text they are silent: what was
// sent last stands. Two things are added. A namespace that is deleted, or not there yet, is silent in
// Namerd's streams; with &absent=true it is the document null. And GET /health and GET /metrics are for operators.
//
// What has changed in a namespace, and when and by whom, is at GET /api/1/history/<ns>, and POST /api/1/rollback/<ns>
// brings an earlier table back.
package namerd

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"argosy/internal/door"
	"argosy/internal/settings"
	"argosy/internal/share"
	"argosy/namer"
	"argosy/namerd/names"
	"argosy/namerd/store"
	"argosy/namerd/wire"
)

const (
	storeTimeout  = 10 * time.Second // for one answer of the store
	bodyTimeout   = 30 * time.Second // for the body of a request, so that a stuck writer does not stay for ever
	writeTimeout  = 30 * time.Second // for one message to a reader, so that a stuck one does not stay for ever
	shutdownGrace = 10 * time.Second // for requests under way when the server is told to stop
	stuckGrace    = 2 * time.Second  // for bodies and messages under way then, so that a stuck one does not use all of that

	maxHeaderBytes = 64 << 10

	manyConnections = 1_000_000
)

// Options has what a server needs besides its store. All may be left out.
type Options struct {
	Logger   hclog.Logger
	Registry prometheus.Registerer // shown on /metrics where it can be gathered, as a *prometheus.Registry can
	ReadOnly bool                  // refuse to change anything
	// Config is what GET /v1/config shows; it answers 404 unless set.
	Config func() any
	// Door lets callers in, by the listener that Run is given; everybody unless set.
	Door *door.Door
	// Names binds names; it is not closed. Without it bind, addr, resolve, delegate and bound-names answer 501.
	Names *names.Names
	// Random draws the leaf that resolve tells of: at least 0, below 1. math/rand/v2's unless set.
	Random func() float64
	// NamesInterval is how often the store is asked for its names while somebody watches them, and the
	// namers for theirs; a second unless set.
	NamesInterval time.Duration
}

// Server is the HTTP API over one store. Its methods may be called from any goroutine.
type Server struct {
	store    store.Store
	logger   hclog.Logger
	readOnly atomic.Bool
	door     *door.Door
	config   func() any    // nil: not shown
	places   chan struct{} // taken by large bodies while there is one
	turns    chan struct{} // and while it becomes a table
	metrics  *metrics
	scrape   http.Handler

	naming        *names.Names // nil: serve dtabs only
	random        func() float64
	namesInterval time.Duration

	tables   *share.Share[store.Observation] // by namespace
	names    *share.Share[nameList]          // by ""
	poke     chan struct{}                   // the names have changed
	bindings *share.Share[namer.Binding]     // by nameRequest.key
	messages *share.Share[message]           // of the streams, by what they tell

	stopping context.Context // ends the streams
	stop     context.CancelFunc
	closing  sync.Once
}

// NewServer makes a server. Close ends the goroutines that watch the store.
func NewServer(s store.Store, o Options) *Server {
	if o.Logger == nil {
		o.Logger = hclog.NewNullLogger()
	}
	if o.Registry == nil {
		o.Registry = prometheus.NewRegistry()
	}
	if o.NamesInterval <= 0 {
		o.NamesInterval = time.Second
	}
	if o.Random == nil {
		o.Random = rand.Float64
	}
	srv := &Server{
		store: s, logger: o.Logger, scrape: http.NotFoundHandler(), poke: make(chan struct{}, 1),
		naming: o.Names, random: o.Random, namesInterval: o.NamesInterval,
	}
	srv.readOnly.Store(o.ReadOnly)
	srv.config = o.Config
	if srv.door = o.Door; srv.door == nil {
		srv.door = door.New(settings.Door{Insecure: true, MaxConnections: manyConnections}, nil, door.Options{Logger: o.Logger})
	}
	srv.places, srv.turns = make(chan struct{}, largePlaces), make(chan struct{}, largeTurns)
	srv.stopping, srv.stop = context.WithCancel(context.Background())
	srv.tables = share.New(srv.stopping, store.Observation{}, store.Observation.Equal, func(ctx context.Context, ns string, set func(store.Observation)) {
		s.Observe(ctx, ns, set)
	})
	srv.names = share.New(srv.stopping, nameList{}, nameList.equal, func(ctx context.Context, _ string, set func(nameList)) {
		srv.pollNames(ctx, o.NamesInterval, set)
	})
	srv.bindings = share.New(srv.stopping, namer.Binding{}, namer.Binding.Equal, nil)
	srv.messages = share.New(srv.stopping, message{}, message.equal, nil)
	srv.metrics = newMetrics(o.Registry, srv.countNamespaces)
	if g, ok := o.Registry.(prometheus.Gatherer); ok {
		srv.scrape = promhttp.HandlerFor(g, promhttp.HandlerOpts{ErrorHandling: promhttp.ContinueOnError})
	}
	return srv
}

// SetReadOnly changes whether the server refuses to change anything.
func (s *Server) SetReadOnly(v bool) { s.readOnly.Store(v) }

// Close ends all streams and waits for what watches the store. The handler must not be used afterwards.
func (s *Server) Close() {
	s.closing.Do(s.stop)
	s.messages.Wait()
	s.bindings.Wait()
	s.tables.Wait()
	s.names.Wait()
}

// Run serves on l, with TLS where the door has it, until ctx ends; then it ends the streams, finishes the requests under way and returns nil. It owns l,
// and closes the server.
func (s *Server) Run(ctx context.Context, l net.Listener) error {
	defer s.Close()
	server := &http.Server{
		Handler:           s.Handler(),
		ReadHeaderTimeout: 10 * time.Second,
		IdleTimeout:       2 * time.Minute,
		MaxHeaderBytes:    maxHeaderBytes,
		ErrorLog:          s.logger.StandardLogger(&hclog.StandardLoggerOptions{ForceLevel: hclog.Debug}),
	}
	var fresh freshConns
	server.ConnContext = s.door.Connected
	server.ConnState = func(c net.Conn, state http.ConnState) {
		s.door.Note(c, state)
		fresh.note(c, state)
	}
	failed := make(chan error, 1)
	go func() { failed <- server.Serve(hostlessListener{s.door.Listener(l), s.logger}) }()
	s.logger.Info("serving dtabs", "address", l.Addr().String(), "read_only", s.readOnly.Load())
	select {
	case err := <-failed:
		return fmt.Errorf("serve the dtab API on %s: %w", l.Addr(), err)
	case <-ctx.Done():
	}
	s.closing.Do(s.stop)
	grace, cancel := context.WithTimeout(context.WithoutCancel(ctx), shutdownGrace)
	defer cancel()
	fresh.close()
	err := server.Shutdown(grace)
	if errors.Is(err, context.DeadlineExceeded) {
		s.logger.Warn("requests still under way were cut off", "after", shutdownGrace)
		err = server.Close()
	}
	<-failed // it is http.ErrServerClosed
	return err
}

// Handler answers all requests. It routes by itself: http.ServeMux would decode, clean and redirect paths.
func (s *Server) Handler() http.Handler {
	return s.metrics.count(func(w http.ResponseWriter, r *http.Request) string {
		r, ok := s.admit(w, r)
		if !ok {
			return "refused"
		}
		path := rawPath(r)
		switch {
		case strings.HasPrefix(path, historyPath):
			s.history(w, r, strings.TrimPrefix(path, historyPath))
			return "history"
		case strings.HasPrefix(path, rollbackPath):
			s.rollback(w, r, strings.TrimPrefix(path, rollbackPath))
			return "rollback"
		case path == dtabsPath || path == dtabsPath+"/":
			s.list(w, r)
			return "dtabs"
		case strings.HasPrefix(path, dtabsPath+"/"):
			s.namespace(w, r, strings.TrimPrefix(path, dtabsPath+"/"))
			return "dtab"
		case strings.HasPrefix(path, bindPath):
			s.nameRoute(w, r, strings.TrimPrefix(path, bindPath), true, s.bind)
			return "bind"
		case strings.HasPrefix(path, addrPath):
			s.nameRoute(w, r, strings.TrimPrefix(path, addrPath), false, s.addr)
			return "addr"
		case strings.HasPrefix(path, resolvePath):
			s.nameRoute(w, r, strings.TrimPrefix(path, resolvePath), true, s.resolve)
			return "resolve"
		case strings.HasPrefix(path, delegatePath):
			s.delegate(w, r, strings.TrimPrefix(path, delegatePath))
			return "delegate"
		case strings.HasPrefix(path, explainPath):
			s.nameRoute(w, r, strings.TrimPrefix(path, explainPath), true, s.explainName)
			return "explain"
		case path == boundNamesPath:
			s.boundNames(w, r)
			return "bound-names"
		case path == "/health" && isRead(r):
			s.health(w, r)
			return "health"
		case path == "/metrics" && isRead(r):
			s.scrape.ServeHTTP(w, r)
			return "metrics"
		case path == "/v1/config" && isRead(r) && s.config != nil:
			reply(w, http.StatusOK, typeJSON, wire.Line(settings.Show(s.config())))
			return "config"
		}
		w.WriteHeader(http.StatusNotFound)
		return "other"
	})
}

// The routes. What begins like one of the four in the middle is taken for it, as in Namerd.
const (
	dtabsPath      = "/api/1/dtabs"
	bindPath       = "/api/1/bind"
	addrPath       = "/api/1/addr"
	resolvePath    = "/api/1/resolve"
	delegatePath   = "/api/1/delegate"
	boundNamesPath = "/api/1/bound-names"
)

func isRead(r *http.Request) bool { return r.Method == http.MethodGet || r.Method == http.MethodHead }

// rawPath is the path as it was sent, not decoded.
func rawPath(r *http.Request) string {
	if !strings.HasPrefix(r.RequestURI, "/") {
		return r.URL.EscapedPath()
	}
	path, _, _ := strings.Cut(r.RequestURI, "?")
	return path
}

// health tells whether the store answers.
func (s *Server) health(w http.ResponseWriter, r *http.Request) {
	ctx, cancel := context.WithTimeout(r.Context(), 2*time.Second)
	defer cancel()
	names, err := s.store.List(ctx)
	if err != nil {
		reply(w, http.StatusServiceUnavailable, typeJSON, wire.Line(map[string]any{"status": "failing", "reason": err.Error()}))
		return
	}
	reply(w, http.StatusOK, typeJSON, wire.Line(map[string]any{"status": "ok", "namespaces": len(names)}))
}

// countNamespaces is for the metrics; -1 says that the store does not answer.
func (s *Server) countNamespaces() float64 {
	ctx, cancel := context.WithTimeout(s.stopping, 2*time.Second)
	defer cancel()
	names, err := s.store.List(ctx)
	if err != nil {
		return -1
	}
	return float64(len(names))
}
