package agent

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"sync"
	"time"

	"argosy/agent/balance"
	"argosy/dtab"
	"argosy/internal/plan"
	"argosy/namer"
)

const (
	// planTimeout is for all names of one proposal unless the request says otherwise, longestPlan what it can say at
	// most. What is not known then has the verdict unknown.
	planTimeout = 5 * time.Second
	longestPlan = 30 * time.Second
	// planWaiting is how many names of a proposal are waited for at a time. What they need may have to be watched first.
	planWaiting = 64
	// maxProposal is the largest table that is looked at, in bytes: as large as namerd takes one.
	maxProposal = 5 << 20
)

// servePlan answers POST /v1/plan?namespace=&wait= with a plan.Answer: what the table in the body, in the language of Dtabs,
// would change for the names in use here. Nothing is changed, and what both tables have in common is watched once.
func (a *Agent) servePlan(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxProposal))
	var large *http.MaxBytesError
	switch {
	case errors.As(err, &large):
		refuse(w, http.StatusRequestEntityTooLarge, fmt.Errorf("a table has at most %d bytes", maxProposal))
		return
	case err != nil:
		refuse(w, http.StatusBadRequest, fmt.Errorf("read the table: %w", err))
		return
	}
	table, err := dtab.Parse(string(body))
	if err != nil {
		refuse(w, http.StatusBadRequest, fmt.Errorf("the table: %w", err))
		return
	}
	wait := planTimeout
	if text := r.URL.Query().Get("wait"); text != "" {
		if wait, err = time.ParseDuration(text); err != nil || wait <= 0 || wait > longestPlan {
			refuse(w, http.StatusBadRequest, fmt.Errorf("wait: %q is no time such as 2s, up to %s", text, longestPlan))
			return
		}
	}
	ctx, cancel := context.WithTimeout(r.Context(), wait)
	defer cancel()
	select { // one at a time: a proposal must not take the processors from the connections
	case a.planning <- struct{}{}:
		defer func() { <-a.planning }()
	case <-ctx.Done():
		refuse(w, http.StatusServiceUnavailable, errors.New("other plans are being made"))
		return
	}
	namespace := r.URL.Query().Get("namespace")
	if namespace == "" {
		namespace = "default"
	}
	answer(w, http.StatusOK, a.plan(ctx, namespace, table))
}

// plan evaluates a proposal for the table of a namespace.
func (a *Agent) plan(ctx context.Context, namespace string, table dtab.Dtab) plan.Answer {
	g := a.current.Load()
	p := plan.Answer{Agent: g.config.Name, Names: []plan.Name{}}
	d := g.config.Dtab
	local := d.Local
	switch i := g.config.Interpreter; {
	case i != nil:
		p.Source, p.Namespace, local = "interpreter", i.Namespace, i.Local
	case d.Consul != nil:
		p.Source, p.Namespace = "consul", d.Namespace
	case d.Namerd != nil:
		p.Source, p.Namespace = "namerd", d.Namespace
	default:
		p.Source, p.Why = "static", "its table is in its configuration"
		return p
	}
	if p.Namespace != namespace {
		p.Why = "its table is that of namespace " + p.Namespace
		return p
	}
	p.Applies = true
	proposed := g.naming.propose(table, local)
	all := a.names.all()
	p.Names = make([]plan.Name, len(all))
	open := a.census.perName()
	var (
		waiting = make(chan struct{}, planWaiting)
		settled sync.WaitGroup
	)
	for i, d := range all {
		waiting <- struct{}{} // whoever is in it leaves when ctx ends, at the latest
		settled.Go(func() {
			defer func() { <-waiting }()
			before := d.binding.Value()
			after, known := proposed(ctx, d.name)
			p.Names[i] = planned(d.name, before, after, known, open[d.name.String()])
		})
	}
	settled.Wait()
	return p
}

// planned is what a proposal does to one name. open are its connections, by cluster.
func planned(name dtab.Path, before, after namer.Binding, known bool, open map[string]int) plan.Name {
	n := plan.Name{
		Name: name.String(), Verdict: plan.Judge(before, after, known), Before: plan.Clusters(before), After: plan.Clusters(after),
	}
	stays := map[string]bool{}
	for _, c := range after.Clusters {
		stays[balance.Key(c.ID)] = true
	}
	for cluster, count := range open {
		n.Connections += count
		if !stays[cluster] && n.Verdict != plan.Unknown && n.Verdict != plan.Same {
			n.Touched += count
		}
	}
	switch {
	case after.Err != nil:
		n.Error = after.Err.Error()
	case n.Verdict == plan.Unknown:
		n.Error = "not known in time"
	}
	return n
}

// perName counts the connections that are open, by name and cluster.
func (n *census) perName() map[string]map[string]int {
	counts := map[string]map[string]int{}
	for _, c := range n.all() {
		c.mu.Lock()
		if c.phase == open {
			name := c.destination.name.String()
			if counts[name] == nil {
				counts[name] = map[string]int{}
			}
			counts[name][c.lease.Key]++
		}
		c.mu.Unlock()
	}
	return counts
}
