package identity

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/hashicorp/consul/api"
	"github.com/hashicorp/go-hclog"

	"argosy/internal/backoff"
	"argosy/internal/blockq"
)

func (c *Connect) touch() { c.changed.Update(func(n uint64) uint64 { return n + 1 }) }

// watchIntentions follows the intentions that have us as their destination, wildcards included.
func (c *Connect) watchIntentions(ctx context.Context) {
	report := c.reporter("intentions")
	failing := true
	blockq.Run(ctx, blockq.Options{}, func(q *api.QueryOptions) ([]*api.Intention, *api.QueryMeta, error) {
		m := &api.IntentionMatch{By: api.IntentionMatchDestination, Names: []string{c.service}}
		found, meta, err := c.client.Connect().IntentionMatch(m, q)
		return found[c.service], meta, err
	}, func(found []*api.Intention, _ *api.QueryMeta, err error) {
		report(err)
		if err != nil {
			failing = true
			return
		}
		list, before := compile(found), c.rules.Value().list
		changed := c.rules.Update(func(r rules) rules {
			r.known, r.list = true, list
			return r
		})
		if changed {
			c.logger.Debug("new intentions", "rules", len(list))
			for _, r := range list {
				if r.http && !slices.Contains(before, r) {
					c.logger.Warn(fmt.Sprintf("intention %s -> %s has HTTP permissions; this listener is TCP: they cannot be enforced, so it is refused",
						r.source, c.service))
				}
			}
			c.touch()
		}
		if changed || failing { // Consul may have come back with another configuration
			c.askDefault()
		}
		failing = false
	})
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
	report := c.reporter("authorize")
	pause := backoff.New(50*time.Millisecond, 5*time.Second)
	for {
		l, superseded := c.leaf.Load()
		if l == nil { // which has the datacenter and the trust domain
			if !waitFor(ctx, superseded, -1) {
				return
			}
			continue
		}
		settled, err := c.askAuthorize(l)
		if ctx.Err() != nil {
			return
		}
		report(err)
		wait := time.Duration(defaultEvery)
		if err != nil || !settled {
			wait = pause.Next()
		} else {
			pause.Reset()
		}
		if !waitFor(ctx, c.ask, wait) {
			return
		}
	}
}

// askAuthorize asks whether the probe may connect. It is not settled when Consul's cached answer and the intentions
// that we know disagree, which they do for some milliseconds after a change. The request has the client's own time
// limit: the library lets no context through.
func (c *Connect) askAuthorize(l *leaf) (settled bool, err error) {
	source := l.id
	source.Service = probe
	answer, err := c.client.Agent().ConnectAuthorize(&api.AgentAuthorizeParams{Target: c.service, ClientCertURI: source.String()})
	if err != nil {
		return false, err
	}
	if strings.HasPrefix(answer.Reason, "Matched") {
		r := c.rules.Value()
		_, everybody := r.first(probe)
		return everybody || !r.known, nil
	}
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

func (c *Connect) reporter(request string) func(error) {
	return reporter(c.logger, c.metrics, c.service, request)
}

// reporter logs the first error of a kind of request, and its end, and counts them all. It is for one goroutine.
func reporter(logger hclog.Logger, m *metrics, service, request string) func(error) {
	failing := false
	return func(err error) {
		if err == nil {
			m.answered.WithLabelValues(service, request).SetToCurrentTime()
			if failing {
				logger.Info("consul answers again", "request", request)
			}
			failing = false
			return
		}
		m.errors.WithLabelValues(service, request).Inc()
		if failing {
			logger.Debug("consul still cannot be asked", "request", request, "error", err)
		} else {
			logger.Warn("consul cannot be asked: what is known stays in force", "request", request, "error", err)
		}
		failing = true
	}
}
