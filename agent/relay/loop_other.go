//go:build !linux

package relay

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"time"

	"argosy/agent/outcome"
)

// Loop needs Linux: NewLoop says so. The rest is there so that callers compile.
type Loop struct{ Goroutines }

// NewLoop fails.
func NewLoop(Options) (*Loop, error) {
	return nil, fmt.Errorf("starting an event loop: %w on this system", errors.ErrUnsupported)
}

// Procs is 1.
func (l *Loop) Procs() int { return 1 }

// Close does nothing.
func (l *Loop) Close() {}

// Serve fails.
func (l *Loop) Serve(int, Handler) (stop func(), err error) { return nil, errors.ErrUnsupported }

// Handler is never called.
type Handler func(*Accepted)

// Accepted does not exist on this system.
type Accepted struct{}

func (a *Accepted) Remote() netip.AddrPort                                               { return netip.AddrPort{} }
func (a *Accepted) Local() netip.AddrPort                                                { return netip.AddrPort{} }
func (a *Accepted) FD() int                                                              { return -1 }
func (a *Accepted) Conn() (net.Conn, error)                                              { return nil, errors.ErrUnsupported }
func (a *Accepted) Abort()                                                               {}
func (a *Accepted) Dial(netip.AddrPort, func(int) error, time.Duration, func(err error)) {}
func (a *Accepted) Join(Pair, func(Result)) Link                                         { return nil }
func (a *Accepted) Cancel(outcome.Outcome)                                               {}

// pair and end are for Carrier, which is not driven here.
type (
	pair struct{}
	end  struct{}
)

func (c *Carrier) receive([]byte) (int, error) { return 0, errors.ErrUnsupported }
func (c *Carrier) queue([]byte) (int, error)   { return 0, errors.ErrUnsupported }
