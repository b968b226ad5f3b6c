// Package story is the demo's story, told on any stage: all traffic on one Redis cluster, one Dtab update that moves it
// to the other, a load that rises and falls with a fleet that follows. A step is done when it has been measured, and
// failed when it has not been within its time; nothing is taken for granted.
package story

import (
	"context"
	"slices"
	"time"

	"argosy/demo/load"
	"argosy/demo/web"
)

// The two clusters.
const (
	Redis1 = "redis1"
	Redis2 = "redis2"
)

// Stage is where the story is told: a laptop, or a real Nomad. Its methods may be called from any goroutine, except that
// Start is called first, and Stop last and once.
type Stage interface {
	// Facts are what the story has to know of the stage.
	Facts() Facts
	// Start brings everything up and returns once connections can be served. progress is told what is being waited for.
	Start(ctx context.Context, progress func(string)) error
	// Shift points /svc/redis at a cluster, by the command that a user would type, and returns that command.
	Shift(ctx context.Context, cluster string) (command string, err error)
	// WithoutCertificate connects to the fleet without a client certificate. refusal is the error that the client saw;
	// nil when it was let in. err: the fleet could not be asked at all.
	WithoutCertificate(ctx context.Context) (refusal, err error)
	// Probe opens one new connection as a client would, asks who answers, and closes it.
	Probe(ctx context.Context) (web.Open, error)
	// SetRate changes the load, in requests a second.
	SetRate(ctx context.Context, perSecond float64)
	// Observe looks at everything once.
	Observe(ctx context.Context) (Observation, error)
	// Stop ends everything that Start has started, also when that has failed half way.
	Stop(ctx context.Context) error
	// Remains lists what Stop has left behind: processes, ports, files. It is empty when all is well.
	Remains() []string
}

// Facts are what differs between stages.
type Facts struct {
	Name           string // "laptop" or "Nomad"
	Calm, Busy     float64
	Min, Max       int // instances of the fleet
	StartWithin    time.Duration
	ScaleWithin    time.Duration // for a step up or down to be complete
	ShiftWithin    time.Duration // for all requests to have moved: the connections' lifetime and a little
	Links          []Link        // known after Start
	HowCertificate string        // what proves identity: "development CA" or "Consul Connect"
}

// Link is something to look at or to type.
type Link struct{ What, Text string }

// Observation is one look at everything.
type Observation struct {
	At        time.Time
	Load      load.Stats
	Backends  map[string]Backend // by cluster
	Web       WebTotals
	Instances []Instance // of the fleet, running ones
	Wanted    int
	Decision  Decision
}

// Backend is a cluster as its clients and the Redis server itself see it.
type Backend struct {
	Connections int64 // open, as the web servers count
	Opened      int64
	Requests    int64
	Commands    int64 // total_commands_processed of INFO; -1: not known
	Received    int64 // total_connections_received of INFO; -1: not known
}

// WebTotals sums the web servers' counters.
type WebTotals struct{ Requests, Failed, Hits, Misses, Retried, Redialed int64 }

// Instance is one agent of the fleet. Two observations of one that has not been restarted have the same ID and Pid.
type Instance struct {
	ID          string
	Pid         int       // 0: not known
	Started     time.Time // of the process
	Connections int64     // open
	Opened      int64     // ever
	Problem     string    // why its counters are not known
}

// Decision is the scheduler's last.
type Decision struct {
	At           time.Time
	Action, Why  string
	Value        float64
	TargetValue  float64
	Current, Now int
}

// restarted tells which instances of before are not there any more, although the scheduler, which wanted fewest of them
// at some time in between, does not explain it.
func restarted(before, now []Instance, fewest int) []Instance {
	var gone []Instance
	for _, x := range before {
		there := slices.ContainsFunc(now, func(y Instance) bool {
			known := !x.Started.IsZero() && !y.Started.IsZero()
			return x.ID == y.ID && x.Pid == y.Pid && (!known || x.Started.Equal(y.Started))
		})
		if !there {
			gone = append(gone, x)
		}
	}
	if len(gone) <= len(before)-fewest {
		return nil
	}
	return gone
}
