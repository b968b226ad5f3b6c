// Package suite tests how a proxy treats TCP connections. It connects to the proxy as a client and listens itself where
// the proxy connects to, so that it sees both ends of each connection: what is done to one end has to arrive at the other.
//
//	s, err := suite.New(suite.Config{Target: "127.0.0.1:7474", Backend: "127.0.0.1:9001"})
//	...
//	defer s.Close()
//	for _, c := range s.Cases() {
//		r := s.Run(ctx, c)
//		fmt.Println(r.Case, r.Status, r.Note)
//	}
//
// The proxy must pass every connection on to the one backend, as soon as it is accepted. Cases run one after another. Each
// has a time limit, and closes what it has opened.
package suite

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"time"
)

// Config says what is tested, and with how much.
type Config struct {
	// Target is where the proxy listens, and Backend where the suite listens and the proxy connects to: host:port or
	// unix:PATH.
	Target, Backend string

	// TargetTLS, if set, is how to speak TLS to the proxy.
	TargetTLS *tls.Config
	// BackendTLS, if set, is how to be a TLS server to the proxy.
	BackendTLS *tls.Config

	// Pids are the processes of the proxy, all on this machine. Without them its memory and its sockets are not looked at.
	Pids []int

	// Bulk is how many bytes are sent each way in the bulk case; 64 MiB unless set.
	Bulk int64
	// Many is how many connections are opened at once; 200 unless set.
	Many int
	// Patience is how long a slow peer waits before its next byte, and how long silence has to last before it counts;
	// 1 s unless set.
	Patience time.Duration
	// Limit is how long a case may take beside the waiting that it does itself and the time for bulk; 20 s unless set.
	Limit time.Duration
}

// Status is what came of a case.
type Status string

// What can come of a case.
const (
	Pass Status = "pass"
	Fail Status = "fail"
	None Status = "n.a." // there is nothing to test, or nothing to test it with
)

// Case is one property of a proxy.
type Case struct {
	Name  string // a word, for tables and for choosing
	Title string // what must hold, in a sentence

	without func(Config) string // why the case does not apply; empty if it does
	extra   func(Config) time.Duration
	test    func(*bed) error
}

// Result is what came of a case.
type Result struct {
	Case   string        `json:"case"`
	Title  string        `json:"title"`
	Status Status        `json:"status"`
	Note   string        `json:"note,omitempty"` // why it failed or does not apply, or what else was seen
	Took   time.Duration `json:"ns"`
}

// Suite is a backend and the cases that use it. Run must not be called by two goroutines at once.
type Suite struct {
	config  Config
	pattern []byte
	backend *backend
	opened  int // connections so far
	sockets int // of the proxy before the first case; -1 if unknown

	// Whether the proxy ends TLS without close_notify even in order. Then that tells neither side of a break.
	clientLax, serverLax bool
	learnt               bool
}

// New listens on the backend's address.
func New(c Config) (*Suite, error) {
	c.Bulk = cmp.Or(c.Bulk, 64<<20)
	c.Many = cmp.Or(c.Many, 200)
	c.Patience = cmp.Or(c.Patience, time.Second)
	c.Limit = cmp.Or(c.Limit, 20*time.Second)
	for _, a := range []struct{ what, address string }{{"target", c.Target}, {"backend", c.Backend}} {
		if _, _, err := endpoint(a.address); err != nil {
			return nil, fmt.Errorf("%s: %w", a.what, err)
		}
	}
	b, err := newBackend(c.Backend)
	if err != nil {
		return nil, err
	}
	s := &Suite{config: c, backend: b, pattern: make([]byte, patternSize), sockets: -1}
	random := rand.NewChaCha8([32]byte{'c', 'o', 'n', 'f', 'o', 'r', 'm'})
	random.Read(s.pattern)
	return s, nil
}

// Close stops listening.
func (s *Suite) Close() error { return s.backend.close() }

// Cases returns all cases, in the order in which they should run.
func (s *Suite) Cases() []Case { return Cases() }

// Cases returns all cases, in the order in which they should run.
func Cases() []Case {
	var all []Case
	for _, group := range [][]Case{orderly(), resets(), slow(), loads(), broken(), secured(), after()} {
		all = append(all, group...)
	}
	return all
}

// Run runs a case. It returns when all that the case has opened is closed.
func (s *Suite) Run(ctx context.Context, c Case) Result {
	r := Result{Case: c.Name, Title: c.Title, Status: Pass}
	if c.without != nil {
		if r.Note = c.without(s.config); r.Note != "" {
			r.Status = None
			return r
		}
	}
	began := time.Now()
	limit := s.config.Limit
	if c.extra != nil {
		limit += c.extra(s.config)
	}
	ctx, cancel := context.WithTimeout(ctx, limit)
	b := &bed{Suite: s, ctx: ctx, patience: s.config.Patience}
	b.deadline, _ = ctx.Deadline()
	err := b.ready()
	if err == nil && s.sockets < 0 && len(s.config.Pids) > 0 {
		s.sockets, err = sockets(s.config.Pids)
	}
	if err == nil && !s.learnt {
		s.learnt = true
		err = b.learn()
	}
	if err == nil {
		err = c.test(b)
	}
	b.end()
	cancel()
	r.Took = time.Since(began)
	r.Note = strings.Join(b.notes, "; ")
	var none notApplicable
	switch {
	case errors.As(err, &none):
		r.Status, r.Note = None, string(none)
	case err != nil:
		r.Status, r.Note = Fail, err.Error()
	}
	return r
}

// notApplicable is the error of a case that finds out only while it runs that it does not apply.
type notApplicable string

func (n notApplicable) Error() string { return string(n) }

// without combines reasons for a case not to apply.
func without(reasons ...func(Config) string) func(Config) string {
	return func(c Config) string {
		for _, r := range reasons {
			if why := r(c); why != "" {
				return why
			}
		}
		return ""
	}
}

func noUnix(c Config) string {
	if strings.HasPrefix(c.Target, "unix:") || strings.HasPrefix(c.Backend, "unix:") {
		return "Unix sockets have no resets"
	}
	return ""
}

func noTargetTLS(c Config) string {
	if c.TargetTLS == nil {
		return "no TLS to the proxy"
	}
	return ""
}

func noBackendTLS(c Config) string {
	if c.BackendTLS == nil {
		return "no TLS from the proxy"
	}
	return ""
}

func noPids(c Config) string {
	if len(c.Pids) == 0 {
		return "the proxy's process is not known"
	}
	return ""
}
