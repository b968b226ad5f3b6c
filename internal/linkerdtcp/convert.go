// Package linkerdtcp turns configurations of linkerd-tcp into configurations of the agent. What has no equivalent is
// reported with its place and with what to do instead.
package linkerdtcp

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"argosy/dtab"
	"argosy/internal/hclx"
	"argosy/namerd/store"
)

// Finding is something in the YAML that is not in the result, or is not quite the same there.
type Finding struct {
	Line    int    `json:"line"`
	Column  int    `json:"column"`
	Key     string `json:"key"`
	Lost    bool   `json:"lost"` // there is no equivalent; otherwise only a difference to know
	Message string `json:"message"`
	Hint    string `json:"hint,omitempty"` // what to do instead
}

// Options may be left out.
type Options struct {
	Router string // take only the router with this label
}

// Result is a configuration for an agent, and what it lacks.
type Result struct {
	HCL      string
	Findings []Finding // in the order of the text
}

// Convert reads the text of a configuration, YAML or JSON, and calls it file in messages. What linkerd-tcp itself could
// not start with is an *hclx.Error; what it could and the agent cannot is among the findings.
func Convert(file string, text []byte, o Options) (Result, error) {
	r := &reader{file: file}
	root := r.parse(text)
	var c config
	if root != nil {
		c = r.config(root)
	}
	if len(r.problems) > 0 {
		slices.SortStableFunc(r.problems, func(a, b hclx.Problem) int {
			return cmp.Or(cmp.Compare(a.Line, b.Line), cmp.Compare(a.Column, b.Column))
		})
		return Result{}, &hclx.Error{Problems: r.problems, Syntax: root == nil}
	}
	if o.Router != "" {
		c.routers = slices.DeleteFunc(c.routers, func(x router) bool { return x.label != o.Router })
		if len(c.routers) == 0 {
			return Result{}, fmt.Errorf("%s has no router with the label %q", file, o.Router)
		}
	}
	p := r.plan(c)
	slices.SortStableFunc(r.findings, func(a, b Finding) int {
		return cmp.Or(cmp.Compare(a.Line, b.Line), cmp.Compare(a.Column, b.Column))
	})
	return Result{HCL: p.write(file, r.findings), Findings: r.findings}, nil
}

// plan is the agent's configuration to be.
type plan struct {
	name        string
	admin       *admin
	interpreter interpreter
	listeners   []listener
	clients     []client
	drain       time.Duration // 0: the default
}

type listener struct {
	name string
	server
	timeout time.Duration // 0: the default
}

// plan decides what becomes of the routers: of an agent that has one interpreter, and clients that hold for all.
func (r *reader) plan(c config) *plan {
	p := &plan{admin: c.admin, name: "linkerd-tcp"}
	if a := c.admin; a != nil && a.graceSecs >= 0 {
		p.drain = min(time.Duration(a.graceSecs)*time.Second, 24*time.Hour)
	}
	for i := range c.routers {
		r.checkInterpreter(&c.routers[i].interpreter)
	}
	first := c.routers[0]
	p.interpreter = first.interpreter
	if len(c.routers) == 1 && first.label != "" {
		p.name = cleanName(first.label)
	}
	taken := map[string]bool{}
	for _, router := range c.routers {
		i := router.interpreter
		if i.baseURL != p.interpreter.baseURL || i.namespace != p.interpreter.namespace {
			r.lost(i.node, "routers["+router.label+"]", "run another agent for it: -router "+router.label+" makes its configuration",
				"the router is left out: it asks another namerd or namespace than router %s, and an agent asks one", first.label)
			continue
		}
		if i.periodSecs != p.interpreter.periodSecs {
			p.interpreter.periodSecs = min(p.interpreter.periodSecs, i.periodSecs)
			r.note(i.node, "periodSecs", "", "differs between routers; the shortest is taken for all")
		}
		for n, s := range router.servers {
			name := cleanName(router.label)
			if n > 0 {
				name = fmt.Sprintf("%s-%d", name, n+1)
			}
			for base, k := name, 2; taken[name]; k++ {
				name = fmt.Sprintf("%s-%d", base, k)
			}
			taken[name] = true
			p.listeners = append(p.listeners, listener{name: name, server: s, timeout: r.listenerTimeout(s)})
		}
		r.addClients(p, router)
	}
	// The first block that fits applies here, so that what says most about a name comes first.
	slices.SortStableFunc(p.clients, func(a, b client) int { return cmp.Compare(len(b.prefix), len(a.prefix)) })
	return p
}

func (r *reader) checkInterpreter(i *interpreter) {
	if !store.ValidName(i.namespace) {
		r.lost(i.node, "namespace", "rename it in namerd: letters, digits, '-' and '_' are allowed", "namespace %q cannot be the name of a table", i.namespace)
	}
	i.baseURL = strings.TrimRight(i.baseURL, "/")
	if at := strings.LastIndex(i.baseURL, "@"); at >= 0 {
		scheme, _, _ := strings.Cut(i.baseURL, "://")
		i.baseURL = scheme + "://" + i.baseURL[at+1:]
		r.lost(i.node, "baseUrl", "give a token with token_file", "credentials in the URL are left out")
	}
	if i.periodSecs > 3600 {
		i.periodSecs = 3600
		r.note(i.node, "periodSecs", "", "is an hour at most")
	}
}

func (r *reader) listenerTimeout(s server) time.Duration {
	switch {
	case s.timeoutMs < 0:
		r.note(s.node, "connectTimeoutMs", "set connect_timeout for another time", "is not given: connections wait for 10s here, where linkerd-tcp lets them wait for ever")
		return 0
	case s.timeoutMs == 0:
		return time.Millisecond
	}
	return min(time.Duration(s.timeoutMs)*time.Millisecond, time.Hour)
}

// addClients adds how a router dials.
func (r *reader) addClients(p *plan, router router) {
	for _, c := range router.clients {
		if c.timeoutMs < 0 && c.tls == nil {
			continue // nothing is left of it
		}
		prefixes := []dtab.Path{c.prefix}
		if c.prefix == nil {
			prefixes = nil
			for _, s := range router.servers {
				if !slices.ContainsFunc(prefixes, s.dst.Equal) {
					prefixes = append(prefixes, s.dst)
				}
			}
		}
		for _, prefix := range prefixes {
			c.prefix = prefix
			r.addClient(p, c, router)
		}
	}
}

// addClient adds a block for one prefix, or what it says to the block that is there for it.
func (r *reader) addClient(p *plan, c client, router router) {
	for _, s := range router.servers {
		if len(s.dst) > len(c.prefix) && s.dst.HasPrefix(c.prefix) {
			r.note(c.node, "prefix", "", "%s: in linkerd-tcp the block holds for that very name only; here it holds for %s as well", c.prefix, s.dst)
		}
	}
	i := slices.IndexFunc(p.clients, func(x client) bool { return x.prefix.Equal(c.prefix) })
	if i < 0 {
		p.clients = append(p.clients, c)
		return
	}
	there := &p.clients[i]
	conflict := c.timeoutMs >= 0 && there.timeoutMs >= 0 && c.timeoutMs != there.timeoutMs ||
		c.tls != nil && there.tls != nil && *c.tls != *there.tls
	if conflict {
		r.lost(c.node, "client", "run another agent for one of them: -router LABEL makes its configuration",
			"%s is dialled in two ways, and only the one in line %d is taken", c.prefix, there.node.Line)
		return
	}
	there.timeoutMs = max(there.timeoutMs, c.timeoutMs)
	if there.tls == nil {
		there.tls = c.tls
	}
}

// cleanName makes a label a name: letters, digits, '.', '_' and '-', with a letter or digit in front.
func cleanName(label string) string {
	name := strings.Map(func(c rune) rune {
		switch {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9', c == '.', c == '_', c == '-':
			return c
		}
		return '-'
	}, label)
	if name = strings.TrimLeft(name, "._-"); name == "" {
		return "linkerd-tcp"
	}
	return name
}
