package nomad

import (
	"fmt"
	"slices"

	"github.com/hashicorp/nomad/api"

	"argosy/scheduler/law"
)

// view is one look at a job.
type view struct {
	job        *api.Job
	deployment *api.Deployment // the latest; nil when there is none, or when it may not be read
	running    int             // allocations of the group
	ours       *uint64         // the version that our own last call made; nil when there was none
}

// activeDeployment lists the states in which Nomad refuses to scale.
func activeDeployment(status string) bool {
	switch status {
	case "running", "paused", "blocked", "unblocking", "initializing", "pending":
		return true
	}
	return false
}

// scalable types. A scale call for a system job is dangerous (without a count it takes the server down), for a sysbatch
// job it does nothing.
func scalableType(t string) bool { return t == "service" || t == "batch" }

// status judges a view.
func (v view) status(group string) law.Status {
	tg := findGroup(v.job, group)
	if tg == nil || tg.Count == nil {
		return law.Status{Problem: fmt.Sprintf("job %s has no group %q", text(v.job.ID), group)}
	}
	s := law.Status{Known: true, Desired: *tg.Count, Running: v.running}
	block := func(r law.Reason, format string, a ...any) law.Status {
		s.Blocked, s.Detail = r, fmt.Sprintf(format, a...)
		return s
	}
	switch kind := text(v.job.Type); {
	case !scalableType(kind):
		return block(law.Unscalable, "it is a %s job, which has no counts to set", kind)
	case v.job.IsPeriodic() || v.job.IsParameterized():
		return block(law.Unscalable, "it is a periodic or parameterized job, which has no counts to set")
	case v.job.Stop != nil && *v.job.Stop:
		return block(law.Stopped, "the job is stopped")
	}
	d := v.deployment
	switch {
	case d == nil:
	case activeDeployment(d.Status):
		return block(law.Deploying, "deployment %s of version %d is %s: %s", short(d.ID), d.JobVersion, d.Status, d.StatusDescription)
	case d.Status == "failed" && v.job.Version != nil && d.JobVersion == *v.job.Version && !stable(v.job) && !v.mayGoOn():
		return block(law.DeploymentFailed, "deployment %s of the newest version, %d, has failed: %s; more of it would be rolled out",
			short(d.ID), d.JobVersion, d.StatusDescription)
	}
	return s
}

// mayGoOn reports whether the failed deployment is that of our own last step, which changed nothing but the count: it
// fails when there is no room for the instances, and must not keep us from taking the step back.
func (v view) mayGoOn() bool {
	if v.ours == nil || *v.ours != v.deployment.JobVersion {
		return false
	}
	for _, g := range v.deployment.TaskGroups {
		if g != nil && g.DesiredCanaries > 0 {
			return false
		}
	}
	return true
}

// limits returns the bounds of the group's own scaling block, which Nomad enforces.
func limits(tg *api.TaskGroup) (low, high int, bounded bool) {
	if tg.Scaling == nil || tg.Scaling.Min == nil || tg.Scaling.Max == nil {
		return 0, 0, false
	}
	return int(*tg.Scaling.Min), int(*tg.Scaling.Max), true
}

// deploys reports whether each step makes a deployment, during which Nomad refuses the next one.
func deploys(job *api.Job, tg *api.TaskGroup) bool {
	if text(job.Type) != "service" {
		return false
	}
	update := tg.Update
	if update == nil {
		update = job.Update
	}
	return update != nil && update.MaxParallel != nil && *update.MaxParallel > 0
}

func findGroup(job *api.Job, name string) *api.TaskGroup {
	i := slices.IndexFunc(job.TaskGroups, func(g *api.TaskGroup) bool { return g != nil && text(g.Name) == name })
	if i < 0 {
		return nil
	}
	return job.TaskGroups[i]
}

func stable(job *api.Job) bool { return job.Stable != nil && *job.Stable }

func text(s *string) string {
	if s == nil {
		return ""
	}
	return *s
}

func short(id string) string { return id[:min(len(id), 8)] }
