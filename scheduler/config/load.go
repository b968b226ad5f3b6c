package config

import (
	"fmt"
	"math"
	"regexp"
	"slices"
	"time"

	"argosy/internal/hclx"
	"argosy/scheduler/law"
	"argosy/scheduler/metric"
	"argosy/scheduler/policies"
)

// Load reads a configuration from files and directories. An invalid one is refused as a whole, with every mistake in
// the error, an *hclx.Error. Files that the configuration names are read, except those for targets and Prometheus's
// token, which may come later.
func Load(paths []string) (*Config, error) {
	var r rawConfig
	d := hclx.Decode(paths, &r)
	if !d.Loaded() {
		return nil, d.Err()
	}
	c := &Config{
		Name:     d.Name(r.Name),
		Interval: d.Duration(r.EvaluationInterval, 100*time.Millisecond, 10*time.Minute),
	}
	c.Log = r.Log.Settings(d)
	c.HTTP = r.HTTP.Settings(d, "http", "127.0.0.1:9993", false)
	loadNomad(d, r.Nomad, c)
	loadConsul(d, &r, c)
	loadSources(d, &r, c)
	loadJobs(d, r.Jobs, c)
	loadPolicies(d, r.Policies, c)
	if err := d.Err(); err != nil {
		return nil, err
	}
	return c, nil
}

func loadNomad(d *hclx.Decoder, r *rawNomad, c *Config) {
	if r == nil {
		return
	}
	server := hclx.NomadBlock{
		Address: r.Address, Token: r.Token, TokenFile: r.TokenFile, Region: r.Region,
		CAFile: r.CAFile, CertFile: r.CertFile, KeyFile: r.KeyFile,
	}
	c.Nomad = &Nomad{Nomad: server.Settings(d), Namespaces: names(d, r.Namespaces)}
	if len(c.Nomad.Namespaces) == 0 {
		c.Nomad.Namespaces = []string{"default"}
	}
}

func loadConsul(d *hclx.Decoder, r *rawConfig, c *Config) {
	if r.Consul != nil || r.Discovery != nil {
		consul := r.Consul.Settings(d)
		c.Consul = &consul
	}
	if r.Discovery == nil {
		return
	}
	services := r.Discovery.Services
	required(d, services, "services", r.Discovery.Range)
	if c.Discovery.Services = names(d, services); services != nil && len(d.Texts(services)) == 0 {
		d.Errorf(hclx.Place(services), `write services = ["argosy"]`, "services is empty")
	}
}

func loadSources(d *hclx.Decoder, r *rawConfig, c *Config) {
	if p := r.Prometheus; p != nil {
		required(d, p.Address, "address", p.Range)
		c.Prometheus = &Prometheus{
			Address: d.URL(p.Address), Timeout: d.Duration(p.Timeout, 100*time.Millisecond, 2*time.Minute), TokenFile: d.String(p.TokenFile),
		}
	}
	if s := r.Scrape; s != nil {
		c.Scrape = &Scrape{
			TargetsFile: d.String(s.TargetsFile), Targets: d.Strings(s.Targets), Interval: d.Duration(s.Interval, 100*time.Millisecond, time.Minute),
		}
	}
}

func loadJobs(d *hclx.Decoder, r *rawJobs, c *Config) {
	if r == nil {
		return
	}
	c.Jobs = Jobs{Watch: d.Bool(r.Watch), Namespaces: names(d, r.Namespaces)}
	if !c.Jobs.Watch {
		return
	}
	if c.Nomad == nil {
		d.Errorf(r.Range, "add nomad { }", "the jobs block needs a nomad block")
		return
	}
	if len(c.Jobs.Namespaces) == 0 {
		c.Jobs.Namespaces = c.Nomad.Namespaces
	}
	for _, ns := range c.Jobs.Namespaces {
		if !slices.Contains(c.Nomad.Namespaces, ns) {
			d.Errorf(hclx.Place(r.Namespaces), fmt.Sprintf("add %q to namespaces in the nomad block", ns), "namespace %q may not be scaled", ns)
		}
	}
}

func loadPolicies(d *hclx.Decoder, raws []rawPolicy, c *Config) {
	byName, byTarget := map[string]hclx.Range{}, map[policies.Ref]hclx.Range{}
	abilities := c.Abilities()
	for i := range raws {
		r := &raws[i]
		d.CheckName("policy", hclx.Text{Value: r.Name, Range: r.Range})
		if first, again := byName[r.Name]; again {
			d.Errorf(r.Range, "the first is at "+hclx.At(first), "second policy with the name %q", r.Name)
		}
		byName[r.Name] = r.Range
		p := loadPolicy(d, r, c, abilities)
		if first, again := byTarget[p.Target]; again && p.Target.Kind != "" {
			d.Errorf(r.Range, "the first is at "+hclx.At(first), "second policy for the target %s", p.Target)
		}
		byTarget[p.Target] = r.Range
		c.Policies = append(c.Policies, p)
	}
}

var metricName = regexp.MustCompile(`^[a-zA-Z_:][a-zA-Z0-9_:]*$`)

func loadPolicy(d *hclx.Decoder, r *rawPolicy, c *Config, a policies.Abilities) policies.Policy {
	const day = 24 * time.Hour
	p := policies.Policy{Name: r.Name, Origin: hclx.At(r.Range)}
	required(d, r.TargetValue, "target_value", r.Range)
	required(d, r.Max, "max", r.Range)
	p.Law = law.Policy{
		TargetValue:  d.Float(r.TargetValue, math.SmallestNonzeroFloat64, math.MaxFloat64),
		Tolerance:    d.Float(r.Tolerance, 0, 0.99),
		Min:          d.Int(r.Min, 0, law.MaxCount),
		Max:          d.Int(r.Max, 1, law.MaxCount),
		CooldownUp:   d.Duration(r.CooldownUp, 0, day),
		CooldownDown: d.Duration(r.CooldownDown, 0, day),
		DownWindow:   d.Duration(r.DownWindow, 0, day),
		MaxAge:       d.Duration(r.MaxAge, time.Millisecond, day),
		StepUp:       d.Int(r.StepUp, 1, law.MaxCount),
		StepDown:     d.Int(r.StepDown, 1, law.MaxCount),
	}
	if r.DownWindow == nil {
		p.Law.DownWindow = p.Law.CooldownDown
	}
	if p.Law.Max > 0 && p.Law.Min > p.Law.Max {
		d.Errorf(hclx.Place(r.Min), fmt.Sprintf("at most %d", p.Law.Max), "min is %d, above max, which is %d", p.Law.Min, p.Law.Max)
	}
	p.Query = metric.Query{
		Expr: d.String(r.Query), Age: d.String(r.Age), PartialIf: d.String(r.PartialIf),
		Metric: d.String(r.Metric), Match: d.StringMap(r.Match), MaxAge: p.Law.MaxAge,
	}
	if p.Query.Metric != "" && !metricName.MatchString(p.Query.Metric) {
		d.Errorf(hclx.Place(r.Metric), "for an expression use query", "metric %q is no metric name", p.Query.Metric)
	}
	if key, err := policies.CheckQuery(p.Query, a); err != nil {
		at := map[string]hclx.Attr{"query": r.Query, "metric": r.Metric, "match": r.Match, "max_age": r.MaxAge}[key]
		if place := hclx.Place(at); place.Filename != "" {
			d.Errorf(place, "", "%v", err)
		} else {
			d.Errorf(r.Range, "", "%v", err)
		}
	}
	p.Target = loadTarget(d, r, c)
	return p
}

func loadTarget(d *hclx.Decoder, r *rawPolicy, c *Config) policies.Ref {
	if len(r.Target) != 1 {
		d.Errorf(r.Range, `write target "nomad" { job = "..." }`, "a policy has exactly one target block, this one has %d", len(r.Target))
		return policies.Ref{}
	}
	t := r.Target[0]
	refuse := func(kind string, attrs ...hclx.Attr) {
		for _, a := range attrs {
			if a != nil {
				d.Errorf(a.NameRange, "", "a %s target has no %s", kind, a.Name)
			}
		}
	}
	demand := func(a hclx.Attr, name string) string {
		s := d.String(a)
		if a == nil || s == "" {
			d.Errorf(t.Range, fmt.Sprintf("add %s = \"...\"", name), "the target needs a %s", name)
		}
		return s
	}
	switch t.Kind {
	case policies.Nomad:
		refuse(t.Kind, t.Name)
		ref := policies.Ref{Kind: t.Kind, Job: demand(t.Job, "job"), Group: d.String(t.Group), Namespace: d.String(t.Namespace)}
		if ref.Group == "" {
			ref.Group = ref.Job
		}
		switch {
		case c.Nomad == nil:
			d.Errorf(t.Range, "add nomad { }", "a nomad target needs a nomad block")
		case ref.Namespace == "":
			ref.Namespace = c.Nomad.Namespaces[0]
		case !slices.Contains(c.Nomad.Namespaces, ref.Namespace):
			d.Errorf(hclx.Place(t.Namespace), fmt.Sprintf("add %q to namespaces in the nomad block", ref.Namespace), "namespace %q may not be scaled", ref.Namespace)
		}
		return ref
	case policies.Process:
		refuse(t.Kind, t.Job, t.Group, t.Namespace)
		return policies.Ref{Kind: t.Kind, Process: demand(t.Name, "name")}
	}
	d.Errorf(t.Range, `one of "nomad", "process"`, "there is no target %q", t.Kind)
	return policies.Ref{}
}

// Abilities are what this configuration gives policies to work with.
func (c *Config) Abilities() policies.Abilities {
	return policies.Abilities{Prometheus: c.Prometheus != nil, Scrape: c.Scrape != nil, Interval: c.Interval}
}

// required reports a key that is missing in a block.
func required(d *hclx.Decoder, a hclx.Attr, name string, block hclx.Range) {
	if a == nil {
		d.Errorf(block, fmt.Sprintf("add %s = ...", name), "%s is missing", name)
	}
}

// names takes a list of names, each once.
func names(d *hclx.Decoder, a hclx.Attr) []string {
	var out []string
	for _, t := range d.Texts(a) {
		switch {
		case t.Value == "":
			d.Errorf(t.Range, "", "%s has an empty name in it", a.Name)
		case slices.Contains(out, t.Value):
			d.Errorf(t.Range, "", "%q is in %s twice", t.Value, a.Name)
		default:
			out = append(out, t.Value)
		}
	}
	return out
}
