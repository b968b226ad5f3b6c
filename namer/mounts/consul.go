package mounts

import (
	"fmt"
	"time"

	"argosy/internal/hclx"
	"argosy/namer/consul"
)

// Limits of values that no sane configuration reaches.
const (
	longestHold    = time.Hour
	mostNear       = 1000
	heaviestWeight = 1e6
)

// consul takes the keys of a consul namer.
func (l *loader) consul(keys *rawConsulNamer) *Consul {
	d := l.d
	c := &Consul{
		SnapshotDir: d.String(keys.SnapshotDir),
		Options: consul.Options{
			IncludeTag:    d.Bool(keys.IncludeTag),
			Tags:          l.tags(keys.Tags),
			Filter:        l.filled(keys.Filter),
			Resolver:      d.Bool(keys.Resolver),
			UseHealth:     d.Bool(keys.UseHealth),
			Statuses:      l.statuses(keys.Statuses),
			PreferService: d.Bool(keys.PreferService),
			TaggedAddress: l.filled(keys.TaggedAddress),
			Weights:       l.weights(keys.Weights),
			Metadata:      d.Bool(keys.Metadata),
			Consistency: d.OneOf(keys.Consistency,
				consul.ConsistencyDefault, consul.ConsistencyStale, consul.ConsistencyConsistent),
			Cached:     d.Bool(keys.Cached),
			Near:       l.filled(keys.Near),
			HoldEmpty:  d.Duration(keys.HoldEmpty, 0, longestHold),
			GuardShare: d.Float(keys.GuardShare, 0, 1),
			GuardHold:  d.Duration(keys.GuardHold, 0, longestHold),
			MaxStale:   d.Duration(keys.MaxStale, 0, hclx.Forever),
		},
	}
	switch d.BoolOr(keys.Connect, "prefer") {
	case "true":
		c.Connect = consul.ConnectAlways
	case "prefer":
		c.Connect = consul.ConnectPrefer
	}
	if domain := l.filled(keys.Domain); d.Bool(keys.SetHost) {
		c.Authority = domain
	}
	if count := d.Int(keys.NearCount, 1, mostNear); c.Near != "" {
		c.NearCount = count
	}
	if keys.Consul != nil {
		at := keys.Consul.Settings(d)
		c.At = &at
	}
	l.together(keys, c)
	return c
}

// together reports keys that say nothing, or the opposite, beside each other.
func (l *loader) together(keys *rawConsulNamer, c *Consul) {
	switch {
	case c.IncludeTag && c.Resolver:
		l.d.Errorf(hclx.Place(keys.Resolver), "use two namers with prefixes of their own", "resolver and include_tag do not go together")
	case c.Cached && c.Consistency == consul.ConsistencyConsistent:
		l.d.Errorf(hclx.Place(keys.Cached), "leave one of them out", "cached answers cannot be consistent")
	case c.Statuses != nil && !c.UseHealth:
		l.d.Errorf(hclx.Place(keys.Statuses), "leave use_health_check out, it is on by default", "health_statuses is set and use_health_check is off")
	case c.Near == "" && hclx.Place(keys.NearCount).Start.Line > 0:
		l.d.Errorf(hclx.Place(keys.NearCount), `add near = "_agent"`, "near_count is set without near")
	}
}

// filled takes a string that is not empty.
func (l *loader) filled(a hclx.Attr) string {
	s := l.d.String(a)
	if a != nil && s == "" && !l.d.Failed(a) {
		l.d.Errorf(hclx.Place(a), "leave the key out", "%s is empty", a.Name)
	}
	return s
}

func (l *loader) tags(a hclx.Attr) []string {
	var out []string
	for _, t := range l.d.Texts(a) {
		if t.Value == "" {
			l.d.Errorf(t.Range, "", "a tag is empty")
			continue
		}
		out = append(out, t.Value)
	}
	return out
}

func (l *loader) statuses(a hclx.Attr) []string {
	var out []string
	for _, t := range l.d.Texts(a) {
		switch t.Value {
		case consul.Passing, consul.Warning, consul.Critical, consul.Maintenance:
			out = append(out, t.Value)
		default:
			l.d.Errorf(t.Range, fmt.Sprintf("one of %s, %s, %s, %s", consul.Passing, consul.Warning, consul.Critical, consul.Maintenance),
				"there is no status %q", t.Value)
		}
	}
	if a != nil && out == nil && !l.d.Failed(a) {
		l.d.Errorf(hclx.Place(a), "leave the key out for passing ones", "%s is empty: no instance would be used", a.Name)
	}
	return out
}

func (l *loader) weights(a hclx.Attr) []consul.TagWeight {
	var out []consul.TagWeight
	for _, item := range l.d.Items(a) {
		out = append(out, consul.TagWeight{Tag: item.Key.Value, Weight: l.d.Float(item.Value, 0, heaviestWeight)})
	}
	return out
}
