package identity

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/hashicorp/consul/api"

	"argosy/internal/backoff"
	"argosy/internal/blockq"
	"argosy/internal/consulclient"
)

func (c *Connect) touch() { c.changed.Update(func(n uint64) uint64 { return n + 1 }) }

// watchIntentions follows the intentions that have us as their destination, wildcards included.
func (c *Connect) watchIntentions(ctx context.Context) {
	report := c.reporter("intentions", func() bool { return c.rules.Value().known })
	failing := true
	var kept keptRules
	// A denial is not to wait because somebody is writing intentions one after the other.
	blockq.Run(ctx, blockq.Options{Burst: 20}, c.askIntentions, func(m matched, meta *api.QueryMeta, err error) {
		report(err)
		if err != nil {
			failing = true
			return
		}
		if failing { // Consul may have come back with another configuration
			c.askDefault()
		}
		failing = false
		list, before := compile(m.list), c.rules.Value().list
		fresh := kept.since.IsZero()
		if !kept.count(len(list) == 0 && len(before) > 0, meta.LastIndex, m.domain, c.now()) {
			if fresh {
				c.logger.Warn("consul has lost the intentions: those before stay in force for a while", "for", moveGrace)
			}
			return
		}
		changed := c.rules.Update(func(r rules) rules {
			r.known, r.list = true, list
			return r
		})
		if !changed {
			return
		}
		c.logger.Debug("new intentions", "rules", len(list))
		for _, r := range list {
			if r.asks != "" && !slices.Contains(before, r) {
				c.logger.Warn(fmt.Sprintf("intention %s -> %s has %s; this listener is TCP: they cannot be enforced, so it is refused",
					r.source, c.service, r.asks))
			}
		}
		c.touch()
		c.askDefault()
	})
}

// matched is the answer to a match request.
type matched struct {
	list   []*api.Intention
	domain string // the trust domain that they belong to
}

// askIntentions asks for the intentions. Where there are none any more after trouble it makes sure of which cluster that
// is true. What is no answer to the question, such as null, must not be taken for no intentions. A server that has just been
// elected may still answer from a time before it was stopped, unless a consistent read is asked for.
func (c *Connect) askIntentions(q *api.QueryOptions) (m matched, _ *api.QueryMeta, _ error) {
	if t := c.trust.Value(); t != nil {
		m.domain = t.domain
	}
	q.RequireConsistent = q.WaitIndex == 0
	var found map[string][]*struct {
		api.Intention
		JWT *api.IntentionJWTRequirement // of the whole entry; the library's own request leaves it out
	}
	params := url.Values{"by": {string(api.IntentionMatchDestination)}, "name": {c.service}}
	meta, err := c.client.Raw().Query("/v1/connect/intentions/match", &found, q.WithContext(consulclient.WithParams(q.Context(), params)))
	if err != nil {
		return m, nil, err
	}
	list, ok := found[c.service]
	if !ok {
		return m, nil, fmt.Errorf("the answer says nothing about %s: this is not Consul", c.service)
	}
	for _, x := range list {
		if x == nil {
			continue
		}
		i := &x.Intention
		if x.JWT != nil && i.Action == api.IntentionActionAllow {
			i.Permissions = append(i.Permissions, &api.IntentionPermission{Action: i.Action, JWT: x.JWT})
		}
		m.list = append(m.list, i)
	}
	if len(list) == 0 && q.WaitIndex == 0 && len(c.rules.Value().list) > 0 {
		roots, _, err := c.client.Agent().ConnectCARoots((&api.QueryOptions{}).WithContext(q.Context()))
		if err != nil {
			return m, nil, fmt.Errorf("no intentions any more, and whether this is the same cluster is not known: %w", err)
		}
		m.domain = roots.TrustDomain
	}
	return m, meta, nil
}

func (c *Connect) askDefault() {
	select {
	case c.ask <- struct{}{}:
	default:
	}
}

// probe is a source that no service has, to find out what holds where no intention applies.
const probe = "argosy-default-intention-probe"

// defaultEvery is how often the default action is asked for when nothing suggests that it has changed.
const defaultEvery = 3 * time.Minute

// learnDefault finds out the default action. Consul tells it in no other way: the match answer leaves it out, and
// neither its header nor /v1/connect/intentions/check knows of default_intention_policy.
func (c *Connect) learnDefault(ctx context.Context) {
	report := c.reporter("authorize", func() bool { return c.rules.Value().complete() })
	pause := backoff.New(50*time.Millisecond, 5*time.Second)
	for {
		l, superseded := c.leaf.Load()
		if l == nil { // which has the datacenter and the trust domain
			if !waitFor(ctx, superseded, -1) {
				return
			}
			continue
		}
		settled, err := c.askAuthorize(ctx, l)
		if ctx.Err() != nil {
			return
		}
		report(err)
		wait := time.Duration(defaultEvery)
		if err != nil || !settled {
			wait = max(pause.Next(), blockq.RetryAfter(err))
		} else {
			pause.Reset()
		}
		if !waitFor(ctx, c.ask, wait) {
			return
		}
	}
}

// askAuthorize asks whether the probe may connect. It is not settled when Consul's cached answer and the intentions
// that we know disagree, which they do for some milliseconds after a change. The library's own request lets no context through.
func (c *Connect) askAuthorize(ctx context.Context, l *leaf) (settled bool, err error) {
	source := l.id
	source.Service = probe
	question := api.AgentAuthorizeParams{Target: c.service, ClientCertURI: source.String()}
	var answer api.AgentAuthorize
	if _, err := c.client.Raw().Write("/v1/agent/connect/authorize", question, &answer, (&api.WriteOptions{}).WithContext(ctx)); err != nil {
		return false, err
	}
	if answer.Reason == "" {
		return false, errors.New("the answer gives no reason: this is not Consul")
	}
	if strings.HasPrefix(answer.Reason, "Matched") {
		r := c.rules.Value()
		_, everybody := r.first(probe)
		if everybody && r.defaultKnown && c.now().Sub(c.learned) >= defaultEvery {
			// It cannot be asked for now, and must not hold for any longer when the intention about everybody goes.
			c.rules.Update(func(r rules) rules {
				r.defaultKnown, r.defaultAllow = false, false
				return r
			})
		}
		return everybody || !r.known, nil
	}
	c.learned = c.now()
	changed := c.rules.Update(func(r rules) rules {
		r.defaultKnown, r.defaultAllow = true, answer.Authorized
		return r
	})
	if changed {
		c.logger.Debug("default intention", "allow", answer.Authorized, "why", answer.Reason)
		c.touch()
	}
	return true, nil
}
