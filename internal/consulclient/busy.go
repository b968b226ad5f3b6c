package consulclient

import (
	"fmt"
	"net/http"
	"strconv"
	"time"
)

// BusyError is an answer by which Consul asks to be left alone for a while.
type BusyError struct {
	Code  int // 429 or 503
	Text  string
	After time.Duration
}

func (e *BusyError) Error() string {
	return fmt.Sprintf("consul is busy: %d %s, retry after %v", e.Code, e.Text, e.After)
}

// RetryAfter returns for how long Consul wants to be left alone.
func (e *BusyError) RetryAfter() time.Duration { return e.After }

// retryAfter reads the header of that name (RFC 9110, section 10.2.3) from answers to which it matters.
func retryAfter(r *http.Response) (time.Duration, bool) {
	if r.StatusCode != http.StatusTooManyRequests && r.StatusCode != http.StatusServiceUnavailable {
		return 0, false
	}
	// The health endpoints for single services answer 429 and 503 with a body that matters, and without the header.
	header := r.Header.Get("Retry-After")
	if seconds, err := strconv.Atoi(header); err == nil && seconds >= 0 {
		return time.Duration(seconds) * time.Second, true
	}
	if at, err := http.ParseTime(header); err == nil {
		return max(time.Until(at), 0), true
	}
	return 0, false
}
