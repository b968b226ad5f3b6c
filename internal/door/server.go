package door

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"

	"argosy/internal/settings"
)

const (
	headerTimeout = 10 * time.Second
	idleTimeout   = 2 * time.Minute
	bodyTimeout   = 30 * time.Second // for the body of a request
	writeTimeout  = 30 * time.Second // for a client to take a part of an answer
	maxHeader     = 32 << 10         // bytes
)

// Server serves an endpoint behind a door.
type Server struct {
	door     *Door
	listener net.Listener
	server   *http.Server
	running  sync.WaitGroup
	logger   hclog.Logger
}

// NewServer makes a server that takes l over.
func NewServer(d *Door, l net.Listener, h http.Handler, logger hclog.Logger) *Server {
	return &Server{door: d, listener: l, logger: logger, server: &http.Server{
		Handler: d.Handler(h), ReadHeaderTimeout: headerTimeout, IdleTimeout: idleTimeout, MaxHeaderBytes: maxHeader,
		ConnContext: d.Connected, ConnState: d.Note,
		ErrorLog: logger.StandardLogger(&hclog.StandardLoggerOptions{ForceLevel: hclog.Debug}),
	}}
}

// Listener is the one that was given to NewServer.
func (s *Server) Listener() net.Listener { return s.listener }

// Use changes who may come in: see Door.Use. An error is about the permissions of a Unix socket; the rest is done then.
func (s *Server) Use(cfg settings.Door, peers *Peers) error {
	s.door.Use(cfg, peers)
	if l, ok := s.listener.(*UnixListener); ok {
		return l.permit(cfg)
	}
	return nil
}

// Address is where the server listens: "host:port", or "unix:" and a path.
func (s *Server) Address() string {
	if a := s.listener.Addr(); a.Network() == "unix" {
		return "unix:" + a.String()
	}
	return s.listener.Addr().String()
}

// Start begins to serve. The channel gets why it ended, unless that was by Stop.
func (s *Server) Start() <-chan error {
	failed := make(chan error, 1)
	s.running.Go(func() {
		if err := s.server.Serve(s.door.Listener(s.listener)); !errors.Is(err, http.ErrServerClosed) {
			s.logger.Error("the HTTP endpoint ended", "error", err)
			failed <- err
		}
	})
	return failed
}

// Stop lets answers that are on their way finish for so long, and closes the listener.
func (s *Server) Stop(grace time.Duration) {
	ctx, cancel := context.WithTimeout(context.Background(), grace)
	defer cancel()
	if s.server.Shutdown(ctx) != nil {
		s.server.Close()
	}
	s.listener.Close()
	s.running.Wait()
}

// Handler serves requests that are let in by h, and answers the others. Clients have limited time to send a body, and to take an
// answer.
func (d *Door) Handler(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		control := http.NewResponseController(w)
		p := &patient{w, control, d.write}
		caller, refusal := d.Check(r, r.URL.Path)
		if refusal == nil && !caller.Write && !d.open(r, r.URL.Path) && r.Method != http.MethodGet && r.Method != http.MethodHead {
			refusal = &Refusal{http.StatusForbidden, "token", "the token may only read"}
		}
		if refusal != nil {
			refuse(p, refusal, d.options.Realm)
			return
		}
		control.SetWriteDeadline(time.Time{}) // that of the answer before
		if r.ContentLength != 0 {
			control.SetReadDeadline(time.Now().Add(d.body))
			r.Body = &body{r.Body, control}
		}
		h.ServeHTTP(p, r)
	})
}

func refuse(w http.ResponseWriter, f *Refusal, realm string) {
	f.Header(w.Header(), realm)
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(f.Status)
	e := json.NewEncoder(w)
	e.SetEscapeHTML(false)
	e.Encode(map[string]string{"error": f.Text})
}

// patient waits for a client only so long.
type patient struct {
	http.ResponseWriter
	control *http.ResponseController
	limit   time.Duration // for a part of the answer
}

func (p *patient) Unwrap() http.ResponseWriter { return p.ResponseWriter }

func (p *patient) WriteHeader(status int) {
	p.control.SetWriteDeadline(time.Now().Add(p.limit))
	p.ResponseWriter.WriteHeader(status)
}

func (p *patient) Write(b []byte) (int, error) {
	p.control.SetWriteDeadline(time.Now().Add(p.limit))
	return p.ResponseWriter.Write(b)
}

// body takes the time limit of the request away when all of it has been read: the connection may serve others later.
type body struct {
	io.ReadCloser
	control *http.ResponseController
}

func (b *body) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if err == io.EOF {
		b.control.SetReadDeadline(time.Time{})
	}
	return n, err
}
