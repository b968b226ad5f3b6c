package policies

import (
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/hashicorp/nomad/api"

	"argosy/scheduler/law"
	"argosy/scheduler/metric"
)

// optIn is the value of the key scheduler with which a job's policy asks for this scheduler.
const optIn = "argosy"

// ours reports whether a job's policy is for this scheduler.
func ours(p *api.ScalingPolicy) bool {
	name, _ := p.Policy["scheduler"].(string)
	return name == optIn && (p.Enabled == nil || *p.Enabled)
}

// parse makes a policy of a job's scaling block:
//
//	scaling {
//	  min = 1
//	  max = 10
//	  policy {
//	    scheduler     = "argosy"
//	    query         = "sum(argosy_connections_active)"
//	    target_value  = 50
//	    cooldown_down = "2m"
//	  }
//	}
//
// The keys are those of the scheduler's own policy blocks.
func parse(p *api.ScalingPolicy, a Abilities) (Policy, error) {
	ref := reference(p)
	out := Policy{Name: ref.Namespace + "/" + ref.Job + "/" + ref.Group, Origin: origin(ref), Target: ref}
	if ref.Job == "" || ref.Group == "" {
		return out, errors.New("the scaling block names no job or no group")
	}
	r := reader{values: p.Policy}
	r.text("scheduler")
	out.Query = metric.Query{
		Expr: r.text("query"), Age: r.text("age"), PartialIf: r.text("partial_if"),
		Metric: r.text("metric"), Match: r.texts("match"),
	}
	l := law.Policy{
		TargetValue:  r.number("target_value", math.NaN()),
		Tolerance:    r.number("tolerance", DefaultTolerance),
		CooldownUp:   r.duration("cooldown_up", DefaultCooldownUp),
		CooldownDown: r.duration("cooldown_down", DefaultCooldownDown),
		MaxAge:       r.duration("max_age", DefaultMaxAge),
		StepUp:       r.whole("step_up"),
		StepDown:     r.whole("step_down"),
		Min:          DefaultMin,
	}
	l.DownWindow = r.duration("down_window", l.CooldownDown)
	if p.Min != nil {
		l.Min = int(min(*p.Min, math.MaxInt32))
	}
	if p.Max != nil {
		l.Max = int(min(*p.Max, math.MaxInt32))
	}
	out.Law, out.Query.MaxAge = l, l.MaxAge
	if _, set := p.Policy["target_value"]; !set {
		r.wrong("target_value is missing")
	} else if err := l.Validate(); err != nil && len(r.problems) == 0 {
		r.problems = append(r.problems, err)
	}
	if _, err := CheckQuery(out.Query, a); err != nil && len(r.problems) == 0 {
		r.problems = append(r.problems, err)
	}
	r.unknown()
	return out, r.err()
}

func reference(p *api.ScalingPolicy) Ref {
	ref := Ref{Kind: Nomad, Namespace: p.Target["Namespace"], Job: p.Target["Job"], Group: p.Target["Group"]}
	if ref.Namespace == "" {
		ref.Namespace = p.Namespace
	}
	if ref.Namespace == "" {
		ref.Namespace = "default"
	}
	return ref
}

func origin(r Ref) string {
	return fmt.Sprintf("job %s in namespace %s, group %s", r.Job, r.Namespace, r.Group)
}

// reader takes values out of what Nomad has made of a policy block, and collects what is wrong.
type reader struct {
	values   map[string]any
	taken    []string
	problems []error
}

func (r *reader) wrong(format string, a ...any) {
	r.problems = append(r.problems, fmt.Errorf(format, a...))
}

// err is everything that is wrong, in one line for the log.
func (r *reader) err() error {
	if len(r.problems) == 0 {
		return nil
	}
	var all []string
	for _, p := range r.problems {
		all = append(all, strings.ReplaceAll(p.Error(), "\n", "; "))
	}
	return errors.New(strings.Join(all, "; "))
}

func (r *reader) take(key string) (any, bool) {
	r.taken = append(r.taken, key)
	v, ok := r.values[key]
	return v, ok
}

func (r *reader) unknown() {
	for _, key := range slices.Sorted(maps.Keys(r.values)) {
		if !slices.Contains(r.taken, key) {
			r.wrong("unknown key %q; there are %s", key, strings.Join(r.taken, ", "))
		}
	}
}

func (r *reader) text(key string) string {
	v, ok := r.take(key)
	if !ok {
		return ""
	}
	s, isText := v.(string)
	if !isText {
		r.wrong("%s is %v, must be a string", key, v)
	}
	return s
}

// number takes numbers, also written as strings, because variables in a job file are often that.
func (r *reader) number(key string, without float64) float64 {
	v, ok := r.take(key)
	if !ok {
		return without
	}
	switch n := v.(type) {
	case float64:
		return n
	case int:
		return float64(n)
	case int64:
		return float64(n)
	case string:
		if f, err := strconv.ParseFloat(n, 64); err == nil {
			return f
		}
	}
	r.wrong("%s is %v, must be a number", key, v)
	return without
}

func (r *reader) whole(key string) int {
	f := r.number(key, 0)
	if f != math.Trunc(f) || math.Abs(f) > law.MaxCount {
		r.wrong("%s is %v, must be a whole number up to %d", key, f, law.MaxCount)
		return 0
	}
	return int(f)
}

func (r *reader) duration(key string, without time.Duration) time.Duration {
	v, ok := r.take(key)
	if !ok {
		return without
	}
	s, isText := v.(string)
	d, err := time.ParseDuration(s)
	if !isText || err != nil {
		r.wrong("%s is %v, must be a duration such as \"30s\"", key, v)
		return without
	}
	return d
}

// texts takes a block or a map of strings. Nomad's API gives blocks as lists of one map.
func (r *reader) texts(key string) map[string]string {
	v, ok := r.take(key)
	if !ok {
		return nil
	}
	if list, isList := v.([]any); isList && len(list) == 1 {
		v = list[0]
	}
	m, isMap := v.(map[string]any)
	if !isMap {
		r.wrong("%s is %v, must be a block of labels", key, v)
		return nil
	}
	out := make(map[string]string, len(m))
	for k, v := range m {
		s, isText := v.(string)
		if !isText {
			r.wrong("%s.%s is %v, must be a string", key, k, v)
		}
		out[k] = s
	}
	return out
}
