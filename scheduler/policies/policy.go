// Package policies says what is scaled by what: the policies of the scheduler's own configuration, and those that Nomad
// jobs carry in their scaling blocks.
package policies

import (
	"fmt"
	"time"

	"argosy/scheduler/law"
	"argosy/scheduler/metric"
)

// Policy is one policy, ready to be used.
type Policy struct {
	Name   string // unique; for a job's own policy namespace/job/group
	Origin string // where it is written: file:line:column, or the job and group
	Law    law.Policy
	Query  metric.Query
	Target Ref
}

// Equal reports whether two policies do the same, wherever they are written.
func (p Policy) Equal(q Policy) bool {
	return p.Name == q.Name && p.Law == q.Law && p.Query.Equal(q.Query) && p.Target == q.Target
}

// The kinds of targets.
const (
	Nomad   = "nomad"
	Process = "process"
)

// Ref names a target: a task group of a Nomad job, or a group of local processes.
type Ref struct {
	Kind                  string
	Namespace, Job, Group string // of a Nomad target
	Process               string // name of a process target
}

// String names the target for people.
func (r Ref) String() string {
	if r.Kind == Process {
		return "process " + r.Process
	}
	return fmt.Sprintf("nomad %s/%s/%s", r.Namespace, r.Job, r.Group)
}

// Defaults of everything that a policy may leave out. down_window is cooldown_down unless set.
const (
	DefaultTolerance    = 0.1
	DefaultMin          = 1
	DefaultCooldownUp   = 10 * time.Second
	DefaultCooldownDown = time.Minute
	DefaultMaxAge       = 30 * time.Second
)

// Abilities are what the scheduler's configuration gives policies to work with.
type Abilities struct {
	Prometheus bool // there is a prometheus block
	Scrape     bool // there is a scrape block
	Interval   time.Duration
}

// CheckQuery says what is wrong with where a policy's metric comes from, and the key that is to blame.
func CheckQuery(q metric.Query, a Abilities) (key string, err error) {
	switch {
	case q.Expr == "" && q.Metric == "":
		return "query", fmt.Errorf("neither query nor metric is set, so there is nothing to scale by")
	case q.Expr != "" && q.Metric != "":
		return "metric", fmt.Errorf("query and metric are both set; leave one of them out")
	case q.Expr != "" && !a.Prometheus:
		return "query", fmt.Errorf("query needs a prometheus block in the scheduler's configuration")
	case q.Metric != "" && !a.Prometheus && !a.Scrape:
		return "metric", fmt.Errorf("metric needs a prometheus or a scrape block in the scheduler's configuration")
	case q.Expr != "" && len(q.Match) > 0:
		return "match", fmt.Errorf("match belongs to metric; put the labels into the query")
	case q.Metric != "" && (q.Age != "" || q.PartialIf != ""):
		return "metric", fmt.Errorf("age and partial_if belong to query; a metric has its own")
	case q.MaxAge > 0 && a.Interval > 0 && q.MaxAge < 2*a.Interval:
		return "max_age", fmt.Errorf("max_age is %v, must be at least twice the evaluation_interval, which is %v", q.MaxAge, a.Interval)
	}
	return "", nil
}
