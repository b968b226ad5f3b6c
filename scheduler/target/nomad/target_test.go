package nomad

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/nomad/api"

	"argosy/internal/nomadclient"
	"argosy/internal/settings"
	"argosy/scheduler/law"
	"argosy/scheduler/target"
	"argosy/scheduler/target/nomad/nomadtest"
)

func client(t *testing.T, s *nomadtest.Server) *api.Client {
	t.Helper()
	c, err := nomadclient.New(settings.Nomad{Address: s.URL})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// follow makes a target for group g of a job and runs it for the length of the test.
func follow(t *testing.T, s *nomadtest.Server, job string, logger hclog.Logger) *Target {
	t.Helper()
	target := New(client(t, s), Ref{Namespace: "default", Job: job, Group: "g"}, time.Now, logger)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { defer close(done); target.Run(ctx) }()
	t.Cleanup(func() { cancel(); <-done })
	return target
}

func status(t *testing.T, target *Target, what string, ok func(law.Status) bool) law.Status {
	t.Helper()
	var s law.Status
	for end := time.Now().Add(15 * time.Second); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
		if s = target.Status(time.Now()); ok(s) {
			return s
		}
	}
	t.Fatalf("the status did not become %s: %+v", what, s)
	return s
}

func known(n int) func(law.Status) bool {
	return func(s law.Status) bool { return s.Known && s.Desired == n && s.Blocked == "" }
}

func change(from, to int) target.Request {
	return target.Request{From: from, To: to, Message: "because", Meta: map[string]any{"value": 1.5}}
}

func TestScaleIsFollowed(t *testing.T) {
	s := nomadtest.New(t)
	s.Register(nomadtest.Job("fleet", "g", 2))
	s.SetRunning("fleet", "g", 1)
	target := follow(t, s, "fleet", hclog.NewNullLogger())
	if got := status(t, target, "known", known(2)); got.Running != 1 {
		t.Errorf("%d run, want 1", got.Running)
	}
	if err := target.Scale(t.Context(), change(2, 5)); err != nil {
		t.Fatal(err)
	}
	if got := target.Status(time.Now()); got.Desired != 5 {
		t.Errorf("the status says %d right after scaling to 5", got.Desired)
	}
	call := s.Calls()[0]
	if *call.Count != 5 || call.Message != "because" || call.JobModifyIndex == 0 || call.Meta["value"] != 1.5 || call.Error ||
		call.Target["Job"] != "fleet" || call.Target["Group"] != "g" {
		t.Errorf("the call was %+v", call)
	}
	status(t, target, "running", func(s law.Status) bool { return s.Running == 5 })
	s.Register(nomadtest.Job("fleet", "g", 3)) // somebody's job run puts the file's count back
	status(t, target, "what the file says", known(3))
}

// At count 0, and after any change of a job's state, the index in the scale status is not the one that is checked.
func TestIndexIsThatOfTheJob(t *testing.T) {
	s := nomadtest.New(t)
	s.Register(nomadtest.Job("fleet", "g", 1))
	target := follow(t, s, "fleet", hclog.NewNullLogger())
	status(t, target, "known", known(1))
	for _, step := range [][2]int{{1, 0}, {0, 2}} {
		s.SetRunning("fleet", "g", 1)
		if err := target.Scale(t.Context(), change(step[0], step[1])); err != nil {
			t.Fatalf("%v: %v", step, err)
		}
	}
}

func TestEqualCountIsNotCalled(t *testing.T) {
	s := nomadtest.New(t)
	s.Register(nomadtest.Job("fleet", "g", 3))
	target := follow(t, s, "fleet", hclog.NewNullLogger())
	status(t, target, "known", known(3))
	if err := target.Scale(t.Context(), change(3, 3)); err != nil {
		t.Error(err)
	}
	if n := len(s.Calls()); n != 0 {
		t.Errorf("%d calls", n)
	}
}

// Somebody else has set the count since the decision.
func TestStaleDecisionIsAConflict(t *testing.T) {
	s := nomadtest.New(t)
	s.Register(nomadtest.Job("fleet", "g", 3))
	tg := follow(t, s, "fleet", hclog.NewNullLogger())
	if err := tg.Scale(t.Context(), change(2, 5)); !errors.Is(err, target.ErrConflict) {
		t.Errorf("got %v", err)
	}
	if n := len(s.Calls()); n != 0 {
		t.Errorf("%d calls", n)
	}
}

func blockedBy(t *testing.T, err error, want law.Reason) {
	t.Helper()
	var blocked *target.BlockedError
	if !errors.As(err, &blocked) || blocked.Reason != want {
		t.Errorf("got %v, want blocked by %s", err, want)
	}
}

func TestDeploymentBlocks(t *testing.T) {
	s := nomadtest.New(t)
	s.Register(nomadtest.Job("fleet", "g", 2))
	tg := follow(t, s, "fleet", hclog.NewNullLogger())
	status(t, tg, "known", known(2))
	for _, state := range []string{"running", "paused", "pending", "initializing", "blocked", "unblocking"} {
		s.Deploy("fleet", state, 0)
		status(t, tg, "blocked", func(s law.Status) bool { return s.Blocked == law.Deploying && strings.Contains(s.Detail, state) })
		blockedBy(t, tg.Scale(t.Context(), change(2, 4)), law.Deploying)
	}
	if n := len(s.Calls()); n != 0 {
		t.Errorf("%d calls during deployments", n)
	}
	s.Deploy("fleet", "successful", 0)
	status(t, tg, "free", known(2))
	if err := tg.Scale(t.Context(), change(2, 4)); err != nil {
		t.Error(err)
	}
}

// A deployment that begins between our look and our call is refused by Nomad, which is no failure.
func TestDeploymentBetweenLookAndCall(t *testing.T) {
	s := nomadtest.New(t)
	s.Register(nomadtest.Job("fleet", "g", 2))
	tg := New(client(t, s), Ref{"default", "fleet", "g"}, time.Now, hclog.NewNullLogger())
	s.Break(func(r *http.Request) int { // hides the deployment
		if strings.HasSuffix(r.URL.Path, "/deployment") {
			return http.StatusForbidden
		}
		return 0
	})
	s.Deploy("fleet", "running", 0)
	blockedBy(t, tg.Scale(t.Context(), change(2, 4)), law.Deploying)
}

func TestFailedDeployment(t *testing.T) {
	s := nomadtest.New(t)
	s.Register(nomadtest.Job("fleet", "g", 2))
	tg := follow(t, s, "fleet", hclog.NewNullLogger())
	s.Deploy("fleet", "failed", 1)
	status(t, tg, "blocked", func(s law.Status) bool { return s.Blocked == law.DeploymentFailed })
	blockedBy(t, tg.Scale(t.Context(), change(2, 4)), law.DeploymentFailed)
	s.Register(nomadtest.Job("fleet", "g", 2)) // a newer version
	status(t, tg, "free", known(2))
	// The deployment of our own step fails for want of room: that must not keep us from stepping back.
	if err := tg.Scale(t.Context(), change(2, 9)); err != nil {
		t.Fatal(err)
	}
	s.Deploy("fleet", "failed", 0)
	status(t, tg, "free", known(9))
	if err := tg.Scale(t.Context(), change(9, 2)); err != nil {
		t.Error(err)
	}
}

// A scale call for a system job is no use, and one without a count would end the server; nomadtest fails on it.
func TestJobsThatHaveNoCounts(t *testing.T) {
	s := nomadtest.New(t)
	for kind, edit := range map[string]func(*api.Job){
		"system":        func(j *api.Job) { *j.Type = "system" },
		"sysbatch":      func(j *api.Job) { *j.Type = "sysbatch" },
		"periodic":      func(j *api.Job) { *j.Type = "batch"; j.Periodic = &api.PeriodicConfig{} },
		"parameterized": func(j *api.Job) { *j.Type = "batch"; j.ParameterizedJob = &api.ParameterizedJobConfig{} },
	} {
		j := nomadtest.Job(kind, "g", 1)
		edit(j)
		s.Register(j)
		tg := follow(t, s, kind, hclog.NewNullLogger())
		status(t, tg, "unscalable", func(s law.Status) bool { return s.Blocked == law.Unscalable })
		blockedBy(t, tg.Scale(t.Context(), change(1, 2)), law.Unscalable)
	}
	stopped := true
	j := nomadtest.Job("stopped", "g", 1)
	j.Stop = &stopped
	s.Register(j)
	tg := follow(t, s, "stopped", hclog.NewNullLogger())
	status(t, tg, "stopped", func(s law.Status) bool { return s.Blocked == law.Stopped })
	blockedBy(t, tg.Scale(t.Context(), change(1, 2)), law.Stopped)
	if n := len(s.Calls()); n != 0 {
		t.Errorf("%d calls", n)
	}
}

func TestBoundsOfTheScalingBlock(t *testing.T) {
	s := nomadtest.New(t)
	low, high := int64(1), int64(3)
	j := nomadtest.Job("fleet", "g", 2)
	j.TaskGroups[0].Scaling = &api.ScalingPolicy{Min: &low, Max: &high}
	s.Register(j)
	tg := New(client(t, s), Ref{"default", "fleet", "g"}, time.Now, hclog.NewNullLogger())
	blockedBy(t, tg.Scale(t.Context(), change(2, 4)), law.Unscalable)
	if err := tg.Scale(t.Context(), change(2, 3)); err != nil {
		t.Error(err)
	}
}

// lines collects a log.
type lines struct{ strings.Builder }

func logger(l *lines) hclog.Logger {
	return hclog.New(&hclog.LoggerOptions{Output: l, Level: hclog.Debug})
}

// A job registered while Nomad works on our call is put back by it; that has to be noticed.
func TestUndoneRegistrationIsReported(t *testing.T) {
	s := nomadtest.New(t)
	s.Register(nomadtest.Job("fleet", "g", 2))
	var log lines
	tg := New(client(t, s), Ref{"default", "fleet", "g"}, time.Now, logger(&log))
	if err := tg.Scale(t.Context(), change(2, 3)); err != nil {
		t.Fatal(err)
	}
	if strings.Contains(log.String(), "undone") {
		t.Errorf("a false alarm: %s", log.String())
	}
	s.Race(func() { s.Register(nomadtest.Job("fleet", "g", 3)) })
	if err := tg.Scale(t.Context(), change(3, 4)); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(log.String(), "undone_version=2 our_version=3 started_from_version=1") {
		t.Errorf("not reported: %s", log.String())
	}
}

func TestJobGoneAndBack(t *testing.T) {
	s := nomadtest.New(t)
	tg := follow(t, s, "fleet", hclog.NewNullLogger())
	status(t, tg, "missing", func(s law.Status) bool { return !s.Known && strings.Contains(s.Problem, "no such job") })
	if err := tg.Scale(t.Context(), change(1, 2)); err == nil {
		t.Error("scaled a job that is not there")
	}
	s.Register(nomadtest.Job("fleet", "g", 2))
	status(t, tg, "known", known(2))
	s.Purge("fleet")
	status(t, tg, "missing", func(s law.Status) bool { return !s.Known })
	s.Register(nomadtest.Job("fleet", "other", 2))
	status(t, tg, "without the group", func(s law.Status) bool { return strings.Contains(s.Problem, `no group "g"`) })
	s.Register(nomadtest.Job("fleet", "g", 4))
	status(t, tg, "known", known(4))
}

func TestNomadInTrouble(t *testing.T) {
	s := nomadtest.New(t)
	s.Register(nomadtest.Job("fleet", "g", 2))
	tg := follow(t, s, "fleet", hclog.NewNullLogger())
	status(t, tg, "known", known(2))
	for _, code := range []int{http.StatusInternalServerError, http.StatusForbidden, http.StatusTooManyRequests} {
		s.Break(func(*http.Request) int { return code })
		var blocked *target.BlockedError
		if err := tg.Scale(t.Context(), change(2, 4)); err == nil || errors.Is(err, target.ErrConflict) || errors.As(err, &blocked) {
			t.Errorf("%d: got %v, want a failure", code, err)
		}
		status(t, tg, "old", func(law.Status) bool { tg.mu.Lock(); defer tg.mu.Unlock(); return tg.problem != "" })
		if got := tg.Status(time.Now()); !got.Known || got.Desired != 2 {
			t.Errorf("%d: a short trouble made the status %+v", code, got)
		}
		if got := tg.Status(time.Now().Add(longestSilence + time.Second)); got.Known {
			t.Errorf("%d: a long trouble left the status %+v", code, got)
		}
		s.Break(nil)
		status(t, tg, "known", func(law.Status) bool { tg.mu.Lock(); defer tg.mu.Unlock(); return tg.problem == "" })
	}
	before := s.Requests()
	time.Sleep(time.Second)
	if n := s.Requests() - before; n > 20 {
		t.Errorf("%d requests in a quiet second", n)
	}
}

func TestStatusBeforeTheFirstAnswer(t *testing.T) {
	tg := New(nil, Ref{"default", "fleet", "g"}, time.Now, hclog.NewNullLogger())
	if got := tg.Status(time.Now()); got.Known || got.Problem == "" {
		t.Errorf("%+v", got)
	}
}
