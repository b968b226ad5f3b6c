package agent

import (
	"fmt"
	"net/http"
	"time"
)

// DrainInfo is the answer of /drain.
type DrainInfo struct {
	Draining    bool       `json:"draining"`
	Accepting   bool       `json:"accepting"` // still, for those who have not heard of it yet
	Connections int        `json:"connections"`
	Deadline    *time.Time `json:"deadline,omitempty"` // what is open then is closed
}

// longestDrainWait is how long a request may wait for the end of a drain.
const longestDrainWait = 24 * time.Hour

func (a *Agent) drainInfo() DrainInfo {
	i := DrainInfo{Draining: a.draining.Load(), Connections: a.census.count(), Deadline: a.deadline.Load()}
	select {
	case <-a.closed:
	default:
		i.Accepting = true
	}
	return i
}

// serveDrain begins to drain. With wait it answers when no connection is left, or after that time with how far it is.
func (a *Agent) serveDrain(w http.ResponseWriter, r *http.Request) {
	var wait time.Duration
	if s := r.URL.Query().Get("wait"); s != "" {
		var err error
		if wait, err = time.ParseDuration(s); err != nil || wait < 0 || wait > longestDrainWait {
			http.Error(w, fmt.Sprintf("wait %q is no time up to %v: write for instance wait=30s", s, longestDrainWait), http.StatusBadRequest)
			return
		}
	}
	a.Drain()
	timer := time.NewTimer(wait)
	defer timer.Stop()
	status := http.StatusAccepted
	select {
	case <-a.drained:
		status = http.StatusOK
	case <-timer.C:
	case <-r.Context().Done():
		return
	}
	answer(w, status, a.drainInfo())
}
