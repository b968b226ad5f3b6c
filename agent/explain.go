package agent

import (
	"context"
	"fmt"
	"net/http"
	"strconv"
	"time"

	"argosy/dtab"
	"argosy/internal/explanation"
	"argosy/namer"
)

// explainTimeout is how long a name is waited for; what is not known then is shown as such.
const explainTimeout = 3 * time.Second

// serveExplain answers /v1/explain?name=&dtab= with an explanation.Explanation: how this agent delegates a name now, and
// what it does with it. Entries of dtab stand behind all others, for this answer only. In place of a name there can be
// the id of a live connection: then the name is that connection's.
func (a *Agent) serveExplain(w http.ResponseWriter, r *http.Request) {
	q := r.URL.Query()
	var live *explanation.Connection
	text := q.Get("name")
	if id := q.Get("connection"); id != "" {
		if live, text = a.liveConnection(id); live == nil {
			refuse(w, http.StatusNotFound, fmt.Errorf("connection: %q is none that is open", id))
			return
		}
	}
	name, err := dtab.ParsePath(text)
	if err != nil {
		refuse(w, http.StatusBadRequest, fmt.Errorf("name: %w", err))
		return
	}
	request, err := dtab.Parse(q.Get("dtab"))
	if err != nil {
		refuse(w, http.StatusBadRequest, fmt.Errorf("dtab: %w", err))
		return
	}
	ctx, cancel := context.WithTimeout(r.Context(), explainTimeout)
	defer cancel()
	x := a.explain(ctx, name, request)
	x.Connection = live
	answer(w, http.StatusOK, x)
}

// liveConnection finds a connection that has a name.
func (a *Agent) liveConnection(id string) (c *explanation.Connection, name string) {
	n, err := strconv.ParseUint(id, 10, 64)
	if err != nil {
		return nil, ""
	}
	l := a.census.find(n)
	if l == nil {
		return nil, ""
	}
	i := l.info()
	if i.Name == "" {
		return nil, ""
	}
	return &explanation.Connection{
		ID: i.ID, Listener: i.Listener, Client: i.Client, Phase: i.Phase, Opened: i.Opened, Cluster: i.Cluster,
		Endpoint: i.Endpoint, Draining: i.Draining, Attempts: i.Attempts, In: i.In, Out: i.Out, Dtab: i.Dtab,
	}, i.Name
}

// refuse answers a wrong request.
func refuse(w http.ResponseWriter, status int, err error) {
	answer(w, status, map[string]string{"error": err.Error()})
}

func (a *Agent) explain(ctx context.Context, name dtab.Path, request dtab.Dtab) *explanation.Explanation {
	g := a.current.Load()
	var e *explanation.Explanation
	var err error
	if g.naming.asker != nil {
		e, err = g.naming.asker.explain(ctx, name, request)
	} else {
		e, err = g.explain(ctx, name, request)
	}
	if err != nil {
		e = explanation.Broken(name, err, time.Now())
		if c := g.config.Interpreter; c != nil {
			e.Namespace = c.Namespace
		}
	}
	e.Agent = a.view(g, name)
	return e
}

// explain is how the agent's own interpreter delegates a name.
func (g *generation) explain(ctx context.Context, name dtab.Path, request dtab.Dtab) (*explanation.Explanation, error) {
	x, err := g.naming.interpreter.Under(g.naming.table, g.config.Dtab.Local.Concat(request)).Explain(ctx, name)
	if err != nil {
		return nil, err
	}
	e := explanation.Of(name, x, len(request), time.Now())
	if g.config.Dtab.Static == nil {
		e.Namespace = g.config.Dtab.Namespace
	}
	if known, err := g.naming.known(); known && err != nil {
		e.Trouble = "the table's store is in trouble, this is the last table known: " + err.Error()
	}
	return e, nil
}

// view is what this agent does with a name.
func (a *Agent) view(g *generation, name dtab.Path) *explanation.Agent {
	v := &explanation.Agent{Name: g.config.Name}
	d := a.names.find(name)
	if d == nil {
		return v
	}
	b := d.binding.Value()
	v.Followed, v.Status, v.LastGood = true, b.Status.String(), b.Status == namer.OK && b.Err != nil
	if b.Err != nil {
		v.Error = b.Err.Error()
	}
	if b.Status == namer.OK {
		v.Bound = boundTree(b)
	}
	for _, c := range d.balancer.State() {
		cluster := explanation.AgentCluster{Cluster: c.Cluster, Share: c.Share, Status: c.Status, Stale: c.Stale}
		for _, e := range c.Endpoints {
			cluster.Open += e.Open
			cluster.Endpoints = append(cluster.Endpoints, explanation.AgentEndpoint{
				Address: e.Address, State: string(e.State), Weight: e.Weight, Open: e.Open,
			})
		}
		v.Open += cluster.Open
		v.Clusters = append(v.Clusters, cluster)
	}
	return v
}

// boundTree prints the bound names of a binding as a Dtab would.
func boundTree(b namer.Binding) string {
	return dtab.TreeString(dtab.Map(b.Tree, func(x namer.Bound) dtab.Path { return x.ID.Concat(x.Residual) }))
}
