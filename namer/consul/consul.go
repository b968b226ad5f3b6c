// Package consul is the namer io.l5d.consul: names of the form /datacenter/service, or /datacenter/tag/service, stand
// for the instances of that service in Consul's catalog.
//
// What Consul says becomes one of these answers:
//
//   - the instances that may be used;
//   - Neg, when the service is unknown, has no instance that may be used, or nothing about it is known and Consul
//     cannot be asked (no leader, no permission, no such datacenter): so a Dtab's alternatives apply;
//   - the last good instances, marked stale, while Consul is in trouble, and for a while when it all of a sudden names
//     none or only few of them: that is what a restart of Consul's agent looks like, and switching everything off would
//     make an outage of it. Options.HoldEmpty and Options.GuardHold say how long.
package consul

import (
	"context"
	"strings"
	"time"

	"github.com/hashicorp/consul/api"
	"github.com/hashicorp/go-hclog"
	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/time/rate"

	"argosy/dtab"
	"argosy/internal/blockq"
	"argosy/namer"
)

// local is the datacenter of the agent that is asked.
const local = ".local"

// Names that a service-resolver leads to have forms of their own, to which no service-resolver applies. No datacenter
// has a name that starts with a dot.
const (
	targetForm = ".target" // /.target/<datacenter>/<service>
	subsetForm = ".subset" // /.subset/<datacenter>/<service>/<subset>
)

// Namer implements namer.Namer over a Consul agent's HTTP API.
type Namer struct {
	client  *api.Client
	options Options
	logger  hclog.Logger
	metrics *metrics
	query   blockq.Options
	sets    sets
	loud    *rate.Limiter // of what the log says about single services
}

// When Consul is in trouble it is for thousands of services at once, and names may come from anybody: so many lines of the
// log say so, and the rest says it to those who debug. Metrics have them all.
const (
	loudAtOnce = 10
	loudEvery  = 5 * time.Second
)

// level is the level of a line that every service may cause.
func (n *Namer) level(wanted hclog.Level) hclog.Level {
	if n.loud.Allow() {
		return wanted
	}
	return hclog.Debug
}

// New makes the namer. Several may share a registry; reg may be nil.
func New(client *api.Client, o Options, logger hclog.Logger, reg prometheus.Registerer) *Namer {
	if o.Seats == nil {
		o.Seats = NewSeats(client, nil)
	}
	n := &Namer{client: client, options: o, logger: logger, metrics: newMetrics(reg),
		loud: rate.NewLimiter(rate.Every(loudEvery), loudAtOnce)}
	n.sets.start = n.open
	return n
}

// loop is how a member asks.
func (n *Namer) loop(m *member) blockq.Options {
	o := n.query
	o.Turn = m.turn
	if o.Backoff != nil {
		own := *o.Backoff // each loop has its own
		o.Backoff = &own
	}
	return o
}

// Split takes the datacenter, the tag if names have one, and the service as the key.
func (n *Namer) Split(name dtab.Path) (key, residual dtab.Path, ok bool) {
	size := n.size(name)
	if len(name) < size {
		return nil, nil, false
	}
	for _, e := range name[:size] {
		if !usable(e) {
			return nil, nil, false
		}
	}
	return name[:size:size], name[size:], true
}

// size is how many elements of a name are the key.
func (n *Namer) size(name dtab.Path) int {
	switch {
	case n.options.Resolver && len(name) > 0 && name[0] == targetForm:
		return 3
	case n.options.Resolver && len(name) > 0 && name[0] == subsetForm:
		return 4
	case n.options.IncludeTag:
		return 3
	}
	return 2
}

// usable reports whether e can be part of a request without changing what is asked. Consul's own names are letters,
// digits and a few signs.
func usable(e string) bool {
	if e == "" || e == "." || e == ".." || len(e) > 255 {
		return false
	}
	for i := range len(e) {
		if c := e[i]; c <= ' ' || c >= 0x7f || strings.IndexByte(`/\%?#&"<>`, c) >= 0 {
			return false
		}
	}
	return true
}

// Watch implements namer.Namer. Watches that come to the same request share it.
func (n *Namer) Watch(ctx context.Context, prefix, key dtab.Path, publish func(namer.Answer)) {
	plans, wait := n.plans(ctx, prefix, key)
	defer wait()
	w := reader{namer: n, held: make(map[request]*set)}
	defer w.release()
	for ctx.Err() == nil {
		if a := w.answer(plans); a.Status != namer.Pending {
			publish(a)
		}
		_ = w.read.Wait(ctx)
	}
}
