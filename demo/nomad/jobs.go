package main

import (
	"context"
	"fmt"
	"path/filepath"
	"strconv"

	"golang.org/x/sync/errgroup"

	"argosy/demo/story"
	"argosy/e2e/stack"
	"argosy/e2e/stack/servers"
)

const webCount = 3

// firstTable sends everything to redis1.
const firstTable = `
/cluster   => /#/io.l5d.consul/.local ;
/svc       => /cluster ;
/svc/redis => /cluster/redis1 ;
`

// unixPath is the longest path of a socket that Linux allows.
const unixPath = 107

// submit runs the jobs of jobs/, as anybody would: nomad job run -var=... jobs/X.nomad.hcl.
func (s *stage) submit(ctx context.Context, st *stack.Stack, p ports) error {
	prometheus, err := servers.Locate(ctx, servers.Prometheus, nil)
	if err != nil {
		return err
	}
	discovery := "consul"
	if can, err := servers.CanDiscoverConsul(prometheus); err != nil {
		return err
	} else if !can {
		discovery = "http"
	}
	argosy := func(vars map[string]string) map[string]string {
		vars["binary"] = s.options.binary
		vars["consul_addr"] = st.Consul.Addr
		return vars
	}
	schedulerVars := argosy(map[string]string{"evaluation_interval": "1s"})
	if len(st.Path("nomad/alloc/01234567-0123-0123-0123-0123456789ab/scheduler/secrets/api.sock")) > unixPath {
		schedulerVars["nomad_addr"] = st.Nomad.URL
	}
	redis := func(name string) map[string]string {
		return map[string]string{
			"name": name, "binary": s.options.binary, "check_interval": "1s",
			"args": fmt.Sprintf(`["demo-child", "redis", "-name", %q, "-address", "$${NOMAD_ADDR_redis}"]`, name),
		}
	}
	jobs := []struct {
		file string
		vars map[string]string
	}{
		{"namerd", argosy(map[string]string{"port": strconv.Itoa(p.namerd)})},
		{"prometheus", map[string]string{
			"binary": prometheus, "port": strconv.Itoa(p.prometheus), "scrape_interval": "1s", "discovery": discovery,
			"consul_addr": st.Consul.Addr,
		}},
		{"scheduler", schedulerVars},
		{"proxy", argosy(map[string]string{
			"count": strconv.Itoa(least), "min": strconv.Itoa(least), "max": strconv.Itoa(most),
			"target_value": strconv.Itoa(targetValue), "cooldown_up": "2s", "cooldown_down": "5s",
			"propagation": "2s", "drain": "10s", "kill_timeout": "20s",
		})},
		{"entry", argosy(map[string]string{"port": strconv.Itoa(p.entry)})},
		{"redis", redis(story.Redis1)},
		{"redis", redis(story.Redis2)},
		{"web", map[string]string{
			"binary": s.options.binary, "count": strconv.Itoa(webCount), "redis": address(p.entry),
		}},
	}
	var all errgroup.Group
	all.SetLimit(4)
	for _, j := range jobs {
		all.Go(func() error {
			return st.Nomad.Submit(ctx, filepath.Join(s.options.root, "jobs", j.file+".nomad.hcl"), j.vars)
		})
	}
	return all.Wait()
}
