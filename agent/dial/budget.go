package dial

import (
	"sync"
	"time"
)

const (
	budgetSeconds = 10 // that are looked at
	budgetFloor   = 3  // retries per second beside the share
)

// Budget bounds the retries of one destination by its new connections, so that a cluster in trouble does not get many times
// its load: as Finagle's RetryBudget, by what has happened in the last ten seconds. The zero Budget is ready, and its
// methods may be called from any goroutine; they do not block.
type Budget struct {
	mu      sync.Mutex
	seconds [budgetSeconds]budgetSecond
}

type budgetSecond struct {
	second               int64
	connections, retries uint32
}

// slot is that of a second, emptied if it was another's. The lock is held.
func (b *Budget) slot(now time.Time) *budgetSecond {
	second := now.Unix()
	s := &b.seconds[uint64(second)%budgetSeconds]
	if s.second != second {
		s.second, s.connections, s.retries = second, 0, 0
	}
	return s
}

// Connection counts a new connection. A nil Budget counts nothing.
func (b *Budget) Connection(now time.Time) {
	if b == nil {
		return
	}
	b.mu.Lock()
	b.slot(now).connections++
	b.mu.Unlock()
}

// Retry reports whether there may be a retry, and counts it if so: while there were fewer than share for each connection,
// and three per second, over the last ten seconds. A nil Budget allows all.
func (b *Budget) Retry(now time.Time, share float64) bool {
	if b == nil {
		return true
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	current := b.slot(now)
	var connections, retries uint32
	for i := range b.seconds {
		if s := &b.seconds[i]; s.second > now.Unix()-budgetSeconds && s.second <= now.Unix() {
			connections += s.connections
			retries += s.retries
		}
	}
	if float64(retries)+1 > share*float64(connections)+budgetFloor*budgetSeconds {
		return false
	}
	current.retries++
	return true
}
