// Package mounts is the namer blocks of configurations, the same for everything that binds names: their keys, their
// checks, and the namers that they stand for.
package mounts

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/hashicorp/go-hclog"
	"github.com/prometheus/client_golang/prometheus"

	"argosy/internal/consulclient"
	"argosy/internal/settings"
	"argosy/internal/snapshot"
	"argosy/namer"
	"argosy/namer/consul"
	"argosy/namer/fs"
	"argosy/namer/rewrite"
	"argosy/namer/static"
)

// seatsMultiplexed is how many requests wait at a Consul that has them share connections.
const seatsMultiplexed = 10_000

// Open makes the namers, in the order in which they are asked: the last one of the configuration first, as in Linkerd.
func Open(namers []Namer, agent settings.Consul, logger hclog.Logger, reg prometheus.Registerer) ([]namer.Mount, error) {
	var all []namer.Mount
	o := opener{agent: agent, logger: logger, reg: reg, consuls: make(map[settings.Consul]*consul.Seats)}
	for _, c := range namers {
		n, err := o.open(c, logger.With("prefix", c.Prefix.String()))
		if err != nil {
			return nil, fmt.Errorf("namer %s: %w", c.Prefix, err)
		}
		all = append(all, namer.Mount{Prefix: c.Prefix, Namer: n})
	}
	slices.Reverse(all)
	return all, nil
}

// opener opens the namers of one configuration.
type opener struct {
	agent   settings.Consul
	logger  hclog.Logger
	reg     prometheus.Registerer
	consuls map[settings.Consul]*consul.Seats // what all who ask one Consul share
}

func (o *opener) open(c Namer, logger hclog.Logger) (namer.Namer, error) {
	switch c.Kind {
	case KindConsul:
		return o.consul(c.Consul, logger)
	case KindFS:
		return fs.New(c.FS.RootDir, logger), nil
	case KindRewrite:
		return rewrite.New(c.Rewrite.Pattern, c.Rewrite.Name)
	case KindStatic:
		return static.New(c.Static)
	case KindNomad:
		return openNomad(c.Nomad, logger, o.reg)
	}
	return nil, fmt.Errorf("unknown kind %q", c.Kind)
}

func (o *opener) consul(c *Consul, logger hclog.Logger) (namer.Namer, error) {
	at := o.agent
	if c.At != nil {
		at = *c.At
	}
	seats, err := o.reach(at)
	if err != nil {
		return nil, err
	}
	options := c.Options
	options.Seats = seats
	if c.SnapshotDir != "" {
		if options.Snapshots, err = snapshot.Open(c.SnapshotDir, at.Address+" "+at.Datacenter, logger); err != nil {
			return nil, err
		}
	}
	return consul.New(seats.Client(), options, logger, o.reg), nil
}

// reach makes the client of a Consul, or finds the one that it has.
func (o *opener) reach(at settings.Consul) (*consul.Seats, error) {
	if seats := o.consuls[at]; seats != nil {
		return seats, nil
	}
	client, link, err := consulclient.SharedLinked(at, o.logger, o.reg)
	if err != nil {
		return nil, err
	}
	o.consuls[at] = consul.NewSeats(client, func() int {
		if link.Multiplexed() {
			return seatsMultiplexed
		}
		return cmp.Or(at.WatchConnections, settings.DefaultWatchConnections)
	})
	return o.consuls[at], nil
}
