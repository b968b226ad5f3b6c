package mounts

import (
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/prometheus/client_golang/prometheus"

	"argosy/internal/hclx"
	"argosy/internal/nomadclient"
	"argosy/internal/settings"
	"argosy/namer"
	"argosy/namer/nomad"
)

// Nomad looks into Nomad's own service discovery.
type Nomad struct {
	Server  settings.Nomad
	Options nomad.Options
}

func (l *loader) nomad(raw Block) (*Nomad, hclx.Attr) {
	d := l.d
	var keys rawNomadNamer
	d.Body(raw.Keys, &keys)
	return &Nomad{
		Server: keys.Nomad.Settings(d),
		Options: nomad.Options{
			IncludeTag: d.Bool(keys.IncludeTag),
			Filter:     d.String(keys.Filter),
			HoldEmpty:  d.Duration(keys.HoldEmpty, 0, time.Hour),
		},
	}, keys.Prefix
}

func openNomad(c *Nomad, logger hclog.Logger, reg prometheus.Registerer) (namer.Namer, error) {
	client, err := nomadclient.New(c.Server)
	if err != nil {
		return nil, err
	}
	return nomad.New(client, c.Options, logger, reg), nil
}
