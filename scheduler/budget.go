package scheduler

import (
	"fmt"
	"time"
)

const (
	freeFailures   = 5 // calls in a row that may fail before the next one has to wait
	firstPenalty   = 2 * time.Second
	longestPenalty = time.Minute
)

// budget keeps failing calls from becoming a storm. The zero value is ready.
type budget struct {
	failures int
	until    time.Time
	last     string
}

func (b *budget) failed(now time.Time, err error) {
	b.failures++
	b.last = err.Error()
	if over := b.failures - freeFailures; over >= 0 {
		b.until = now.Add(min(firstPenalty<<min(over, 10), longestPenalty))
	}
}

func (b *budget) succeeded() { *b = budget{} }

// closed says why no call may be made now, or nothing.
func (b *budget) closed(now time.Time) (why string, closed bool) {
	left := b.until.Sub(now)
	if left <= 0 || left > longestPenalty { // the latter after the clock was set back
		return "", false
	}
	return fmt.Sprintf("%d calls in a row have failed, the last with %q; the next may be made in %v",
		b.failures, b.last, left.Round(time.Second)), true
}
