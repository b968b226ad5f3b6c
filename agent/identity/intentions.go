package identity

import (
	"fmt"
	"slices"

	"github.com/hashicorp/consul/api"
)

// rules are the intentions of one destination, and what holds where none applies. A value is never changed.
type rules struct {
	known bool
	list  []rule

	// The default is not among the intentions, and has to be found out by asking.
	defaultKnown bool
	defaultAllow bool
}

// rule is one intention, as far as a TCP proxy is concerned.
type rule struct {
	source     string // or "*"
	allow      bool
	precedence int
	asks       string // what only a proxy of HTTP can see, so that it can only be enforced by denying; "": nothing
}

func (r rule) String() string {
	action := "deny"
	if r.allow {
		action = "allow"
	}
	s := fmt.Sprintf("intention %s %s (precedence %d)", action, r.source, r.precedence)
	if r.asks != "" {
		s += " with " + r.asks + ", which a TCP listener cannot enforce"
	}
	return s
}

// compile takes from a match answer what applies to sources of this cluster, in the order in which the first that
// applies decides.
func compile(intentions []*api.Intention) []rule {
	var list []rule
	for _, i := range intentions {
		if i == nil || i.SourcePeer != "" || i.SourceSamenessGroup != "" || i.SourceType != "" && i.SourceType != api.IntentionSourceConsul {
			continue
		}
		if ns := i.SourceNS; ns != "" && ns != defaultNamespace && ns != "*" {
			continue
		}
		if ap := i.SourcePartition; ap != "" && ap != defaultNamespace {
			continue
		}
		asks := asks(i.Permissions)
		list = append(list, rule{i.SourceName, i.Action == api.IntentionActionAllow && asks == "", i.Precedence, asks})
	}
	slices.SortStableFunc(list, func(a, b rule) int { return b.precedence - a.precedence })
	return list
}

// asks says what permissions ask for, in words.
func asks(permissions []*api.IntentionPermission) string {
	switch {
	case len(permissions) == 0:
		return ""
	case slices.ContainsFunc(permissions, func(p *api.IntentionPermission) bool { return p == nil || p.HTTP != nil || p.JWT == nil }):
		return "HTTP permissions"
	}
	return "requirements for JWTs"
}

func (r rules) equal(o rules) bool {
	return r.known == o.known && r.defaultKnown == o.defaultKnown && r.defaultAllow == o.defaultAllow && slices.Equal(r.list, o.list)
}

// first returns the rule that decides about a source, if there is one. Names are compared exactly, as Consul does.
func (r rules) first(source string) (rule, bool) {
	for _, x := range r.list {
		if x.source == source || x.source == "*" {
			return x, true
		}
	}
	return rule{}, false
}

// complete reports whether there is a decision about every source.
func (r rules) complete() bool {
	_, everybody := r.first(probe)
	return r.known && (everybody || r.defaultKnown)
}

// unnamed reports whether a source is known to be refused without being named: one that can be let in by naming it.
func (r rules) unnamed(source ID) bool {
	if source.Namespace != defaultNamespace || source.Partition != "" || !r.complete() {
		return false
	}
	x, ok := r.first(source.Service)
	return !ok || x.source == "*"
}

// decide says whether a source may connect, and why. What is not known is refused.
func (r rules) decide(source ID) (allow bool, why string) {
	if source.Namespace != defaultNamespace || source.Partition != "" {
		return false, "it is of another namespace or partition"
	}
	if !r.known {
		return false, "the intentions are not known yet"
	}
	if x, ok := r.first(source.Service); ok {
		return x.allow, x.String()
	}
	if !r.defaultKnown {
		return false, "no intention applies, and the default is not known yet"
	}
	if r.defaultAllow {
		return true, "allowed by default"
	}
	return false, "no intention applies, and the default is to deny"
}
