package agent

import (
	"sync"

	"github.com/hashicorp/go-hclog"
	"golang.org/x/time/rate"

	"argosy/agent/outcome"
)

// Of failed connections of one listener with one outcome, a few are logged at once and then one every few seconds.
const (
	warningsBurst   = 5
	warningsASecond = 0.2
)

// warnings logs failures without letting clients fill the log.
type warnings struct {
	mu    sync.Mutex
	kinds map[warningKind]*warningLimit
}

type warningKind struct {
	listener string
	outcome  outcome.Outcome
}

type warningLimit struct {
	*rate.Limiter
	left int // out since the last one that was logged
}

func (w *warnings) warn(logger hclog.Logger, listener string, o outcome.Outcome, message string, fields ...any) {
	w.mu.Lock()
	if w.kinds == nil {
		w.kinds = map[warningKind]*warningLimit{}
	}
	kind := warningKind{listener, o}
	l := w.kinds[kind]
	if l == nil {
		l = &warningLimit{Limiter: rate.NewLimiter(warningsASecond, warningsBurst)}
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
