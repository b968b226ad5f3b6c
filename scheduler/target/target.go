// Package target is the contract of what policies scale: a task group of a Nomad job, or on a laptop a group of local
// processes.
package target

import (
	"context"
	"errors"
	"fmt"
	"time"

	"argosy/scheduler/law"
)

// Target is something with a count. Its methods may be called from any goroutine, Scale and Run once at a time.
type Target interface {
	// Run keeps the status current, until ctx ends.
	Run(ctx context.Context)
	// Status returns what is known at now, without waiting. Knowledge that is too old is none.
	Status(now time.Time) law.Status
	// Scale changes the count. A nil error means that it was accepted, not that the instances run.
	Scale(ctx context.Context, r Request) error
}

// Request is one change of a count.
type Request struct {
	From, To int
	Message  string         // why, for the target's own history
	Meta     map[string]any // the numbers behind it
}

// ErrConflict is returned by Scale when the count, or the job around it, is not what the decision was made for. It is no
// failure: the next decision will know better.
var ErrConflict = errors.New("changed by somebody else in the meantime")

// BlockedError is returned by Scale when the target's state forbids a change now. It is no failure either.
type BlockedError struct {
	Reason law.Reason
	Detail string
}

func (e *BlockedError) Error() string { return fmt.Sprintf("blocked (%s): %s", e.Reason, e.Detail) }
