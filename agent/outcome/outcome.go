// Package outcome has the words for how a connection ended. The same word stands in the log, in the metric and in the
// API, so that one can search for it everywhere.
package outcome

import (
	"errors"
	"fmt"
)

// Outcome is how a connection ended. Every connection ends with exactly one.
type Outcome string

// The outcomes.
const (
	OK             Outcome = "ok"              // both sides closed in an orderly way
	NoRoute        Outcome = "no_route"        // the name stands for nothing, or there was no name
	Empty          Outcome = "empty"           // the name stands for clusters that have no endpoints
	PendingTimeout Outcome = "pending_timeout" // what the name stands for was not known in time
	Dial           Outcome = "dial"            // no endpoint could be connected
	TLS            Outcome = "tls"             // a TLS handshake failed, on either side, or the ClientHello was none
	Denied         Outcome = "denied"          // refused by authorisation, on either side
	Reset          Outcome = "reset"           // one side broke the connection off
	Idle           Outcome = "idle"            // no bytes for the idle timeout
	HalfClose      Outcome = "half_close"      // one side had ended, and the other was silent for too long
	Lifetime       Outcome = "lifetime"        // open for the longest time allowed
	Drained        Outcome = "drained"         // cut because the agent was leaving, or to go to another endpoint
	Closed         Outcome = "closed"          // ended by an operator
	Limit          Outcome = "limit"           // refused at a limit of the listener or the cluster
)

// All returns every outcome, in a fixed order.
func All() []Outcome {
	return []Outcome{OK, NoRoute, Empty, PendingTimeout, Dial, TLS, Denied, Reset, Idle, HalfClose, Lifetime, Drained, Closed, Limit}
}

// Failed reports whether the outcome is one that an operator should hear of.
func (o Outcome) Failed() bool {
	switch o {
	case OK, Idle, HalfClose, Lifetime, Reset, Drained, Closed:
		return false
	}
	return true
}

// Error is an error that ends a connection with a certain outcome.
type Error struct {
	Outcome Outcome
	Err     error
}

// Wrap makes an Error.
func Wrap(o Outcome, err error) *Error { return &Error{Outcome: o, Err: err} }

// Errorf makes an Error from a format, as fmt.Errorf does.
func Errorf(o Outcome, format string, a ...any) *Error {
	return &Error{Outcome: o, Err: fmt.Errorf(format, a...)}
}

func (e *Error) Error() string { return e.Err.Error() }

// Unwrap returns what went wrong.
func (e *Error) Unwrap() error { return e.Err }

// Of returns the outcome that err carries, OK for nil, and otherwise for errors that carry none.
func Of(err error, otherwise Outcome) Outcome {
	if err == nil {
		return OK
	}
	var e *Error
	if errors.As(err, &e) {
		return e.Outcome
	}
	return otherwise
}
