package nomad

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/nomad/api"

	"argosy/internal/backoff"
	"argosy/scheduler/law"
	"argosy/scheduler/target"
)

const (
	// Blocking queries return after this time even when nothing has changed. It is short because the index of the scale
	// status goes backwards when allocations end, after which a longer wait would sleep through changes.
	longestWait   = 10 * time.Second
	deployingWait = time.Second // the end of a deployment does not always move that index
	shortestPause = 200 * time.Millisecond
	callTimeout   = 10 * time.Second
	// A status older than this is forgotten: some answers have not come.
	longestSilence = 30 * time.Second
)

// Ref names a task group.
type Ref struct{ Namespace, Job, Group string }

func (r Ref) String() string { return fmt.Sprintf("%s/%s/%s", r.Namespace, r.Job, r.Group) }

// Target scales one task group. It implements target.Target.
type Target struct {
	client *api.Client
	ref    Ref
	logger hclog.Logger
	now    func() time.Time

	mu      sync.Mutex
	status  law.Status
	seen    time.Time // when status was true
	problem string    // of the last look; empty when it succeeded
	ours    *uint64   // version that our last call made
	warned  bool      // about deployments
}

// New makes a target that knows nothing until Run has been called.
func New(client *api.Client, ref Ref, now func() time.Time, logger hclog.Logger) *Target {
	return &Target{client: client, ref: ref, now: now, logger: logger.With("job", ref.Job, "group", ref.Group, "namespace", ref.Namespace)}
}

// Status returns what the last look has shown.
func (t *Target) Status(now time.Time) law.Status {
	t.mu.Lock()
	defer t.mu.Unlock()
	switch {
	case t.seen.IsZero() && t.problem == "":
		return law.Status{Problem: "nomad has not answered yet"}
	case t.seen.IsZero():
		return law.Status{Problem: t.problem}
	case now.Sub(t.seen) > longestSilence:
		problem := t.problem
		if problem == "" {
			problem = "it does not answer"
		}
		return law.Status{Problem: fmt.Sprintf("nothing from nomad for %v: %s", now.Sub(t.seen).Round(time.Second), problem)}
	}
	return t.status
}

// Run follows the job with blocking queries, until ctx ends.
func (t *Target) Run(ctx context.Context) {
	var index uint64
	pause := backoff.New(200*time.Millisecond, 10*time.Second)
	for ctx.Err() == nil {
		next, err := t.look(ctx, index)
		switch {
		case ctx.Err() != nil:
			return
		case err != nil:
			index = 0
			pause.Sleep(ctx)
			continue
		case next < index: // allocations have ended, or Nomad has lost its data
			index = 0
		default:
			index = next
		}
		pause.Reset()
		backoff.Sleep(ctx, shortestPause)
	}
}

// look reads the job once the scale status has moved beyond index, or after a while, and judges it.
func (t *Target) look(ctx context.Context, index uint64) (uint64, error) {
	wait := longestWait
	t.mu.Lock()
	if t.status.Blocked == law.Deploying {
		wait = deployingWait
	}
	t.mu.Unlock()

	v, next, err := t.read(ctx, index, wait)
	if err != nil && ctx.Err() == nil {
		code, _ := answered(err)
		t.fail(explain(err), code == http.StatusNotFound)
	}
	if err != nil {
		return 0, err
	}
	t.learn(v)
	return next, nil
}

// fail notes why nothing could be read. What was known stays for a while, unless the job is known to be gone.
func (t *Target) fail(err error, gone bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.problem != err.Error() {
		t.logger.Warn("cannot read the job", "error", err)
	}
	t.problem = err.Error()
	if gone {
		t.status, t.seen, t.ours = law.Status{}, time.Time{}, nil
	}
}

func (t *Target) learn(v view) {
	tg := findGroup(v.job, t.ref.Group)
	t.mu.Lock()
	defer t.mu.Unlock()
	v.ours = t.ours
	if t.problem != "" {
		t.logger.Info("the job can be read again")
	}
	t.status, t.seen, t.problem = v.status(t.ref.Group), t.now(), ""
	if tg != nil && !t.warned && deploys(v.job, tg) {
		t.warned = true
		t.logger.Warn("every change of this group's count is a deployment, and nomad refuses further changes until it is over; " +
			"for quick scaling set update { max_parallel = 0 }")
	}
}

// read looks at the scale status, the job and its latest deployment.
func (t *Target) read(ctx context.Context, index uint64, wait time.Duration) (view, uint64, error) {
	q := t.query(index, wait)
	limit, cancel := context.WithTimeout(ctx, callTimeout+wait+wait/16)
	defer cancel()
	scale, meta, err := t.client.Jobs().ScaleStatus(t.ref.Job, q.WithContext(limit))
	if err != nil {
		return view{}, 0, err
	}
	v, err := t.readJob(ctx)
	if err != nil {
		return view{}, 0, err
	}
	if g, ok := scale.TaskGroups[t.ref.Group]; ok {
		v.running = g.Running
	}
	return v, meta.LastIndex, nil
}

func (t *Target) readJob(ctx context.Context) (view, error) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	job, _, err := t.client.Jobs().Info(t.ref.Job, t.query(0, 0).WithContext(ctx))
	if err != nil {
		return view{}, err
	}
	deployment, _, err := t.client.Jobs().LatestDeployment(t.ref.Job, t.query(0, 0).WithContext(ctx))
	if code, _ := answered(err); code == http.StatusForbidden {
		deployment, err = nil, nil // then Nomad's own refusal has to do
	}
	return view{job: job, deployment: deployment}, err
}

func (t *Target) query(index uint64, wait time.Duration) *api.QueryOptions {
	return &api.QueryOptions{Namespace: t.ref.Namespace, WaitIndex: index, WaitTime: wait}
}

// Scale sets the count, if the group still has the count that the decision was made for.
func (t *Target) Scale(ctx context.Context, r target.Request) error {
	v, err := t.readJob(ctx)
	if err != nil {
		return fmt.Errorf("reading the job before scaling it: %w", explain(err))
	}
	t.mu.Lock()
	v.ours, v.running = t.ours, t.status.Running
	t.mu.Unlock()
	status := v.status(t.ref.Group)
	tg := findGroup(v.job, t.ref.Group)
	switch {
	case !status.Known:
		return fmt.Errorf("scaling: %s", status.Problem)
	case status.Blocked != "":
		t.learn(v)
		return &target.BlockedError{Reason: status.Blocked, Detail: status.Detail}
	case status.Desired != r.From:
		t.learn(v)
		return fmt.Errorf("the count is %d, not %d: %w", status.Desired, r.From, target.ErrConflict)
	case r.To == r.From:
		return nil // the same count again would be a new version and a new deployment
	case v.job.JobModifyIndex == nil || *v.job.JobModifyIndex == 0:
		return fmt.Errorf("scaling: the job has no index")
	}
	if low, high, bounded := limits(tg); bounded && (r.To < low || r.To > high) {
		return &target.BlockedError{Reason: law.Unscalable, Detail: fmt.Sprintf(
			"the group's scaling block allows %d to %d, the policy asks for %d", low, high, r.To)}
	}
	return t.call(ctx, v.job, r)
}

// call does the scale call for a job that has just been read.
func (t *Target) call(ctx context.Context, job *api.Job, r target.Request) error {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	count := int64(r.To)
	w := (&api.WriteOptions{Namespace: t.ref.Namespace}).WithContext(ctx)
	answer, _, err := t.client.Jobs().ScaleWithRequest(t.ref.Job, &api.ScalingRequest{
		Count:          &count, // a call without it only writes an event, and with a system job takes the server down
		Target:         map[string]string{"Job": t.ref.Job, "Group": t.ref.Group},
		Message:        r.Message,
		Meta:           r.Meta,
		JobModifyIndex: *job.JobModifyIndex,
	}, w)
	if err != nil {
		switch code, body := answered(err); {
		case code == http.StatusBadRequest && strings.Contains(body, "active deployment"):
			return &target.BlockedError{Reason: law.Deploying, Detail: "nomad says: " + body}
		case strings.Contains(body, "conflicting job modify index"):
			return fmt.Errorf("nomad says %q: %w", body, target.ErrConflict)
		}
		return fmt.Errorf("scaling: %w", explain(err))
	}
	t.mu.Lock()
	t.status.Desired = r.To
	t.status.Known, t.seen = true, t.now()
	t.mu.Unlock()
	t.verify(ctx, job, answer.JobModifyIndex)
	return nil
}

// verify looks whether our call has undone somebody else's: Nomad's check of the index and its write are two steps, so
// a registration between them is lost, whatever was sent. Then the version before ours is not the one we started from.
func (t *Target) verify(ctx context.Context, before *api.Job, index uint64) {
	versions, _, _, err := t.client.Jobs().Versions(t.ref.Job, false, t.query(0, 0).WithContext(ctx))
	if err != nil {
		t.logger.Warn("cannot verify the scaling", "error", explain(err))
		return
	}
	byNumber := map[uint64]*api.Job{}
	var made *api.Job
	for _, v := range versions {
		if v == nil || v.Version == nil || v.JobModifyIndex == nil {
			continue
		}
		byNumber[*v.Version] = v
		if *v.JobModifyIndex == index {
			made = v
		}
	}
	if made == nil {
		return // newer ones have pushed it out already
	}
	t.mu.Lock()
	t.ours = made.Version
	t.mu.Unlock()
	if lost := undone(byNumber, made, before); lost != nil {
		t.logger.Error("the scaling has undone a change of the job that was made at the same time; register that version again",
			"undone_version", *lost.Version, "our_version", *made.Version, "started_from_version", *before.Version)
	}
}

// undone returns the version that lies between the one we started from and the one we made, if there is one.
func undone(byNumber map[uint64]*api.Job, made, before *api.Job) *api.Job {
	if *made.Version == 0 || before.JobModifyIndex == nil {
		return nil
	}
	previous := byNumber[*made.Version-1]
	if previous == nil || *previous.JobModifyIndex == *before.JobModifyIndex {
		return nil
	}
	return previous
}
