package consul

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"net"

	"argosy/dtab"
	"argosy/internal/snapshot"
	"argosy/namer"
)

// saved is the snapshot of what is asked, under the options that have a say in what is made of the answer.
func (n *Namer) saved(what string, r request) *snapshot.File {
	o := n.options
	return o.Snapshots.File(fmt.Sprintf("%s datacenter=%q service=%q tags=%q filter=%q connect=%v passing=%v health=%v%q "+
		"prefer_service=%v tagged=%q weights=%v metadata=%v authority=%q", what, r.datacenter, r.service, r.tags,
		r.filter, r.connect, r.passing, o.UseHealth, o.Statuses, o.PreferService, o.TaggedAddress, o.Weights, o.Metadata,
		o.Authority))
}

// recorded is an instance in a snapshot.
type recorded struct {
	Addr    string            `json:"addr"`
	Weight  float64           `json:"weight"`
	Meta    map[string]string `json:"meta,omitempty"`
	Connect *recordedConnect  `json:"connect,omitempty"` // whom a client must meet there
	Rank    int               `json:"rank,omitempty"`
}

type recordedConnect struct {
	Datacenter string `json:"datacenter"`
	Service    string `json:"service"`
}

// UnmarshalJSON refuses what no instance can be.
func (r *recorded) UnmarshalJSON(text []byte) error {
	type plain recorded
	if err := json.Unmarshal(text, (*plain)(r)); err != nil {
		return err
	}
	if host, port, err := net.SplitHostPort(r.Addr); err != nil || host == "" || port == "" {
		return fmt.Errorf("%q is no address", r.Addr)
	}
	if !(r.Weight > 0) || math.IsInf(r.Weight, 0) {
		return errors.New("a weight is not above 0")
	}
	return nil
}

func record(all []instance) []recorded {
	out := make([]recorded, len(all))
	for i, e := range all {
		out[i] = recorded{Addr: e.Addr, Weight: e.Weight, Meta: e.Meta, Rank: e.rank}
		if e.Connect != (namer.ConnectID{}) {
			out[i].Connect = &recordedConnect{e.Connect.Datacenter, e.Connect.Service}
		}
	}
	return out
}

// instancesOf brings instances back, in order and each once even if the file was edited.
func instancesOf(all []recorded) []instance {
	out := make([]instance, 0, len(all))
	for _, r := range all {
		e := instance{rank: r.Rank, Endpoint: namer.Endpoint{Addr: r.Addr, Weight: r.Weight, Meta: r.Meta}}
		if e.Meta == nil {
			e.Meta = map[string]string{}
		}
		if r.Connect != nil {
			e.Connect = namer.ConnectID{Datacenter: r.Connect.Datacenter, Service: r.Connect.Service}
		}
		out = append(out, e)
	}
	return sorted(out)
}

// recordedTarget is a target of a service-resolver in a snapshot.
type recordedTarget struct {
	ID         string `json:"id"`
	Datacenter string `json:"datacenter"`
	Service    string `json:"service"`
	Tags       string `json:"tags,omitempty"`
	Filter     string `json:"filter,omitempty"`
	Connect    bool   `json:"connect,omitempty"`
	Passing    bool   `json:"passing,omitempty"`
}

func recordPlan(p plan) []recordedTarget {
	out := []recordedTarget{}
	for _, t := range p.targets {
		r := t.request
		out = append(out, recordedTarget{t.id.String(), r.datacenter, r.service, r.tags, r.filter, r.connect, r.passing})
	}
	return out
}

// planOf brings a plan back, without the targets that no name can have.
func (c *compiler) planOf(all []recordedTarget) plan {
	p := plan{known: true}
	for _, t := range all {
		id, err := dtab.ParsePath(t.ID)
		if err == nil && id.HasPrefix(c.prefix) && usable(t.Service) && (t.Datacenter == "" || usable(t.Datacenter)) {
			p.targets = append(p.targets, target{id, request{t.Datacenter, t.Service, t.Tags, t.Filter, t.Connect, t.Passing}})
		}
	}
	return p
}
