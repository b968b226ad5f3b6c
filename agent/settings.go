package agent

import (
	"strconv"
	"time"

	"argosy/agent/balance"
	"argosy/agent/config"
	"argosy/agent/socket"
	"argosy/dtab"
)

// Setting is one that is in force.
type Setting struct {
	Value string `json:"value"` // times as in 1m30s; 0 and 0s are none, or no limit
	From  string `json:"from"`  // default, listener NAME or client PREFIX; a value that is the default's counts as such
}

// Settings are by their keys in the configuration, with those of blocks inside as limits.rate.
type Settings map[string]Setting

// PathSettings are what holds for connections that come by one listener and go by one client block.
type PathSettings struct {
	Listener string   `json:"listener"`
	Client   string   `json:"client,omitempty"` // prefix of the block; empty: none fits
	Clusters []string `json:"clusters"`         // that it fits
	Settings Settings `json:"settings"`
}

// fromDefault is where a setting comes from that nobody has set.
const fromDefault = "default"

// differences are the settings of one block, each from the block where it differs from the default.
func differences(block string, values, defaults map[string]string) Settings {
	s := make(Settings, len(values))
	for key, v := range values {
		from := fromDefault
		if v != defaults[key] {
			from = block
		}
		s[key] = Setting{v, from}
	}
	return s
}

func number(f float64) string { return strconv.FormatFloat(f, 'g', -1, 64) }

func socketValues(to map[string]string, o socket.Options) {
	to["socket.no_delay"] = strconv.FormatBool(o.NoDelay)
	to["socket.keepalive"] = o.KeepAlive.String()
	to["socket.user_timeout"] = o.UserTimeout.String()
	to["socket.mark"] = strconv.Itoa(o.Mark)
}

func listenerValues(c config.Listener) map[string]string {
	v := map[string]string{
		"max_connections": strconv.Itoa(c.MaxConnections), "limits.connections_per_source": strconv.Itoa(c.Limits.PerSource),
		"limits.rate": number(c.Limits.Rate), "limits.burst": strconv.Itoa(c.Limits.Burst), "limits.at_limit": c.Limits.AtLimit,
		"limits.queue": strconv.Itoa(c.Limits.QueueLength), "limits.queue_timeout": c.Limits.QueueTimeout.String(),
		"limits.handshakes": strconv.Itoa(c.Limits.Handshakes),
		"handshake_timeout": c.Timeouts.Handshake.String(), "connect_timeout": c.ConnectTimeout.String(),
		"lifetime_jitter": number(c.Timeouts.LifetimeJitter), "socket.fast_open": strconv.Itoa(c.FastOpen),
	}
	for key, d := range sharedTimeouts(c.Timeouts) {
		v[key] = d.String()
	}
	socketValues(v, c.Socket)
	if c.SNI != nil {
		v["sni.timeout"] = c.SNI.Timeout.String()
	}
	if c.TLS.AsksClients() {
		v["tls.on_deny"], v["tls.deny_grace"], v["tls.deny_rate"] = c.Deny.Action, c.Deny.Grace.String(), number(c.Deny.Rate)
	}
	return v
}

// sharedTimeouts are those that a client block may set otherwise.
func sharedTimeouts(t config.Timeouts) map[string]time.Duration {
	return map[string]time.Duration{
		"first_byte_timeout": t.FirstByte, "idle_timeout": t.Idle, "half_close_timeout": t.HalfClose, "max_lifetime": t.Lifetime,
	}
}

func clientValues(c config.Client) map[string]string {
	v := map[string]string{
		"connect_timeout": c.ConnectTimeout.String(), "retries": strconv.Itoa(c.Retries), "retry_budget": number(c.RetryBudget),
		"max_connections": strconv.Itoa(c.MaxConnections), "at_limit": c.AtLimit, "proxy_protocol": c.ProxyProtocol,
		"socket.fast_open": strconv.FormatBool(c.FastOpen),
		"balance.policy":   c.Balance.Policy, "balance.hash_on": c.Balance.HashOn, "balance.slow_start": c.Balance.SlowStart.String(),
		"ejection.failures": strconv.Itoa(c.Ejection.Failures), "ejection.resets": strconv.Itoa(c.Ejection.Resets),
		"ejection.time": c.Ejection.Time.String(), "ejection.max_time": c.Ejection.MaxTime.String(),
		"ejection.max_share": number(c.Ejection.MaxShare),
		"removed.action":     c.Removed.Action, "removed.after": c.Removed.After.String(), "removed.rate": number(c.Removed.Rate),
	}
	socketValues(v, c.Socket)
	if r := c.Rebalance; r != nil {
		v["rebalance.rate"], v["rebalance.quiet"] = number(r.Rate), r.Quiet.String()
	}
	return v
}

// settingsOf works out what is in force in a generation, each thing once. It is used by one goroutine.
type settingsOf struct {
	g         *generation
	listeners map[*listener]Settings
	paths     map[pathKey]Settings
}

type pathKey struct {
	listener *listener
	rule     *clientRule
}

func newSettingsOf(g *generation) *settingsOf {
	return &settingsOf{g: g, listeners: map[*listener]Settings{}, paths: map[pathKey]Settings{}}
}

// listener returns the settings of the listener itself.
func (s *settingsOf) listener(l *listener) Settings {
	if s.listeners[l] == nil {
		d := config.DefaultListener()
		d.SNI, d.TLS = config.DefaultSNI(), l.config.TLS
		s.listeners[l] = differences("listener "+l.name, listenerValues(l.config), listenerValues(d))
	}
	return s.listeners[l]
}

// path returns what holds from l to the endpoints by a client block.
func (s *settingsOf) path(l *listener, rule *clientRule) Settings {
	key := pathKey{l, rule}
	if all := s.paths[key]; all != nil {
		return all
	}
	c, block := rule.config, "client "+rule.prefix.String()
	all := differences(block, clientValues(c), clientValues(config.DefaultClient()))
	for key, d := range map[string]*time.Duration{
		"first_byte_timeout": c.Timeouts.FirstByte, "idle_timeout": c.Timeouts.Idle,
		"half_close_timeout": c.Timeouts.HalfClose, "max_lifetime": c.Timeouts.Lifetime,
	} {
		if all[key] = s.listener(l)[key]; d != nil {
			all[key] = Setting{d.String(), block}
		}
	}
	s.paths[key] = all
	return all
}

// leadsTo reports whether connections of the listener may go to a name.
func (l *listener) leadsTo(name dtab.Path) bool {
	s := l.config.SNI
	if s == nil {
		return l.config.Destination.Equal(name)
	}
	for _, route := range s.ALPN {
		if route.Name.Equal(name) {
			return true
		}
	}
	return s.Default.Equal(name) || name.HasPrefix(s.Prefix)
}

// destination returns the ways to a destination, with what holds on each.
func (s *settingsOf) destination(d *destination) []PathSettings {
	all := []PathSettings{}
	for _, l := range s.g.listeners {
		if !l.leadsTo(d.name) {
			continue
		}
		byRule := map[*clientRule]int{} // into all
		for _, c := range d.binding.Value().Clusters {
			rule := s.g.client(c.ID, d.name)
			i, ok := byRule[rule]
			if !ok {
				i = len(all)
				byRule[rule] = i
				p := PathSettings{Listener: l.name, Clusters: []string{}, Settings: s.path(l, rule)}
				if rule != &s.g.otherwise {
					p.Client = rule.prefix.String()
				}
				all = append(all, p)
			}
			all[i].Clusters = append(all[i].Clusters, balance.Key(c.ID))
		}
	}
	return all
}
