// Package plan says what a table that is proposed would change for the names and connections that there are now: the
// answer that each agent gives for its own, and what comes of these for a fleet.
package plan

import (
	"math"
	"slices"

	"argosy/dtab"
	"argosy/namer"
)

// Verdict is what a proposal does to a name. The worst come first.
type Verdict string

// The verdicts.
const (
	Lost    Verdict = "lost"    // has endpoints now and would have none, or is bound now and would not be
	Unknown Verdict = "unknown" // not known in time
	Moves   Verdict = "moves"   // would bind to other clusters
	Shares  Verdict = "shares"  // would bind to the same clusters with other shares
	Gained  Verdict = "gained"  // has no endpoints now and would have some, or is not bound now and would be
	Same    Verdict = "same"
)

// Verdicts returns all of them, the worst first.
func Verdicts() []Verdict { return []Verdict{Lost, Unknown, Moves, Shares, Gained, Same} }

// Answer is what one agent says about a proposal.
type Answer struct {
	Agent     string `json:"agent"` // its name
	Namespace string `json:"namespace,omitempty"`
	Source    string `json:"source"`        // of its table: consul, namerd or static; interpreter where a namerd binds its names
	Applies   bool   `json:"applies"`       // the proposal is for the table that this agent uses
	Why       string `json:"why,omitempty"` // why not
	Names     []Name `json:"names"`         // empty unless it applies
}

// Name is one name that an agent, or a fleet, has in use.
type Name struct {
	Name        string    `json:"name"`
	Verdict     Verdict   `json:"verdict"`
	Agents      int       `json:"agents,omitempty"` // of a fleet: how many have it in use
	Connections int       `json:"connections"`      // open now
	Touched     int       `json:"touched"`          // of these, to clusters that the name would not have any more
	Before      []Cluster `json:"before"`
	After       []Cluster `json:"after"`
	Error       string    `json:"error,omitempty"` // why it would not be bound, or is not known
}

// Cluster is a part of what a name stands for.
type Cluster struct {
	ID        string  `json:"id"` // "$" for a part that is nobody
	Share     float64 `json:"share"`
	Status    string  `json:"status"` // of namer.Status
	Endpoints int     `json:"endpoints"`
}

// Clusters are those of a binding, each once.
func Clusters(b namer.Binding) []Cluster {
	all := []Cluster{}
	for _, c := range b.Clusters {
		id := key(c.ID)
		i := slices.IndexFunc(all, func(c Cluster) bool { return c.ID == id })
		if i < 0 {
			i = len(all)
			all = append(all, Cluster{ID: id, Status: c.Addr.Status.String(), Endpoints: len(c.Addr.Endpoints)})
		}
		all[i].Share += c.Share
	}
	return all
}

// key is what agents call a cluster.
func key(id dtab.Path) string {
	if len(id) == 0 {
		return "$"
	}
	return id.String()
}

// Judge compares what a name is bound to with what it would be bound to; known tells whether that is all that will ever
// be known of it.
func Judge(before, after namer.Binding, known bool) Verdict {
	was, is := rank(before), rank(after)
	now, then := Clusters(before), Clusters(after)
	switch {
	case !known && after.Status == namer.Pending || !known && is < was || before.Status == namer.Pending && is == 0:
		return Unknown
	case is < was:
		return Lost
	case is > was:
		return Gained
	case !sameIDs(now, then):
		return Moves
	case !sameShares(now, then):
		return Shares
	}
	return Same
}

// rank is 2 for a binding with endpoints, 1 for one to clusters without, and 0 for none.
func rank(b namer.Binding) int {
	r := 0
	for _, c := range b.Clusters {
		switch {
		case len(c.Addr.Endpoints) > 0:
			return 2
		case len(c.ID) > 0:
			r = 1
		}
	}
	return r
}

func sameIDs(a, b []Cluster) bool {
	return len(a) == len(b) && !slices.ContainsFunc(a, func(c Cluster) bool { return indexOf(b, c.ID) < 0 })
}

func sameShares(a, b []Cluster) bool {
	return !slices.ContainsFunc(a, func(c Cluster) bool { return math.Abs(c.Share-b[indexOf(b, c.ID)].Share) > 1e-6 })
}

func indexOf(all []Cluster, id string) int {
	return slices.IndexFunc(all, func(c Cluster) bool { return c.ID == id })
}
