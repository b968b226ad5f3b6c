package agent

import (
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"
	"golang.org/x/time/rate"

	"argosy/agent/outcome"
)

// Of failed connections of one listener with one outcome, a few are logged at once and then one every few seconds.
const (
	warningsBurst   = 5
	warningsASecond = 0.2
)

// denialsEvery is how often it is said that the servers of one name refuse us: until somebody allows it, all of its
// connections end so.
const denialsEvery = time.Minute

// warnings logs failures without letting clients fill the log.
type warnings struct {
	mu    sync.Mutex
	kinds map[warningKind]*warningLimit
}

type warningKind struct {
	listener string // "": for all of them
	outcome  outcome.Outcome
	name     string // of the connections, where it is only about these
}

type warningLimit struct {
	*rate.Limiter
	left int // out since the last one that was logged
}

// warn logs a failure of a listener's connections.
func (w *warnings) warn(logger hclog.Logger, listener string, o outcome.Outcome, message string, fields ...any) {
	w.write(logger, warningKind{listener: listener, outcome: o}, warningsASecond, warningsBurst, message, fields)
}

// denied logs that the servers of a name refuse us. The name is the one that metrics have.
func (w *warnings) denied(logger hclog.Logger, name string, fields ...any) {
	kind := warningKind{outcome: outcome.Denied, name: name}
	w.write(logger, kind, rate.Every(denialsEvery), 1, "connection denied by the server", fields)
}

func (w *warnings) write(logger hclog.Logger, kind warningKind, limit rate.Limit, burst int, message string, fields []any) {
	w.mu.Lock()
	if w.kinds == nil {
		w.kinds = map[warningKind]*warningLimit{}
	}
	l := w.kinds[kind]
	if l == nil {
		l = &warningLimit{Limiter: rate.NewLimiter(limit, burst)}
		w.kinds[kind] = l
	}
	if !l.Allow() {
		l.left++
		w.mu.Unlock()
		logger.Debug(message, fields...)
		return
	}
	left := l.left
	l.left = 0
	w.mu.Unlock()
	if left > 0 {
		fields = append(fields, "same_not_logged", left)
	}
	logger.Warn(message, fields...)
}
