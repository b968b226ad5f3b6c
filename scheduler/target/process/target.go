package process

import (
	"context"
	"fmt"
	"time"

	"argosy/scheduler/law"
	"argosy/scheduler/target"
)

// Target lets the scheduler scale a group.
type Target struct{ group *Group }

// NewTarget makes the target for a group, which has to be started and stopped by its owner.
func NewTarget(g *Group) *Target { return &Target{g} }

// Run has nothing to keep current.
func (t *Target) Run(ctx context.Context) { <-ctx.Done() }

// Status counts the instances.
func (t *Target) Status(time.Time) law.Status {
	t.group.mu.Lock()
	started, stopped := t.group.started, t.group.stopped
	t.group.mu.Unlock()
	s := law.Status{Known: true, Desired: t.group.Count(), Running: len(t.group.Instances())}
	if stopped || !started {
		s.Blocked, s.Detail = law.Stopped, fmt.Sprintf("the group %s is not started", t.group.spec.Name)
	}
	return s
}

// Scale changes the count at once.
func (t *Target) Scale(_ context.Context, r target.Request) error {
	if t.group.Count() != r.From {
		return target.ErrConflict
	}
	return t.group.Scale(r.To)
}
