package agent

import (
	"encoding/json"
	"net/http"

	"github.com/prometheus/client_golang/prometheus/promhttp"

	"argosy/agent/balance"
	"argosy/internal/settings"
	"argosy/namer"
)

// handler serves the admin API to those whom the door has let in.
func (a *Agent) handler() http.Handler {
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", promhttp.HandlerFor(a.deps.Registry, promhttp.HandlerOpts{}))
	mux.HandleFunc("GET /health", a.serveHealth)
	mux.HandleFunc("GET /ready", a.serveHealth)
	mux.HandleFunc("GET /v1/connections", a.serveConnections)
	mux.HandleFunc("DELETE /v1/connections", a.serveCloseMany)
	mux.HandleFunc("GET /v1/connections/{id}", a.serveConnection)
	mux.HandleFunc("DELETE /v1/connections/{id}", a.serveClose)
	mux.HandleFunc("GET /v1/routes", func(w http.ResponseWriter, r *http.Request) {
		answer(w, http.StatusOK, a.routes(r.URL.Query().Get("name")))
	})
	mux.HandleFunc("GET /v1/explain", a.serveExplain)
	mux.HandleFunc("POST /v1/plan", a.servePlan)
	for _, path := range []string{"/drain", "/v1/drain"} {
		mux.HandleFunc("POST "+path, a.serveDrain)
		mux.HandleFunc("GET "+path, func(w http.ResponseWriter, _ *http.Request) { answer(w, http.StatusOK, a.drainInfo()) })
	}
	mux.HandleFunc("GET /v1/config", func(w http.ResponseWriter, _ *http.Request) {
		answer(w, http.StatusOK, settings.Show(a.current.Load().config))
	})
	return mux
}

func answer(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	e.SetEscapeHTML(false)
	e.Encode(v)
}

// Health is the answer of /health and /ready.
type Health struct {
	Status  string   `json:"status"` // ok, starting, not ready or draining
	Reasons []string `json:"reasons,omitempty"`
}

func (a *Agent) serveHealth(w http.ResponseWriter, _ *http.Request) {
	h := a.Health()
	status := http.StatusOK
	if h.Status != "ok" {
		status = http.StatusServiceUnavailable
	}
	answer(w, status, h)
}

// RoutesInfo is what /v1/routes shows.
type RoutesInfo struct {
	Interpreter  *InterpreterInfo  `json:"interpreter,omitempty"` // set where a namerd binds the names
	Listeners    []ListenerInfo    `json:"listeners"`
	Destinations []DestinationInfo `json:"destinations"`
}

// ListenerInfo is a listener with its effective settings.
type ListenerInfo struct {
	Name           string `json:"name"`
	Address        string `json:"address"` // as bound
	Destination    string `json:"destination"`
	TLS            string `json:"tls,omitempty"`
	MaxConnections int    `json:"max_connections"`
	ConnectTimeout string `json:"connect_timeout"`
	IdleTimeout    string `json:"idle_timeout"`
	Open           int    `json:"open"`

	Settings Settings `json:"settings"`
}

// DestinationInfo is a name and what it stands for.
type DestinationInfo struct {
	Name     string                `json:"name"`
	Status   string                `json:"status"`
	Error    string                `json:"error,omitempty"`
	Tree     string                `json:"tree,omitempty"` // the bound names, as in a Dtab
	Refused  uint64                `json:"refused"`        // connections that got no endpoint, since the name is in use
	Clusters []balance.ClusterInfo `json:"clusters"`

	Paths []PathSettings `json:"paths"` // by listener and client block, with what is in force
}

// routes lists all destinations, or only the one of that name.
func (a *Agent) routes(name string) RoutesInfo {
	g := a.current.Load()
	settings := newSettingsOf(g)
	info := RoutesInfo{Interpreter: g.interpreterInfo(), Listeners: listenerInfos(g, settings), Destinations: []DestinationInfo{}}
	for _, d := range a.names.all() {
		if name != "" && d.name.String() != name {
			continue
		}
		b := d.binding.Value()
		i := DestinationInfo{Name: d.name.String(), Status: b.Status.String(), Refused: d.refused.Load(), Clusters: d.balancer.State(), Paths: settings.destination(d)}
		if b.Err != nil {
			i.Error = b.Err.Error()
		}
		if b.Status == namer.OK {
			i.Tree = boundTree(b)
		}
		info.Destinations = append(info.Destinations, i)
	}
	return info
}

// Listeners lists the listeners in the order of the configuration, with the addresses they have been bound to.
func (a *Agent) Listeners() []ListenerInfo {
	g := a.current.Load()
	return listenerInfos(g, newSettingsOf(g))
}

func listenerInfos(g *generation, settings *settingsOf) []ListenerInfo {
	all := []ListenerInfo{}
	for _, l := range g.listeners {
		i := ListenerInfo{
			Name: l.name, Address: l.port.socket.Addr().String(), Destination: l.label,
			MaxConnections: l.config.MaxConnections, ConnectTimeout: l.config.ConnectTimeout.String(),
			IdleTimeout: l.config.Timeouts.Idle.String(), Settings: settings.listener(l),
		}
		if l.state != nil {
			i.Open = l.state.limits.Open()
		}
		switch t := l.config.TLS; {
		case t == nil:
		case t.Connect != "":
			i.TLS = "connect " + t.Connect
		case t.ClientCAFile != "":
			i.TLS = "mutual"
		default:
			i.TLS = "server"
		}
		all = append(all, i)
	}
	return all
}

// AdminAddress is the address of the admin endpoint, as bound: "host:port", or "unix:" and a path.
func (a *Agent) AdminAddress() string { return a.current.Load().admin.address() }
