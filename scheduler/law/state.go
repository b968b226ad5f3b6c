package law

import "time"

// State is what the law remembers of the past. The zero State remembers nothing, and nothing is shrunk until good data
// has covered the down window. A State is a value: the functions that "change" one return a new one.
type State struct {
	LastUp   time.Time // when the last step up was accepted
	LastDown time.Time

	since   time.Time // since when good data has come without an outage
	last    time.Time // the last good and complete sample
	value   float64   // its value
	suspect time.Time // since when values have been too high to be believed
	peaks   []point   // of the window: falling values, rising times, so the first is the highest
}

type point struct {
	at    time.Time
	value float64
}

// Acted returns the state after a step that the target has accepted.
func (s State) Acted(now time.Time, d Decision) State {
	switch d.Action {
	case Up:
		s.LastUp = now
	case Down:
		s.LastDown = now
	}
	return s
}

// unjump returns the state with no time after now: when the clock has been set back, cooldowns start anew instead of
// lasting until the clock has caught up.
func (s State) unjump(now time.Time) State {
	for _, t := range []*time.Time{&s.LastUp, &s.LastDown, &s.since, &s.last, &s.suspect} {
		if t.After(now) {
			*t = now
		}
	}
	if n := len(s.peaks); n > 0 && s.peaks[n-1].at.After(now) {
		moved := make([]point, n)
		for i, p := range s.peaks {
			if p.at.After(now) {
				p.at = now
			}
			moved[i] = p
		}
		s.peaks = moved
	}
	return s
}

// observed returns the state with a good value. An incomplete one counts for the peak only: it may be too low, so it
// proves nothing about the load having been low.
func (s State) observed(now time.Time, value float64, complete bool, p Policy) State {
	if complete {
		if s.last.IsZero() || now.Sub(s.last) > outage(p) {
			s.since = now
		}
		s.last, s.value = now, value
	}
	peaks := make([]point, 0, len(s.peaks)+1)
	for _, q := range s.peaks {
		if now.Sub(q.at) <= p.DownWindow && q.value > value {
			peaks = append(peaks, q)
		}
	}
	s.peaks = append(peaks, point{now, value})
	return s
}

// peak is the highest value in the window.
func (s State) peak() float64 {
	if len(s.peaks) == 0 {
		return 0
	}
	return s.peaks[0].value
}

// covered reports whether good data has come for the whole window.
func (s State) covered(now time.Time, p Policy) bool {
	return !s.since.IsZero() && now.Sub(s.since) >= p.DownWindow && now.Sub(s.last) <= outage(p)
}

// outage is how long complete data may be away before what came earlier proves nothing any more.
func outage(p Policy) time.Duration { return p.MaxAge }
