package dev

import (
	"math"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"argosy/dtab"
	"argosy/internal/hclx"
	"argosy/scheduler/law"
)

// Config is a validated file of laptop mode.
type Config struct {
	Name     string    // the file's name without its ending, unless set
	Dtab     dtab.Dtab // of the namespace "default"
	Namerd   string    // host:port of the control API; a free loopback port unless set
	Services []Service
	Proxies  []Proxy
}

// Service is a command that is run some times on this machine and listed in the catalog under its name.
type Service struct {
	Name    string
	Command []string // with the placeholders of vars.go
	Env     []string // "KEY=value", with the same placeholders except for ports
	Ports   []string // labels; the first is the port that the catalog lists
	Scale   Scale
}

// Proxy is a fleet of agents that share one address.
type Proxy struct {
	Name        string
	Address     string // loopback host:port; port 0 for a free one
	Destination dtab.Path
	MTLS        bool          // clients need a certificate of the development CA
	Drain       time.Duration // how long connections of a stopped agent may go on
	Scale       Scale
}

// Scale says how many instances there are: Count, or what the scheduler makes of the load when there is a Policy.
type Scale struct {
	Count  int // to start with
	Policy *law.Policy
}

type rawFile struct {
	// What this is called in logs.
	Name hclx.Attr `hcl:"name,optional" type:"name"`
	// The table of the namespace "default", to begin with.
	Dtab     hclx.Attr     `hcl:"dtab" type:"dtab"`
	Namerd   *rawNamerd    `hcl:"namerd,block"`
	Services []*rawService `hcl:"service,block"`
	Proxies  []*rawProxy   `hcl:"proxy,block"`
}

type rawNamerd struct {
	// Where the control API listens.
	Address hclx.Attr `hcl:"address,optional" type:"address" default:"127.0.0.1:0"`
}

type rawService struct {
	Name string `hcl:"name,label"`
	// Program and arguments.
	Command hclx.Attr `hcl:"command" type:"strings"`
	// Further environment variables.
	Env hclx.Attr `hcl:"env,optional" type:"map"`
	// Labels of the ports that each instance gets; the first one is listed in the catalog.
	Ports    hclx.Attr  `hcl:"ports,optional" type:"strings"`
	Count    hclx.Attr  `hcl:"count,optional" type:"int"`
	Min      hclx.Attr  `hcl:"min,optional" type:"int"`
	Max      hclx.Attr  `hcl:"max,optional" type:"int"`
	Target   hclx.Attr  `hcl:"target_value,optional" type:"number"`
	Up       hclx.Attr  `hcl:"cooldown_up,optional" type:"duration" default:"2s"`
	Down     hclx.Attr  `hcl:"cooldown_down,optional" type:"duration" default:"10s"`
	DefRange hclx.Range `hcl:",def_range"`
	Label    hclx.Range `hcl:"name,label_range"`
}

type rawProxy struct {
	Name string `hcl:"name,label"`
	// The address that all agents of the fleet share.
	Address hclx.Attr `hcl:"address,optional" type:"address" default:"127.0.0.1:0"`
	// The name that connections are for.
	Destination hclx.Attr `hcl:"destination" type:"path"`
	// Whether clients need a certificate of the development CA.
	MTLS hclx.Attr `hcl:"mtls,optional" type:"bool"`
	// How long the connections of a stopped agent may go on.
	Drain    hclx.Attr  `hcl:"drain_timeout,optional" type:"duration" default:"15s"`
	Count    hclx.Attr  `hcl:"count,optional" type:"int"`
	Min      hclx.Attr  `hcl:"min,optional" type:"int"`
	Max      hclx.Attr  `hcl:"max,optional" type:"int"`
	Target   hclx.Attr  `hcl:"target_value,optional" type:"number"`
	Up       hclx.Attr  `hcl:"cooldown_up,optional" type:"duration" default:"2s"`
	Down     hclx.Attr  `hcl:"cooldown_down,optional" type:"duration" default:"10s"`
	DefRange hclx.Range `hcl:",def_range"`
	Label    hclx.Range `hcl:"name,label_range"`
}

// Bounds of a file: this is for one machine.
const (
	mostInstances = 64
	longest       = time.Hour
)

var portLabel = regexp.MustCompile(`^[a-z][a-z0-9_]*$`)

// Load reads and checks a file. A wrong file is refused as a whole, with all of its mistakes.
func Load(path string) (*Config, error) {
	var raw rawFile
	d := hclx.Decode([]string{path}, &raw)
	if !d.Loaded() {
		return nil, d.Err()
	}
	c := &Config{
		Name:   strings.TrimSuffix(filepath.Base(path), filepath.Ext(path)),
		Dtab:   d.Dtab(raw.Dtab),
		Namerd: d.Address(hclx.OrDefault(raw.Namerd).Address),
	}
	if raw.Name != nil {
		c.Name = d.Name(raw.Name)
	}
	names := map[string]hclx.Range{}
	name := func(kind, name string, at hclx.Range) {
		d.CheckName(kind, hclx.Text{Value: name, Range: at})
		if first, ok := names[name]; ok {
			d.Errorf(at, "the first is at "+hclx.At(first), "the name %q is used twice", name)
		}
		names[name] = at
	}
	var proxies []string
	for _, r := range raw.Proxies {
		name("proxy", r.Name, r.Label)
		proxies = append(proxies, r.Name)
		p := Proxy{Name: r.Name, Address: d.Address(r.Address), Destination: d.Path(r.Destination), MTLS: d.Bool(r.MTLS),
			Drain: d.Duration(r.Drain, 0, longest)}
		p.Scale = scale(d, r.Count, r.Min, r.Max, r.Target, r.Up, r.Down, r.DefRange)
		for i, other := range c.Proxies {
			if hclx.SamePort(p.Address, other.Address) {
				d.Errorf(hclx.Place(r.Address), "", "proxy %q listens there already", raw.Proxies[i].Name)
			}
		}
		c.Proxies = append(c.Proxies, p)
	}
	for _, r := range raw.Services {
		name("service", r.Name, r.Label)
		s := Service{Name: r.Name}
		for _, t := range d.Texts(r.Ports) {
			if !portLabel.MatchString(t.Value) {
				d.Errorf(t.Range, "small letters, digits and _, such as \"http\"", "%q is no label for a port", t.Value)
			} else if slices.Contains(s.Ports, t.Value) {
				d.Errorf(t.Range, "", "the port %q is listed twice", t.Value)
			}
			s.Ports = append(s.Ports, t.Value)
		}
		s.Command = commandOf(d, r.Command, s.Ports, proxies)
		s.Env = envOf(d, r.Env, proxies)
		s.Scale = scale(d, r.Count, r.Min, r.Max, r.Target, r.Up, r.Down, r.DefRange)
		c.Services = append(c.Services, s)
	}
	if len(c.Services)+len(c.Proxies) == 0 {
		d.Errorf(hclx.Range{Filename: path}, `write service "web" { ... } and proxy "web" { ... }`, "there is nothing to run")
	}
	if err := d.Err(); err != nil {
		return nil, err
	}
	return c, nil
}

// scale reads a fixed count, or a policy: it takes min, max and target_value together.
func scale(d *hclx.Decoder, count, low, high, target, up, down hclx.Attr, at hclx.Range) Scale {
	if low == nil && high == nil && target == nil {
		s := Scale{Count: 1}
		if count != nil {
			s.Count = d.Int(count, 0, mostInstances)
		}
		return s
	}
	if low == nil || high == nil || target == nil {
		d.Errorf(at, "give all three to let the load decide, or count alone", "min, max and target_value belong together")
		return Scale{}
	}
	p := &law.Policy{
		TargetValue: d.Float(target, math.SmallestNonzeroFloat64, math.MaxFloat64), Tolerance: 0.1,
		Min: d.Int(low, 0, mostInstances), Max: d.Int(high, 1, mostInstances),
		CooldownUp: d.Duration(up, 0, longest), CooldownDown: d.Duration(down, 0, longest),
		MaxAge: maxAge,
	}
	p.DownWindow = p.CooldownDown
	if p.Max > 0 && p.Min > p.Max {
		d.Errorf(hclx.Place(low), "", "min is %d, above max, which is %d", p.Min, p.Max)
	}
	s := Scale{Count: p.Min, Policy: p}
	if count != nil {
		s.Count = d.Int(count, p.Min, p.Max)
	}
	return s
}
