// Package mounts is the namer blocks of configurations, the same for everything that binds names: their keys, their
// checks, and the namers that they stand for.
package mounts

import (
	"fmt"
	"slices"

	"github.com/hashicorp/go-hclog"
	"github.com/prometheus/client_golang/prometheus"

	"argosy/internal/consulclient"
	"argosy/internal/settings"
	"argosy/namer"
	"argosy/namer/consul"
	"argosy/namer/fs"
	"argosy/namer/rewrite"
	"argosy/namer/static"
)

// Open makes the namers, in the order in which they are asked: the last one of the configuration first, as in Linkerd.
func Open(namers []Namer, agent settings.Consul, logger hclog.Logger, reg prometheus.Registerer) ([]namer.Mount, error) {
	var all []namer.Mount
	for _, c := range namers {
		n, err := open(c, agent, logger.With("prefix", c.Prefix.String()), reg)
		if err != nil {
			return nil, fmt.Errorf("namer %s: %w", c.Prefix, err)
		}
		all = append(all, namer.Mount{Prefix: c.Prefix, Namer: n})
	}
	slices.Reverse(all)
	return all, nil
}

func open(c Namer, agent settings.Consul, logger hclog.Logger, reg prometheus.Registerer) (namer.Namer, error) {
	switch c.Kind {
	case KindConsul:
		client, err := consulclient.New(agent)
		if err != nil {
			return nil, err
		}
		return consul.New(client, *c.Consul, logger, reg), nil
	case KindFS:
		return fs.New(c.FS.RootDir, logger), nil
	case KindRewrite:
		return rewrite.New(c.Rewrite.Pattern, c.Rewrite.Name)
	case KindStatic:
		return static.New(c.Static)
	}
	return nil, fmt.Errorf("unknown kind %q", c.Kind)
}
