package main

import (
	"cmp"
	"fmt"
	"strings"

	agentconfig "argosy/agent/config"
	"argosy/agent/register"
	"argosy/internal/consulacl"
	"argosy/namer/mounts"
	namerdconfig "argosy/namerd/config"
	schedulerconfig "argosy/scheduler/config"
)

// rights are what a configuration needs in Consul.
type rights struct {
	needs  []consulacl.Need
	others []otherConsul
}

// otherConsul is one that a namer asks in place of that of all the rest.
type otherConsul struct {
	who   string
	needs []consulacl.Need
}

func (r *rights) need(why, resource, name string, prefix bool, access string) {
	r.needs = append(r.needs, consulacl.Need{
		Right: consulacl.Right{Resource: resource, Name: name, Prefix: prefix, Access: access}, Why: why,
	})
}

// ofNamers adds what namers need, which may lead to any service.
func (r *rights) ofNamers(namers []mounts.Namer) {
	for _, n := range namers {
		if n.Consul == nil {
			continue
		}
		var own rights
		who := fmt.Sprintf("namer %s", n.Prefix)
		own.need(who+" finds the instances of services", "service", "", true, consulacl.Read)
		own.need(who+" finds the nodes of instances", "node", "", true, consulacl.Read)
		if n.Consul.At == nil {
			r.needs = append(r.needs, own.needs...)
		} else {
			r.others = append(r.others, otherConsul{who, own.needs})
		}
	}
}

func agentRights(c *agentconfig.Config) (r rights) {
	identity := func(who, service string) {
		if service != "" {
			r.need(who+": certificate and intentions", "service", service, false, consulacl.Write)
		}
	}
	if c.Admin.TLS != nil {
		identity("admin", c.Admin.TLS.Connect)
	}
	for _, l := range c.Listeners {
		who := fmt.Sprintf("listener %q", l.Name)
		if l.TLS != nil {
			identity(who, l.TLS.Connect)
		}
		if l.Register != nil {
			access := consulacl.Write
			if c.Register != nil && c.Register.Registration == register.External {
				access = consulacl.Read
			}
			r.need(who+": registration", "service", cmp.Or(l.Register.Service, c.Name), false, access)
		}
	}
	for _, client := range c.Clients {
		if client.TLS != nil {
			identity(fmt.Sprintf("client %q", client.Prefix), client.TLS.Connect)
		}
	}
	if c.Connect.Source == agentconfig.FromServers && c.Consul.Datacenter == "" {
		const why = "connect: which datacenter it is, where there are several; consul { datacenter } says it, too"
		r.need(why, "service", "consul", false, consulacl.Read)
		r.need(why, "node", "", true, consulacl.Read)
	}
	if c.Interpreter != nil {
		return r // it binds names elsewhere
	}
	r.ofNamers(c.Namers)
	if c.Dtab.Consul != nil {
		r.need("dtab: the table", "key", c.Dtab.Consul.PathPrefix+"/"+c.Dtab.Namespace, false, consulacl.Read)
	}
	return r
}

func namerdRights(c *namerdconfig.Config) (r rights) {
	if c.KV != nil {
		access := consulacl.Write
		if c.HTTP.ReadOnly {
			access = consulacl.Read
		}
		r.need("store: the tables and their histories", "key", c.KV.PathPrefix+"/", true, access)
	}
	r.ofNamers(c.Namers)
	return r
}

func schedulerRights(c *schedulerconfig.Config) (r rights) {
	for _, service := range c.Discovery.Services {
		r.need("discovery", "service", service, false, consulacl.Read)
	}
	if len(c.Discovery.Services) > 0 {
		r.need("discovery: the nodes of agents", "node", "", true, consulacl.Read)
	}
	return r
}

// policy is the text of a policy that gives the rights.
func (r rights) policy() string {
	var b strings.Builder
	if len(r.needs) == 0 {
		b.WriteString("# This configuration needs no rights in Consul.\n")
	}
	b.WriteString(consulacl.Policy(r.needs))
	for _, o := range r.others {
		fmt.Fprintf(&b, "\n# %s asks a Consul of its own. Its token there needs:\n#\n", o.who)
		for line := range strings.Lines(consulacl.Policy(o.needs)) {
			b.WriteString(strings.TrimRight("#   "+line, " \n") + "\n")
		}
	}
	return b.String()
}

// rule is a rule of a policy, for programs.
type rule struct {
	Resource string `json:"resource"` // service, service_prefix, node_prefix, key, key_prefix
	Name     string `json:"name"`
	Policy   string `json:"policy"`
	Why      string `json:"why"`
}

func rulesOf(needs []consulacl.Need) []rule {
	all := []rule{}
	for _, n := range consulacl.Merged(needs) {
		all = append(all, rule{n.Kind(), n.Name, n.Access, n.Why})
	}
	return all
}

// json is the policy for programs: its text, its rules, and those that are needed in other Consuls.
func (r rights) json() any {
	type other struct {
		Who   string `json:"who"`
		Rules []rule `json:"rules"`
	}
	others := []other{}
	for _, o := range r.others {
		others = append(others, other{o.who, rulesOf(o.needs)})
	}
	return map[string]any{"policy": r.policy(), "rules": rulesOf(r.needs), "other_consuls": others}
}
