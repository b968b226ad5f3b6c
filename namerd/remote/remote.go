// Package remote binds names by asking a namerd for every one of them: this project's, or Namerd 1.x. The agent that
// uses it needs no table and no catalog of its own.
//
// A name is followed by a stream of bound trees (/api/1/bind), and every concrete name in such a tree by a stream of
// addresses (/api/1/addr), which all names share that lead to it. Where streams do not work, behind a proxy that holds
// them back for instance, /api/1/resolve is asked again and again, as linkerd-tcp does.
//
// A namerd that is gone, slow or confused takes nothing away: the last good tree and the last good addresses stay, and
// are marked as stale.
package remote

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync/atomic"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/prometheus/client_golang/prometheus"

	"argosy/dtab"
	"argosy/internal/backoff"
	"argosy/internal/share"
	"argosy/internal/tasks"
	"argosy/internal/watch"
	"argosy/namer"
	"argosy/namerd/store"
)

// Mode says how names are followed.
type Mode string

// The modes.
const (
	Auto   Mode = "auto"   // by streams; by polling what no working stream says anything about
	Stream Mode = "stream" // by streams only
	Poll   Mode = "poll"   // by polling only, as linkerd-tcp does
)

// Options say which namerd to ask, and how.
type Options struct {
	Address      string        // base URL, such as http://127.0.0.1:4180; it may have a path. Required
	Namespace    string        // "default" unless set
	Local        dtab.Dtab     // sent along with every name, so that its entries win over the table
	TokenFile    string        // holds a bearer token to send; read at each request
	Mode         Mode          // Auto unless set
	PollInterval time.Duration // between two polls of one name; 10s unless set
	MaxStreams   int           // open at a time, each a connection unless it is HTTP/2; 1,000 unless set

	// For https: CA certificates (PEM) in place of the system's, and a certificate with its key to show.
	CAFile, CertFile, KeyFile string

	Logger   hclog.Logger
	Registry prometheus.Registerer
}

// Limits and times.
const (
	defaultPollInterval = 10 * time.Second
	defaultMaxStreams   = 1000

	maxDocument = 16 << 20 // bytes of one tree or address set
	maxLeaves   = 1000     // of one tree
	maxPolls    = 16       // requests at a time that are no streams

	shortestPause = 100 * time.Millisecond // before a stream is opened again
	longestPause  = 10 * time.Second       // while very many things are followed;
	lonelyPause   = 2 * time.Second        // while few are, and
	pausePerThing = 10 * time.Millisecond  // in between: so many attempts per second, altogether, do no harm
	patience      = 3 * time.Second        // a stream that has not worked for so long is not waited for
)

// Interpreter binds names. Its methods may be called from any goroutine.
type Interpreter struct {
	options Options
	times   times
	server  *server
	follows atomic.Int64                    // how many things are followed
	addrs   *share.Share[state[namer.Addr]] // by the concrete name's path

	ctx    context.Context
	cancel context.CancelFunc
	tasks  tasks.Group
}

// times are shorter in tests.
type times struct{ shortest, longest, patience, poll time.Duration }

// New makes an Interpreter. It asks for nothing before Start or the first Bind. Close it when it is no longer needed.
func New(o Options) (*Interpreter, error) {
	if o.Namespace == "" {
		o.Namespace = "default"
	}
	if err := store.CheckName(o.Namespace); err != nil {
		return nil, fmt.Errorf("namerd: %w", err)
	}
	switch o.Mode {
	case "":
		o.Mode = Auto
	case Auto, Stream, Poll:
	default:
		return nil, fmt.Errorf("namerd: unknown mode %q", o.Mode)
	}
	if o.PollInterval <= 0 {
		o.PollInterval = defaultPollInterval
	}
	if o.MaxStreams <= 0 {
		o.MaxStreams = defaultMaxStreams
	}
	if o.Logger == nil {
		o.Logger = hclog.NewNullLogger()
	}
	s, err := newServer(o)
	if err != nil {
		return nil, err
	}
	in := &Interpreter{
		options: o, server: s,
		times: times{shortest: shortestPause, longest: longestPause, patience: patience, poll: o.PollInterval},
	}
	in.ctx, in.cancel = context.WithCancel(context.Background())
	in.addrs = share.New(in.ctx, state[namer.Addr]{}, equalAddrs, in.followAddr)
	return in, nil
}

// Start begins to find out whether the namerd answers, so that Known can tell even if no name is in use.
func (in *Interpreter) Start() {
	if !in.tasks.Begin() {
		return
	}
	go func() {
		defer in.tasks.End()
		pause := backoff.New(in.times.shortest, in.times.longest)
		for known, _ := in.Known(); !known; known, _ = in.Known() {
			// A name that needs no catalog: $ by definition, whatever the table, unless the table has claimed it.
			if _, err := in.server.get(in.ctx, kindBind, in.bindQuery(dtab.Path{namer.SystemPrefix, "nil"}, false)); err == nil {
				return
			}
			if pause.Sleep(in.ctx) != nil {
				return
			}
		}
	}()
}

// longest is how long the pause before another attempt may be.
func (in *Interpreter) longest() time.Duration {
	return min(max(lonelyPause, time.Duration(in.follows.Load())*pausePerThing), in.times.longest)
}

// Known reports whether the namerd has ever answered, and what is wrong with it now.
func (in *Interpreter) Known() (bool, error) { return in.server.health() }

// Streams is how many are open.
func (in *Interpreter) Streams() int { return int(in.server.alive.Load()) }

// Bind returns what name stands for, live until ctx ends; after that the last value stays. It does not block: what is
// not known yet is Pending. Equal bindings wake nobody. After Close names are Failed with namer.ErrClosed.
func (in *Interpreter) Bind(ctx context.Context, name dtab.Path) watch.Reader[namer.Binding] {
	if !in.tasks.Begin() {
		return watch.Fixed(namer.Binding{Status: namer.Failed, Err: namer.ErrClosed})
	}
	ctx, cancel := context.WithCancel(ctx)
	stop := context.AfterFunc(in.ctx, cancel)
	b := &bound{
		in: in, name: name.Concat(), // a copy: it outlives the caller's
		cell:  watch.New(namer.Binding{}, namer.Binding.Equal),
		trees: watch.New(state[answer]{}, equalAnswers),
		held:  map[string]held{},
	}
	go func() {
		defer in.tasks.End()
		defer cancel()
		defer stop()
		b.follow(ctx)
	}()
	return b.cell
}

// BindGuest is Bind for a name that somebody outside has chosen. Such names need no part of the streams kept from them:
// names from the configuration are bound first, and with no stream left a name is polled.
func (in *Interpreter) BindGuest(ctx context.Context, name dtab.Path) watch.Reader[namer.Binding] {
	return in.Bind(ctx, name)
}

// Close ends all bindings, leaving their last values, and all streams, and waits for both.
func (in *Interpreter) Close() {
	in.tasks.Close(in.cancel)
	in.addrs.Wait()
	in.server.peer.Close()
}

// jitter spreads the polls of names that were bound together.
func jitter(d time.Duration) time.Duration {
	return time.Duration(float64(d) * (0.9 + 0.2*rand.Float64()))
}
