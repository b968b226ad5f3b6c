// Package consul is the namer io.l5d.consul: names of the form /datacenter/service, or /datacenter/tag/service, stand
// for the instances of that service in Consul's catalog.
//
// What Consul says becomes one of these answers:
//
//   - the instances that may be used;
//   - Neg, when the service is unknown, has no instance that may be used, or nothing about it is known and Consul
//     cannot be asked (no leader, no permission, no such datacenter): so a Dtab's alternatives apply;
//   - the last good instances, marked stale, while Consul is in trouble, and for Options.HoldEmpty when a service that
//     is still there has all of a sudden no instance whose checks pass: that is what a restart of Consul's agent looks
//     like, and switching everything off would make an outage of it.
package consul

import (
	"context"
	"strings"
	"time"

	"github.com/hashicorp/consul/api"
	"github.com/hashicorp/go-hclog"
	"github.com/prometheus/client_golang/prometheus"

	"argosy/dtab"
	"argosy/internal/blockq"
	"argosy/namer"
)

// local is the datacenter of the agent that is asked.
const local = ".local"

// Options are the namer's. The zero value asks for all instances by the addresses of their nodes.
type Options struct {
	IncludeTag    bool          // names have the form /dc/tag/service
	UseHealth     bool          // only instances whose checks all pass
	Connect       bool          // the service's Connect-capable endpoints: native instances and sidecars
	PreferService bool          // the service's own address, where it has one, before its node's
	HoldEmpty     time.Duration // how long the last good set stays when suddenly no instance passes; 0: not at all
}

// Namer implements namer.Namer over a Consul agent's HTTP API.
type Namer struct {
	client  *api.Client
	options Options
	logger  hclog.Logger
	metrics *metrics
	query   blockq.Options
}

// New makes the namer. Several may share a registry; reg may be nil.
func New(client *api.Client, o Options, logger hclog.Logger, reg prometheus.Registerer) *Namer {
	return &Namer{client: client, options: o, logger: logger, metrics: newMetrics(reg)}
}

// Split takes the datacenter, the tag if names have one, and the service as the key.
func (n *Namer) Split(name dtab.Path) (key, residual dtab.Path, ok bool) {
	size := 2
	if n.options.IncludeTag {
		size = 3
	}
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

// target is what a key asks for.
type target struct {
	datacenter   string // empty: the agent's own
	tag, service string // in lower case
}

func (n *Namer) target(key dtab.Path) target {
	t := target{datacenter: key[0], service: strings.ToLower(key[len(key)-1])}
	if t.datacenter == local {
		t.datacenter = ""
	}
	if n.options.IncludeTag {
		t.tag = strings.ToLower(key[1])
	}
	return t
}

// answer is what came of one request.
type answer struct {
	entries []*api.ServiceEntry
	err     error
}

// Watch implements namer.Namer with one blocking query.
func (n *Namer) Watch(ctx context.Context, prefix, key dtab.Path, publish func(namer.Answer)) {
	t := n.target(key)
	id := prefix.Concat(key)
	w := &follower{
		namer:   n,
		target:  t,
		id:      id,
		publish: publish,
		logger:  n.logger.With("name", id.String()),
		metrics: n.metrics.follow(key[0], t.tag, t.service),
	}
	defer w.metrics.stop()

	ctx, cancel := context.WithCancel(ctx)
	answers := make(chan answer)
	done := make(chan struct{})
	go func() {
		defer close(done)
		seen := false // the service has had instances
		blockq.Run(ctx, n.query, func(q *api.QueryOptions) ([]*api.ServiceEntry, *api.QueryMeta, error) {
			entries, meta, err := n.ask(t, q)
			if err == nil && len(entries) == 0 && seen && q.WaitIndex > 0 {
				// All gone at once: rare enough, and grave enough, to make sure with a request that does not block.
				entries, meta, err = n.ask(t, (&api.QueryOptions{}).WithContext(q.Context()))
			}
			if err == nil && len(entries) == 0 && meta.ResultsFilteredByACLs {
				err = errFiltered
			}
			seen = seen || len(entries) > 0
			return entries, meta, err
		}, func(entries []*api.ServiceEntry, _ *api.QueryMeta, err error) {
			select {
			case answers <- answer{entries, err}:
			case <-ctx.Done():
			}
		})
	}()
	defer func() {
		cancel()
		<-done
	}()
	w.follow(ctx, answers)
}

// ask does one request. It asks for the failing instances as well: only so can a service that is not there be told
// from one whose checks all fail.
func (n *Namer) ask(t target, q *api.QueryOptions) ([]*api.ServiceEntry, *api.QueryMeta, error) {
	q.Datacenter = t.datacenter
	if n.options.Connect {
		return n.client.Health().Connect(t.service, t.tag, false, q)
	}
	return n.client.Health().Service(t.service, t.tag, false, q)
}
