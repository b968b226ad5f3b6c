package consulclient

import (
	"sync"

	"github.com/hashicorp/consul/api"
	"github.com/hashicorp/go-hclog"
	"github.com/prometheus/client_golang/prometheus"

	"argosy/internal/promx"
	"argosy/internal/settings"
)

// mostShared bounds how many clients are remembered: each change of the settings makes one.
const mostShared = 16

// clients are those of one process, which is what has a registry. They are found by it.
type clients struct {
	*alarm

	mu   sync.Mutex
	made map[settings.Consul]made
}

type made struct {
	client *api.Client
	link   *Link
}

// Shared is New for a process that has a registry: whoever asks with the same settings under the same registry gets the
// same client, so that they share its connections, and one bound of them holds for all. The registry shows how many
// connections are open, and whether Consul refuses what is asked; the log says so, too. Without a registry, each has a
// client of its own.
func Shared(s settings.Consul, logger hclog.Logger, reg prometheus.Registerer) (*api.Client, error) {
	client, _, err := SharedLinked(s, logger, reg)
	return client, err
}

// SharedLinked is Shared, and returns the client's link.
func SharedLinked(s settings.Consul, logger hclog.Logger, reg prometheus.Registerer) (*api.Client, *Link, error) {
	all := promx.Registered(reg, &clients{alarm: newAlarm(logger.ResetNamed("consul")), made: make(map[settings.Consul]made)})
	all.mu.Lock()
	defer all.mu.Unlock()
	if m, ok := all.made[s]; ok {
		return m.client, m.link, nil
	}
	client, link, err := newClient(s, all.alarm)
	if err != nil {
		return nil, nil, err
	}
	if len(all.made) >= mostShared {
		clear(all.made) // those who have one keep it
	}
	all.made[s] = made{client, link}
	return client, link, nil
}
