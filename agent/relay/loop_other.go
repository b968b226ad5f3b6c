//go:build !linux

package relay

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"time"

	"github.com/hashicorp/go-hclog"
)

// Loop is the event loop, which there is on Linux only.
type Loop struct{ *Goroutines }

// LoopOptions are all optional.
type LoopOptions struct {
	Workers int
	Logger  hclog.Logger
}

// NewLoop returns errors.ErrUnsupported.
func NewLoop(LoopOptions) (*Loop, error) {
	return nil, fmt.Errorf("event loop: %w", errors.ErrUnsupported)
}

// Procs is of no use.
func (l *Loop) Procs() int { return 0 }

// Close does nothing.
func (l *Loop) Close() {}

// Handler is called with accepted connections.
type Handler func(f *Flow, from netip.AddrPort)

// Serve returns errors.ErrUnsupported.
func (l *Loop) Serve(int, Handler) (stop func(), err error) { return nil, errors.ErrUnsupported }

// Flow is a connection on the event loop: there is none.
type Flow struct{ Link }

// ErrClientGone means that the client has reset its connection.
var ErrClientGone = errors.New("the client is gone")

// Local is of no use.
func (f *Flow) Local() netip.AddrPort { return netip.AddrPort{} }

// Conn returns errors.ErrUnsupported.
func (f *Flow) Conn() (net.Conn, error) { return nil, errors.ErrUnsupported }

// Abort does nothing.
func (f *Flow) Abort() {}

// Dial fails.
func (f *Flow) Dial(_ netip.AddrPort, _ func(int) error, _ time.Duration, done func(error)) {
	done(errors.ErrUnsupported)
}

// Send returns errors.ErrUnsupported.
func (f *Flow) Send([]byte) error { return errors.ErrUnsupported }

// Cancel does nothing.
func (f *Flow) Cancel(error) {}

// Join is of no use.
func (f *Flow) Join(Pair, func(Result)) Link { return f }
