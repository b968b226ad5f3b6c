package consul

import (
	"time"

	"argosy/internal/snapshot"

	"github.com/hashicorp/consul/api"
)

// Connect says which instances of a service count where Consul Connect is concerned.
type Connect uint8

// The ways to look at Connect.
const (
	ConnectNever  Connect = iota // the service's own instances
	ConnectAlways                // the Connect-capable endpoints: native instances and sidecars
	ConnectPrefer                // those as long as one of them can be used, else the service's own instances
)

// Statuses of instances. An instance has the worst status of its checks and its node's, and maintenance beats them all.
const (
	Passing     = api.HealthPassing
	Warning     = api.HealthWarning
	Critical    = api.HealthCritical
	Maintenance = api.HealthMaint
)

// Consistency of reads, as Consul names them: any server may answer a stale read, and a consistent one costs a round
// between the servers.
const (
	ConsistencyDefault    = "default"
	ConsistencyStale      = "stale"
	ConsistencyConsistent = "consistent"
)

// TagWeight is what a tag makes an instance weigh.
type TagWeight struct {
	Tag    string
	Weight float64
}

// Options are the namer's. The zero value asks for all instances by the addresses of their nodes.
type Options struct {
	IncludeTag bool     // names have the form /dc/tag/service
	Tags       []string // only instances that have all of these
	Filter     string   // an expression that Consul evaluates for each instance, such as: Service.Meta.version == v2
	Resolver   bool     // the service's service-resolver applies: subset, redirect, failover. Not with IncludeTag.

	UseHealth bool     // only instances of these statuses:
	Statuses  []string // only passing unless set

	Connect       Connect
	PreferService bool        // the service's own address, where it has one, before its node's
	TaggedAddress string      // address and port by that key of the tagged addresses; instances without it are left out
	Weights       []TagWeight // the heaviest tag of an instance counts, and multiplies Consul's own weight
	Metadata      bool        // what is registered about instances and nodes goes with the endpoints
	Authority     string      // not empty: endpoints say the host name that Consul's DNS has for them, in this domain

	Consistency string // of ConsistencyDefault and so on
	Cached      bool   // reads are answered by the Consul agent's cache, stale if need be; not with ConsistencyConsistent
	Near        string // "_agent" or a node: only the instances nearest to it are used
	NearCount   int    // how many of them; 0: all

	// HoldEmpty is how long the last good set stays when suddenly no instance passes; 0: not at all.
	HoldEmpty time.Duration
	// GuardHold is how long instances stay when so many go from one answer to the next that Consul is more likely in
	// trouble than they are: at least two, and more than GuardShare of them, without others in their place. 0: not at all.
	GuardHold  time.Duration
	GuardShare float64
	// MaxStale is how long a set is used while Consul cannot be asked; 0: for ever.
	MaxStale time.Duration

	// Snapshots keeps sets over a restart; nil: they are not kept.
	Snapshots *snapshot.Folder
	// Seats bounds the requests that wait at Consul, for all namers that have it; nil: the namer has its own.
	Seats *Seats
}
