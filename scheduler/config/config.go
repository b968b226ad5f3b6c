// Package config is the scheduler's configuration: the HCL that operators write, checked as a whole, with every
// complaint at its file, line and column.
package config

import (
	"time"

	"argosy/internal/settings"
	"argosy/scheduler/policies"
)

// Config is a validated configuration. It is a value that is not changed after loading.
type Config struct {
	Name       string // for logs, "argosy-scheduler" unless set
	Log        settings.Log
	HTTP       HTTP
	Nomad      *Nomad      // nil: no policy scales Nomad jobs
	Consul     *Consul     // nil unless there is discovery
	Discovery  Discovery   // what /v1/sd lists
	Prometheus *Prometheus // nil: no queries
	Scrape     *Scrape     // nil: no direct reading of agents
	Interval   time.Duration
	Jobs       Jobs
	Policies   []policies.Policy
}

// Consul says how to reach Consul.
type Consul = settings.Consul

// HTTP is the endpoint for /metrics, /health, /v1/sd, /v1/policies and /v1/decisions, at "127.0.0.1:9993" unless set.
type HTTP = settings.Door

// Nomad says how to reach Nomad, and what of it is ours to scale.
type Nomad struct {
	settings.Nomad
	Namespaces []string // whose jobs may be scaled; "default" unless set
}

// Discovery lists the agents for Prometheus's http_sd_configs.
type Discovery struct {
	Services []string // Consul services; their instances' meta "admin" is what is listed
}

// Prometheus is where queries go.
type Prometheus struct {
	Address   string        // base URL
	Timeout   time.Duration // for the queries of one evaluation; 5s unless set
	TokenFile string
}

// Scrape reads metrics straight from agents.
type Scrape struct {
	TargetsFile string
	Targets     []string
	Interval    time.Duration // 1s unless set
}

// Jobs says whether the policies in Nomad jobs are followed.
type Jobs struct {
	Watch      bool
	Namespaces []string // those of the nomad block unless set
}
