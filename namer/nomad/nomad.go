// Package nomad is the namer of Nomad's own service discovery: names of the form /namespace/service, or
// /namespace/tag/service, stand for the registrations of that service, which jobs make with
//
//	service {
//	  provider = "nomad"
//	}
//
// What Nomad says becomes one of these answers:
//
//   - the registered instances. Nomad registers an instance when its allocation runs and removes it when the allocation
//     stops or its node is lost; the results of a service's checks are not in the list, and no query that blocks has
//     them, so an instance whose check fails is an instance;
//   - Neg, when the service is unknown, has no instance, or nothing about it is known and Nomad cannot be asked (no
//     leader, no permission, no such region): so a Dtab's alternatives apply;
//   - the last good instances, marked stale, while Nomad is in trouble, and for Options.HoldEmpty when a Nomad that is
//     back after trouble knows none: one that has lost its data looks like that.
package nomad

import (
	"context"
	"slices"
	"sync/atomic"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/nomad/api"
	"github.com/prometheus/client_golang/prometheus"

	"argosy/dtab"
	"argosy/internal/blockq"
	"argosy/namer"
)

// Nomad bounds the connections of one address, and every blocking query holds one. Names beyond that number take turns,
// each waiting at the server for less long, so that all of them are asked for once in a turn.
const (
	maxBlocking  = 64
	longestWait  = 30 * time.Second
	turn         = 10 * time.Second
	shortestWait = 500 * time.Millisecond
)

// Options are the namer's. The zero value asks for all instances in the region of the Nomad that is asked.
type Options struct {
	IncludeTag bool          // names have the form /namespace/tag/service
	Filter     string        // an expression that instances must satisfy, such as `Datacenter == "dc1"`; Nomad evaluates it
	HoldEmpty  time.Duration // how long the last good set stays when Nomad is back after trouble and knows none; 0: not at all
}

// Namer implements namer.Namer over Nomad's HTTP API.
type Namer struct {
	client  *api.Client
	options Options
	logger  hclog.Logger
	metrics *metrics
	query   blockq.Options

	watches atomic.Int64
	slots   chan struct{} // one for each blocking query that is at the server
}

// New makes the namer. Several may share a registry; reg may be nil.
func New(client *api.Client, o Options, logger hclog.Logger, reg prometheus.Registerer) *Namer {
	return &Namer{
		client: client, options: o, logger: logger, metrics: newMetrics(reg),
		query: blockq.Options{Wait: longestWait}, slots: make(chan struct{}, maxBlocking),
	}
}

// Split takes the namespace, the tag if names have one, and the service as the key.
func (n *Namer) Split(name dtab.Path) (key, residual dtab.Path, ok bool) {
	size := 2
	if n.options.IncludeTag {
		size = 3
	}
	if len(name) < size || !usable(name[0]) || !usable(name[size-1]) {
		return nil, nil, false
	}
	return name[:size:size], name[size:], true
}

// usable reports whether e can be the name of a namespace or a service. So nothing strange is asked for, nor all
// namespaces at once, which is written "*".
func usable(e string) bool {
	if e == "" || e == "." || e == ".." || len(e) > 128 {
		return false
	}
	for i := range len(e) {
		switch c := e[i]; {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9', c == '-', c == '_', c == '.':
		default:
			return false
		}
	}
	return true
}

// target is what a key asks for, spelt as Nomad has it: letter case matters.
type target struct{ namespace, tag, service string }

func (n *Namer) target(key dtab.Path) target {
	t := target{namespace: key[0], service: key[len(key)-1]}
	if n.options.IncludeTag {
		t.tag = key[1]
	}
	return t
}

// answer is what came of one request.
type answer struct {
	entries []*api.ServiceRegistration
	err     error
}

// Watch implements namer.Namer with one blocking query.
func (n *Namer) Watch(ctx context.Context, prefix, key dtab.Path, publish func(namer.Answer)) {
	t := n.target(key)
	id := prefix.Concat(key)
	w := &follower{
		target: t, id: id, publish: publish, hold: n.options.HoldEmpty,
		logger:  n.logger.With("name", id.String()),
		metrics: n.metrics.follow(t),
	}
	defer w.metrics.stop()
	n.watches.Add(1)
	defer n.watches.Add(-1)

	ctx, cancel := context.WithCancel(ctx)
	answers := make(chan answer)
	done := make(chan struct{})
	go func() {
		defer close(done)
		n.ask(ctx, t, answers)
	}()
	defer func() {
		cancel()
		<-done
	}()
	w.follow(ctx, answers)
}

// ask asks again and again until ctx ends.
func (n *Namer) ask(ctx context.Context, t target, answers chan<- answer) {
	seen := false // the service has had instances
	blockq.Loop(ctx, n.query, func(ctx context.Context, index uint64, wait time.Duration) ([]*api.ServiceRegistration, uint64, error) {
		entries, at, err := n.get(ctx, t, index, wait)
		if err == nil && len(entries) == 0 && seen && index > 0 {
			// All gone at once: rare enough, and grave enough, to make sure with a request that does not block.
			entries, at, err = n.get(ctx, t, 0, 0)
		}
		seen = seen || len(entries) > 0
		return entries, at, err
	}, func(entries []*api.ServiceRegistration, err error) {
		select {
		case answers <- answer{entries, err}:
		case <-ctx.Done():
		}
	})
}

// get does one request.
func (n *Namer) get(ctx context.Context, t target, index uint64, wait time.Duration) ([]*api.ServiceRegistration, uint64, error) {
	q := &api.QueryOptions{Namespace: t.namespace, Filter: n.options.Filter, WaitIndex: index}
	if index > 0 {
		select {
		case n.slots <- struct{}{}:
			defer func() { <-n.slots }()
		case <-ctx.Done():
			return nil, 0, ctx.Err()
		}
		q.WaitTime = n.shareOf(wait)
	}
	entries, meta, err := n.client.Services().Get(t.service, q.WithContext(ctx))
	if err != nil {
		return nil, 0, explain(err, t)
	}
	if !meta.KnownLeader {
		return nil, 0, errNoLeader // what it says may be old, or nothing at all
	}
	return slices.DeleteFunc(entries, func(e *api.ServiceRegistration) bool { return !t.has(e) }), meta.LastIndex, nil
}

// shareOf shortens the wait while more names are followed than there are slots.
func (n *Namer) shareOf(wait time.Duration) time.Duration {
	if watches := n.watches.Load(); watches > maxBlocking {
		return min(wait, max(turn*maxBlocking/time.Duration(watches), shortestWait))
	}
	return wait
}

// has reports whether a registration is one of the target's. One of another service is none, whatever was asked.
func (t target) has(e *api.ServiceRegistration) bool {
	return e != nil && e.ServiceName == t.service && (t.tag == "" || slices.Contains(e.Tags, t.tag))
}
