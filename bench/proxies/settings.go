// Package proxies does the same work through several proxies in one run, and compares what it costs: no proxy, this
// project's with either engine, HAProxy, nginx, and the proxy that is built into Consul. All is on the loopback interface.
// The rounds of the proxies are interleaved, so that what else the machine does hits all alike.
package proxies

import (
	"fmt"
	"io"
	"time"
)

// Settings say what is measured, and for how long.
type Settings struct {
	Argosy   string        // the program
	Machine  string        // what it is measured on, in words
	Rounds   int           // how often each figure is taken
	Slice    time.Duration // one measurement
	Rest     time.Duration // what is at rest is looked at for so long
	Idle     int           // connections that do nothing
	Churn    int           // connections that come and go, ten times
	Peers    []string      // only these; all unless set
	Progress io.Writer
}

// Full and Quick are for a figure in the documentation, and for a first look.
func Full() Settings {
	return Settings{Rounds: 3, Slice: 2 * time.Second, Rest: 10 * time.Second, Idle: 10_000, Churn: 20_000}
}

// Quick takes about three minutes.
func Quick() Settings {
	return Settings{Rounds: 1, Slice: 600 * time.Millisecond, Rest: time.Second, Idle: 1_000, Churn: 1_000}
}

// Check is an error when the settings make no sense.
func (s Settings) Check() error {
	if s.Rounds < 1 || s.Rounds > 100 {
		return fmt.Errorf("-rounds is %d, not from 1 to 100", s.Rounds)
	}
	if s.Slice < 100*time.Millisecond || s.Slice > 30*time.Second {
		return fmt.Errorf("-slice is %v, not from 100ms to 30s", s.Slice)
	}
	if s.Idle < 10 || s.Idle > 10_000 {
		return fmt.Errorf("-idle is %d, not from 10 to 10000", s.Idle)
	}
	return nil
}
