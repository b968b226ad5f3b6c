package fleet

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"sync"
)

// Counts are what has become of the connections to a cluster.
type Counts struct {
	Cluster string `json:"cluster"`
	Opened  uint64 `json:"opened"`
	Failed  uint64 `json:"failed"` // attempts to connect an endpoint
	Open    int    `json:"open"`   // now
}

// Traffic counts the connections of one name on all agents of a fleet, from a moment on. It is used by one goroutine.
type Traffic struct {
	fleet *Fleet
	name  string
	last  map[string]seen // by agent, its counters at the last look
	sums  map[string]*Counts
	lost  uint64
}

// seen are the counters of one agent.
type seen struct {
	clusters map[string]Counts
	refused  uint64
}

// Seen is what a Traffic has counted.
type Seen struct {
	Clusters []Counts `json:"clusters"`
	Refused  uint64   `json:"refused"` // connections that got no endpoint
	Agents   int      `json:"agents"`  // that have the name in use
}

// Traffic begins to count with the first call of Begin.
func (f *Fleet) Traffic(name string) *Traffic { return &Traffic{fleet: f, name: name} }

// Begin counts from now on.
func (t *Traffic) Begin(ctx context.Context) error {
	_, err := t.Look(ctx)
	t.sums, t.lost = map[string]*Counts{}, 0
	return err
}

// Look asks the agents and returns what has been counted since Begin. It fails when none answers. An agent that does
// not answer is counted when it does again; one that is new is counted from its first answer on.
func (t *Traffic) Look(ctx context.Context) (Seen, error) {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	var mu sync.Mutex
	now, errs := map[string]seen{}, map[string]error{}
	t.fleet.each(func(_ int, a *agent) {
		s, err := t.fleet.counters(ctx, a, t.name)
		mu.Lock()
		defer mu.Unlock()
		if err != nil {
			errs[a.name] = err
		} else {
			now[a.name] = s
		}
	})
	if len(now) == 0 {
		return Seen{}, t.nobody(errs)
	}
	if t.last == nil {
		t.last, t.sums = map[string]seen{}, map[string]*Counts{}
	}
	for _, c := range t.sums {
		c.Open = 0
	}
	s := Seen{Clusters: []Counts{}}
	for agent, current := range now {
		before, known := t.last[agent]
		t.last[agent] = current
		if current.clusters != nil {
			s.Agents++
		}
		for key, c := range current.clusters {
			sum := t.sums[key]
			if sum == nil {
				sum = &Counts{Cluster: key}
				t.sums[key] = sum
			}
			sum.Open += c.Open
			if known {
				sum.Opened += grown(before.clusters[key].Opened, c.Opened)
				sum.Failed += grown(before.clusters[key].Failed, c.Failed)
			}
		}
		if known {
			t.lost += grown(before.refused, current.refused)
		}
	}
	s.Refused = t.lost
	for _, key := range slices.Sorted(maps.Keys(t.sums)) {
		s.Clusters = append(s.Clusters, *t.sums[key])
	}
	return s, nil
}

// grown is by how much a counter has grown. One that is less than it was has begun anew.
func grown(before, now uint64) uint64 {
	if now < before {
		return now
	}
	return now - before
}

func (t *Traffic) nobody(errs map[string]error) error {
	for _, a := range t.fleet.agents {
		if err := errs[a.name]; err != nil {
			return fmt.Errorf("none of the agents answers: agent at %s: %w", a.name, err)
		}
	}
	return errors.New("there are no agents")
}

// counters asks an agent for the counters of a name. They have no clusters where the name is not in use.
func (f *Fleet) counters(ctx context.Context, a *agent, name string) (seen, error) {
	var routes struct {
		Destinations []struct {
			Name     string
			Refused  uint64
			Clusters []struct {
				Cluster        string
				Opened, Failed uint64
				Endpoints      []struct{ Open int }
			}
		}
	}
	if err := f.ask(ctx, http.MethodGet, a, "/v1/routes", url.Values{"name": {name}}, "", &routes); err != nil {
		return seen{}, err
	}
	for _, d := range routes.Destinations {
		if d.Name != name {
			continue
		}
		s := seen{clusters: map[string]Counts{}, refused: d.Refused}
		for _, c := range d.Clusters {
			n := Counts{Cluster: c.Cluster, Opened: c.Opened, Failed: c.Failed}
			for _, e := range c.Endpoints {
				n.Open += e.Open
			}
			s.clusters[c.Cluster] = n
		}
		return s, nil
	}
	return seen{}, nil
}

// Attempts is how many attempts to connect there were.
func (c Counts) Attempts() uint64 { return c.Opened + c.Failed }

// Worst is the cluster with the greatest share of failed attempts, of those with at least so many of these.
func (s Seen) Worst(least uint64) (worst Counts, share float64) {
	for _, c := range s.Clusters {
		if c.Failed < least || c.Failed == 0 {
			continue
		}
		if v := float64(c.Failed) / float64(c.Attempts()); cmp.Compare(v, share) > 0 {
			worst, share = c, v
		}
	}
	return worst, share
}
