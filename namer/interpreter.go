package namer

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/prometheus/client_golang/prometheus"

	"argosy/dtab"
	"argosy/internal/tasks"
	"argosy/internal/watch"
	"argosy/namer/inet"
)

// Options say what an Interpreter works with. Zero values stand for the defaults that are named.
type Options struct {
	Dtab   watch.Reader[TableState] // the stored table; required, unless every name is bound through Under
	Local  dtab.Dtab                // appended to it, so its entries win
	Mounts []Mount                  // asked in this order; the system namer of /$/ comes behind them
	Logger hclog.Logger             // none: silence

	Linger     time.Duration // how long a namer's watch outlives its last use; 0: 10s, negative: not at all
	MaxDepth   int           // lookups on the way to one leaf; 0: 100
	MaxLookups int           // what binding a name once may cost, in lookups; 0 or more than that: 10,000

	// MaxWatches is how many names may be watched at the namers at a time; 0: 10,000. A name that needs more is Failed at
	// once, with a *TooManyWatchesError, and bound when there is room.
	MaxWatches int
	Registry   prometheus.Registerer // for metrics of the watches; may be nil

	// EmptyFallsThrough makes alternatives work when a service is known and has no endpoints: in "/a | /b", b is used
	// while a has none. Linkerd does not do so.
	EmptyFallsThrough bool

	// PendingLegTimeout is how long an alternative that is not the last is waited for before the next is tried. It is
	// used as soon as it is known. 0: for ever, as Linkerd does.
	PendingLegTimeout time.Duration

	// Rewrites fills in Cluster.By, and publishes a binding also when only the entries that have led to it have changed.
	Rewrites bool

	// Raw publishes Failed and Pending even after a good binding, for those who show the state of names. Whoever carries
	// traffic wants the last good one.
	Raw bool

	Lookup inet.Lookup // DNS for /$/inet; nil: the system's
}

const (
	defaultLinger     = 10 * time.Second
	defaultMaxDepth   = 100
	defaultMaxLookups = 10_000 // below what one select can wait for
	defaultMaxWatches = 10_000
)

// ErrClosed is the error of names bound after Close.
var ErrClosed = errors.New("bind: interpreter is closed")

// errUnknownNow stands beside a last good binding while an answer is awaited.
var errUnknownNow = errors.New("bind: waiting for an answer")

// Interpreter binds names: it follows a table and the mounted namers to clusters of endpoints, and follows them on when
// anything of that changes. Its methods may be called from any goroutine.
//
//	in := namer.NewInterpreter(namer.Options{Dtab: table, Mounts: mounts, EmptyFallsThrough: true})
//	defer in.Close()
//	for b := range watch.Values(ctx, in.Bind(ctx, dtab.MustParsePath("/svc/redis"))) {
//		balancer.Update(b.Clusters)
//	}
type Interpreter struct {
	options Options
	local   *dtab.Index // of options.Local
	*core
}

// core is what interpreters that bind under different tables share.
type core struct {
	limits limits
	mounts []Mount
	shared *lookups

	ctx    context.Context
	cancel context.CancelFunc
	tasks  tasks.Group
}

// NewInterpreter makes an Interpreter. Close it when it is no longer needed.
func NewInterpreter(opts Options) *Interpreter {
	if opts.Logger == nil {
		opts.Logger = hclog.NewNullLogger()
	}
	if opts.Linger == 0 {
		opts.Linger = defaultLinger
	}
	if opts.MaxDepth == 0 {
		opts.MaxDepth = defaultMaxDepth
	}
	if opts.MaxLookups <= 0 || opts.MaxLookups > defaultMaxLookups {
		opts.MaxLookups = defaultMaxLookups
	}
	if opts.MaxWatches <= 0 {
		opts.MaxWatches = defaultMaxWatches
	}
	system := Mount{Prefix: dtab.Path{SystemPrefix}, Namer: System{Resolver: inet.Resolver{Lookup: opts.Lookup}}}
	mounts := append(slices.Clone(opts.Mounts), system)
	ctx, cancel := context.WithCancel(context.Background())
	return &Interpreter{options: opts, local: dtab.NewIndex(opts.Local), core: &core{
		limits: limits{
			depth: opts.MaxDepth, lookups: opts.MaxLookups,
			emptyIsNeg: opts.EmptyFallsThrough, pendingLimit: opts.PendingLegTimeout,
		},
		mounts: mounts,
		shared: newLookups(mounts, opts),
		ctx:    ctx, cancel: cancel,
	}}
}

// Under returns an interpreter that binds under another table, with entries of its own behind it, and shares all else:
// a service that several of them bind is watched once. It ends with in, and needs no Close of its own.
func (in *Interpreter) Under(table watch.Reader[TableState], local dtab.Dtab) *Interpreter {
	o := in.options
	o.Dtab, o.Local = table, local
	return &Interpreter{options: o, local: dtab.NewIndex(local), core: in.core}
}

// Bind returns what name stands for, live until ctx ends; after that the last value stays. It does not block: what is
// not known yet is Pending. Equal bindings wake nobody. Once a name is bound to endpoints it stays so: when it
// cannot be bound any more, the last good tree is kept, see Binding.Err.
func (in *Interpreter) Bind(ctx context.Context, name dtab.Path) watch.Reader[Binding] {
	return in.BindTree(ctx, dtab.LeafOf(name.Concat()))
}

// BindGuest is Bind for a name that somebody outside has chosen: a part of the watches is not for such names.
func (in *Interpreter) BindGuest(ctx context.Context, name dtab.Path) watch.Reader[Binding] {
	return in.bind(ctx, dtab.LeafOf(name.Concat()), true)
}

// BindTree is Bind for a tree of names.
func (in *Interpreter) BindTree(ctx context.Context, tree dtab.Tree[dtab.Path]) watch.Reader[Binding] {
	return in.bind(ctx, tree, false)
}

func (in *Interpreter) bind(ctx context.Context, tree dtab.Tree[dtab.Path], guest bool) watch.Reader[Binding] {
	if !in.tasks.Begin() {
		return watch.Fixed(Binding{Status: Failed, Err: ErrClosed})
	}
	ctx, cancel := context.WithCancel(ctx)
	stop := context.AfterFunc(in.ctx, cancel)
	same := Binding.Equal
	if in.options.Rewrites {
		same = func(a, b Binding) bool { return a.Equal(b) && sameRewrites(a.Clusters, b.Clusters) }
	}
	b := &binder{
		in: in, ctx: ctx, tree: tree, guest: guest,
		cell: watch.New(Binding{}, same),
		held: make(map[string]*lookup),
	}
	b.step() // at once: what can be known now is known when Bind returns
	go func() {
		defer in.tasks.End()
		defer cancel()
		defer stop()
		b.follow()
	}()
	return b.cell
}

// Close ends all bindings, leaving their last values, and all watches, and waits for both.
func (in *Interpreter) Close() {
	in.tasks.Close(in.cancel)
	in.shared.close()
}
