package agent

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/go-hclog"

	"argosy/agent/balance"
	"argosy/agent/dial"
	"argosy/agent/outcome"
	"argosy/dtab"
	"argosy/internal/watch"
	"argosy/namer"
)

const (
	// wireNames is how many names from outside are followed at a time, where the configuration does not say.
	wireNames = 1000
	// Names from outside are forgotten when no connection has used them for so long: one that stands for something, and
	// one that does not, which would otherwise be looked up again for every connection of a scan.
	wireLinger    = time.Minute
	wireNegLinger = 5 * time.Second
)

// binder turns names into live bindings: namer.Interpreter, or a hand-driven one in tests.
type binder interface {
	Bind(ctx context.Context, name dtab.Path) watch.Reader[namer.Binding]
	BindGuest(ctx context.Context, name dtab.Path) watch.Reader[namer.Binding] // for a name from outside
}

// names keeps one live binding and one balancer for each name in use. Its methods may be called from any goroutine.
type names struct {
	metrics *metrics
	logger  hclog.Logger
	now     func() time.Time
	clients atomic.Pointer[clientsOf]

	mu     sync.Mutex
	binder binder
	byName map[string]*destination
	fixed  map[string]bool // from the configuration; never evicted
	wire   int             // how many are not fixed
	most   int             // how many of these are followed at a time
	closed bool
}

// destination is a name with what it stands for now.
type destination struct {
	name     dtab.Path
	label    string // for metrics; from the configuration
	balancer *balance.Balancer
	binding  *watch.Cell[namer.Binding]
	refused  atomic.Uint64 // connections that got no endpoint
	budget   dial.Budget   // for retries

	stop  func()        // ends the following and waits
	taken chan struct{} // closed when the binder's first answer, which may be Pending, has been taken

	// Guarded by names.mu.
	fromWire bool // not in the configuration
	uses     int  // connections
	lastUsed time.Time
}

func newNames(m *metrics, logger hclog.Logger) *names {
	return &names{
		metrics: m, logger: logger, now: time.Now,
		byName: map[string]*destination{}, fixed: map[string]bool{},
	}
}

// use makes b the source of all bindings, fixed the names that are followed from the start, and most the number of other
// names. Until b knows what a name stands for, the last good answer of the binder before goes on.
func (n *names) use(b binder, fixed []dtab.Path, most int) {
	n.mu.Lock()
	defer n.mu.Unlock()
	changed := n.binder != b
	var waiting []*destination
	n.binder, n.most = b, cmp.Or(most, wireNames)
	n.fixed = map[string]bool{}
	for _, name := range fixed {
		n.fixed[name.String()] = true
	}
	for key, d := range n.byName {
		promoted := d.fromWire && n.fixed[key]
		d.fromWire = !n.fixed[key] // it keeps its label: that of the first use
		if changed || promoted {
			d.stop()
			n.follow(d)
			waiting = append(waiting, d)
		}
	}
	for _, name := range fixed {
		if n.byName[name.String()] == nil {
			waiting = append(waiting, n.add(name, name.String(), false))
		}
	}
	for _, d := range waiting { // what can be known at once is in force when use returns
		<-d.taken
	}
	n.wire = 0
	for _, d := range n.byName {
		if d.fromWire {
			n.wire++
		}
	}
}

// close stops following. acquire fails from now on.
func (n *names) close() {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.closed = true
	for _, d := range n.byName {
		d.stop()
	}
}

var (
	errTooManyNames = errors.New("too many different names are in use")
	errClosed       = errors.New("the agent has stopped")
)

// acquire returns the destination of a name and keeps it until release. label is what metrics call a name that is not
// in the configuration.
func (n *names) acquire(name dtab.Path, label string) (*destination, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.closed {
		return nil, outcome.Wrap(outcome.Drained, errClosed)
	}
	d := n.byName[name.String()]
	if d == nil {
		if n.wire >= n.most && !n.evictOldest() {
			return nil, outcome.Wrap(outcome.NoRoute, errTooManyNames)
		}
		d = n.add(name, label, true)
		n.wire++
	}
	d.uses++
	d.lastUsed = n.now()
	return d, nil
}

func (n *names) release(d *destination) {
	n.mu.Lock()
	defer n.mu.Unlock()
	d.uses--
	d.lastUsed = n.now()
}

func (n *names) add(name dtab.Path, label string, fromWire bool) *destination {
	d := &destination{
		name: name, label: label, fromWire: fromWire, lastUsed: n.now(),
		binding: watch.New(namer.Binding{}, nil),
	}
	d.balancer = balance.New(balance.Options{
		Policy: n.policyOf(name),
		Ejected: func(cluster string, ejected int, reason balance.Reason) {
			n.metrics.ejected(d, cluster, ejected, reason)
		},
	})
	n.byName[name.String()] = d
	n.follow(d)
	return d
}

// follow keeps d's balancer in step with what the binder says.
func (n *names) follow(d *destination) {
	ctx, cancel := context.WithCancel(context.Background())
	done, taken, bind := make(chan struct{}), make(chan struct{}), n.binder.Bind
	if d.fromWire {
		bind = n.binder.BindGuest
	}
	d.taken = taken
	d.stop = func() {
		cancel()
		<-done
	}
	go func() {
		defer close(done)
		first := sync.OnceFunc(func() { close(taken) })
		defer first()
		// Here, because it is not for nothing to evaluate a name that somebody has sent us: others must not wait for it.
		live := bind(ctx, d.name)
		for b := range watch.Values(ctx, live) {
			d.take(b, n.metrics, n.logger)
			first()
		}
	}()
}

// named reports whether d may be called by its name in metrics and log: it came from the configuration.
func (d *destination) named() bool { return d.label == d.name.String() }

// take puts a binding into effect, first in the balancer and then for those who wait.
func (d *destination) take(b namer.Binding, m *metrics, logger hclog.Logger) {
	before := d.binding.Value()
	switch {
	case b.Status == namer.Pending && before.Status == namer.OK:
		// After a reload the new binder knows nothing for a moment; also when the table has changed to names that are
		// not known yet: these are followed as soon as they are.
		return
	case b.Status == namer.OK:
		d.balancer.Update(b.Clusters)
	case b.Status == namer.Failed:
		d.balancer.Update(nil)
	}
	if before.Status != b.Status || !sameClusters(before.Clusters, b.Clusters) {
		fields := []any{"name", d.name.String(), "status", b.Status.String(), "clusters", describe(b.Clusters)}
		if b.Err != nil {
			fields = append(fields, "error", b.Err)
		}
		level := hclog.Info
		if b.Status == namer.OK && len(b.Clusters) == 0 {
			level = hclog.Warn
			fields = append(fields, "hint", "connections are refused; argosy dtab explain -agent shows why")
		}
		if !d.named() { // whoever connects must not be able to fill the log
			level = hclog.Debug
		}
		logger.Log(level, "route", fields...)
	}
	if d.named() {
		m.bound(d.label, b.Clusters)
	}
	d.binding.Set(b)
}

// sameClusters reports whether two bindings go to the same clusters with the same shares, whatever their endpoints.
func sameClusters(a, b []namer.Cluster) bool {
	return slices.EqualFunc(a, b, func(x, y namer.Cluster) bool {
		return x.ID.Equal(y.ID) && x.Share == y.Share && len(x.Addr.Endpoints) > 0 == (len(y.Addr.Endpoints) > 0)
	})
}

// picker returns the function that finds endpoints for the connection that r is about. Its first call waits until it is
// known what the name stands for, or ctx ends; each waits for a place where connections queue for one. An endpoint that
// has been picked before is the first.
func (d *destination) picker(
	ctx context.Context, picked *balance.Lease, r balance.Request,
) func(tried func(string) bool) (*balance.Lease, error) {
	first := true
	return func(tried func(string) bool) (*balance.Lease, error) {
		r.Tried = tried
		if lease := picked; lease != nil {
			picked, first = nil, false
			return lease, nil
		}
		for {
			b, superseded := d.binding.Load()
			lease, err := d.pick(b, r)
			if errors.Is(err, balance.ErrWait) {
				lease, err = d.balancer.Wait(ctx, r)
				err = d.explain(b, err)
			}
			if err == nil || !errors.Is(err, balance.ErrPending) || !first {
				first = false
				return lease, err
			}
			select {
			case <-superseded:
			case <-ctx.Done():
				return nil, outcome.Errorf(outcome.PendingTimeout, "%s: not known in time what it stands for", d.name)
			}
		}
	}
}

// pick is one attempt, which waits for nothing, with the outcome in its error unless it is ErrPending or ErrWait.
func (d *destination) pick(b namer.Binding, r balance.Request) (*balance.Lease, error) {
	if b.Status == namer.Pending {
		return nil, balance.ErrPending
	}
	lease, err := d.balancer.Pick(r)
	return lease, d.explain(b, err)
}

// explain puts the outcome into an error of the balancer, unless it says to wait.
func (d *destination) explain(b namer.Binding, err error) error {
	switch {
	case err == nil || errors.Is(err, balance.ErrPending) || errors.Is(err, balance.ErrWait):
		return err
	case errors.Is(err, balance.ErrFull):
		return outcome.Errorf(outcome.Limit, "%s: %w", d.name, err)
	case b.Status == namer.Failed:
		return outcome.Errorf(outcome.NoRoute, "%s: %w", d.name, b.Err)
	case errors.Is(err, balance.ErrEmpty):
		return outcome.Errorf(outcome.Empty, "%s: %w", d.name, err)
	}
	return outcome.Errorf(outcome.NoRoute, "%s: %w", d.name, err)
}

// evict forgets the names from outside that nobody has used for a while.
func (n *names) evict() {
	n.mu.Lock()
	defer n.mu.Unlock()
	for key, d := range n.byName {
		if !d.fromWire || d.uses > 0 {
			continue
		}
		linger := wireLinger
		if len(d.binding.Value().Clusters) == 0 {
			linger = wireNegLinger
		}
		if n.now().Sub(d.lastUsed) >= linger {
			n.forget(key, d)
		}
	}
}

// evictOldest makes room for one name and reports whether it could. One that stands for nothing goes first, and one that
// stands for something only where most of them do: a scan is not to push out the names that are good for something,
// which might not be found again while their catalog is in trouble.
func (n *names) evictOldest() bool {
	oldest, key, empty, good := (*destination)(nil), "", false, 0
	for k, d := range n.byName {
		if !d.fromWire {
			continue
		}
		none := len(d.binding.Value().Clusters) == 0
		if !none {
			good++
		}
		if d.uses == 0 && (oldest == nil || none && !empty || none == empty && d.lastUsed.Before(oldest.lastUsed)) {
			oldest, key, empty = d, k, none
		}
	}
	if oldest == nil || !empty && good*2 <= n.wire {
		return false
	}
	n.forget(key, oldest)
	return true
}

func (n *names) forget(key string, d *destination) {
	d.stop()
	delete(n.byName, key)
	n.wire--
	if d.named() {
		n.metrics.forgetDestination(d.label)
	}
}

// find returns the destination of a name that is followed, or nil. Nobody keeps it.
func (n *names) find(name dtab.Path) *destination {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.byName[name.String()]
}

// all returns the destinations in the order of their names.
func (n *names) all() []*destination {
	n.mu.Lock()
	defer n.mu.Unlock()
	all := make([]*destination, 0, len(n.byName))
	for _, d := range n.byName {
		all = append(all, d)
	}
	slices.SortFunc(all, func(a, b *destination) int { return cmp.Compare(a.name.String(), b.name.String()) })
	return all
}
