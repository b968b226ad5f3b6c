package discovery

import (
	"context"
	"fmt"
	"slices"

	"github.com/hashicorp/consul/api"

	"argosy/internal/consulclient"
	"argosy/internal/settings"
)

// Find asks once for the admin addresses of the agents that are registered under these services, whether their checks
// pass or not. They are host:port, sorted, each once.
func Find(ctx context.Context, s settings.Consul, services []string) ([]string, error) {
	client, err := consulclient.New(s)
	if err != nil {
		return nil, err
	}
	var all []string
	for _, service := range services {
		entries, _, err := instances(client, service, (&api.QueryOptions{}).WithContext(ctx))
		if err != nil {
			return nil, fmt.Errorf("find the agents of %s in Consul: %w", service, err)
		}
		for _, g := range groups(service, entries) {
			all = append(all, g.Targets...)
		}
	}
	slices.Sort(all)
	return slices.Compact(all), nil
}
