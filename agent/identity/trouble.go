package identity

import (
	"fmt"
	"sync"

	"github.com/hashicorp/go-hclog"
)

// trouble is why Consul does not answer requests of a kind now, for errors about what has not come yet. Its methods may
// be called from any goroutine.
type trouble struct {
	mu   sync.Mutex
	last map[string]error // by the kind of request; there is none for those that were answered last
}

// longestTrouble bounds what an error says of another one, in bytes: part of it may be Consul's answer.
const longestTrouble = 500

func (t *trouble) note(request string, err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if err == nil {
		delete(t.last, request)
		return
	}
	if t.last == nil {
		t.last = make(map[string]error)
	}
	t.last[request] = err
}

// missing is an ErrNotReady that says what has not come, and why: by the first of the kinds of requests that fails now.
func (t *trouble) missing(what string, requests ...string) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, request := range requests {
		if err := t.last[request]; err != nil {
			text := err.Error()
			return fmt.Errorf("%w: %s: %s", ErrNotReady, what, text[:min(len(text), longestTrouble)])
		}
	}
	return fmt.Errorf("%w: %s", ErrNotReady, what)
}

// What an identity can lack, and the kinds of requests that would bring it.

func (c *Connect) noCertificate() error {
	return c.trouble.missing(c.service+": no certificate from Consul yet", "leaf", "roots")
}

func (c *Connect) noRoots() error {
	return c.trouble.missing(c.service+": no roots from Consul yet", "roots")
}

func (c *Connect) noIntentions() error {
	return c.trouble.missing(c.service+": no intentions from Consul yet", "intentions", "authorize")
}

// reporter returns the function that takes up how each request of a kind has ended. It is for one goroutine.
func (c *Connect) reporter(request string, known func() bool) func(error) {
	return reporter(c.logger, c.metrics, &c.trouble, c.service, request, known)
}

// reporter logs the first error of a kind of request, and its end, and counts them all. known reports whether there is an
// answer from before. The function is for one goroutine.
func reporter(logger hclog.Logger, m *metrics, t *trouble, service, request string, known func() bool) func(error) {
	failing := false
	return func(err error) {
		t.note(request, err)
		if err == nil {
			m.answered.WithLabelValues(service, request).SetToCurrentTime()
			if failing {
				logger.Info("consul answers again", "request", request)
			}
			failing = false
			return
		}
		m.errors.WithLabelValues(service, request).Inc()
		switch {
		case failing:
			logger.Debug("consul still cannot be asked", "request", request, "error", err)
		case known():
			logger.Warn("consul cannot be asked: what is known stays in force", "request", request, "error", err)
		default:
			logger.Warn("consul cannot be asked, and nothing is known yet: nobody is let in, or dialled, before it answers",
				"request", request, "error", err)
		}
		failing = true
	}
}
