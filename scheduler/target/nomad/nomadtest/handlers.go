package nomadtest

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"

	"github.com/hashicorp/nomad/api"
)

// look finds the job of a request, or answers 404. s.mu is held.
func (s *Server) look(w http.ResponseWriter, r *http.Request) *job {
	if ns := r.URL.Query().Get("namespace"); ns != "" && ns != "default" {
		http.Error(w, "job not found", http.StatusNotFound)
		return nil
	}
	j := s.jobs[r.PathValue("id")]
	if j == nil {
		http.Error(w, "job not found", http.StatusNotFound)
	}
	return j
}

func (s *Server) getJob(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if j := s.look(w, r); j != nil {
		spec := clone(j.newest())
		spec.ModifyIndex = &j.modified
		s.answer(w, j.modified, spec)
	}
}

func (s *Server) getScale(w http.ResponseWriter, r *http.Request) {
	s.block(r, func() (uint64, bool) {
		j, ok := s.jobs[r.PathValue("id")]
		if !ok {
			return 0, false
		}
		return j.modified, true
	})
	s.mu.Lock()
	defer s.mu.Unlock()
	j := s.look(w, r)
	if j == nil {
		return
	}
	out := api.JobScaleStatusResponse{JobID: r.PathValue("id"), JobModifyIndex: j.modified, TaskGroups: map[string]api.TaskGroupScaleStatus{}}
	for _, g := range j.newest().TaskGroups {
		out.TaskGroups[*g.Name] = api.TaskGroupScaleStatus{Desired: *g.Count, Running: j.running[*g.Name]}
	}
	s.answer(w, j.modified, out)
}

func (s *Server) getDeployment(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if j := s.look(w, r); j != nil {
		s.answer(w, s.index, j.deployment)
	}
}

func (s *Server) getVersions(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if j := s.look(w, r); j != nil {
		versions := slices.Clone(j.versions)
		slices.Reverse(versions)
		s.answer(w, s.index, api.JobVersionsResponse{Versions: versions[:min(len(versions), 6)]})
	}
}

// putScale is what trap after trap was measured on.
func (s *Server) putScale(w http.ResponseWriter, r *http.Request) {
	var req api.ScalingRequest
	if err := json.NewDecoder(r.Body).Decode(&req); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	s.mu.Lock()
	s.calls = append(s.calls, req)
	j := s.look(w, r)
	if j == nil {
		s.mu.Unlock()
		return
	}
	spec := clone(j.newest())
	refuse := func(code int, format string, a ...any) {
		s.mu.Unlock()
		http.Error(w, fmt.Sprintf(format, a...), code)
	}
	if req.Count == nil {
		if *spec.Type == "system" {
			s.t.Error("nomadtest: a scale call without a count for a system job: the server is dead")
		}
		refuse(http.StatusOK, "{}")
		return
	}
	g := find(spec, req.Target["Group"])
	switch {
	case g == nil:
		refuse(http.StatusBadRequest, "task group %q does not exist in job", req.Target["Group"])
		return
	case req.JobModifyIndex != 0 && req.JobModifyIndex != *spec.JobModifyIndex:
		refuse(http.StatusInternalServerError, "Enforcing job modify index %d: job exists with conflicting job modify index: %d",
			req.JobModifyIndex, *spec.JobModifyIndex)
		return
	case j.deployment != nil && (j.deployment.Status == "running" || j.deployment.Status == "paused"):
		refuse(http.StatusBadRequest, "job scaling blocked due to active deployment")
		return
	case g.Scaling != nil && (*req.Count < *g.Scaling.Min || *req.Count > *g.Scaling.Max):
		refuse(http.StatusBadRequest, "group count was outside of the scaling bounds")
		return
	}
	if race := s.race; race != nil { // the check is over, the write is still to come
		s.race = nil
		s.mu.Unlock()
		race()
		s.mu.Lock()
	}
	count := int(*req.Count)
	same := *g.Count == count
	g.Count = &count
	j = s.register(spec)
	if update := g.Update; update != nil && update.MaxParallel != nil && *update.MaxParallel > 0 && count > 0 {
		s.deploy(j, "running")
	}
	if same {
		s.t.Errorf("nomadtest: the count of %s was %d already; the call made a new version for nothing", *spec.ID, count)
	}
	j.events++
	defer s.mu.Unlock()
	s.answer(w, s.index, api.JobRegisterResponse{EvalID: "eval", JobModifyIndex: *j.newest().JobModifyIndex})
}

func (s *Server) listPolicies(w http.ResponseWriter, r *http.Request) {
	last := func() (uint64, bool) { return max(s.listed, 1), true }
	s.block(r, last)
	s.mu.Lock()
	defer s.mu.Unlock()
	out := []*api.ScalingPolicyListStub{}
	if ns := r.URL.Query().Get("namespace"); ns == "" || ns == "default" {
		for _, p := range s.policies {
			enabled := p.Enabled == nil || *p.Enabled
			out = append(out, &api.ScalingPolicyListStub{ID: p.ID, Enabled: enabled, Type: p.Type, Target: p.Target, ModifyIndex: p.ModifyIndex})
		}
	}
	index, _ := last()
	s.answer(w, index, out)
}

func (s *Server) getPolicy(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	p := s.policies[r.PathValue("id")]
	if p == nil {
		http.Error(w, "policy not found", http.StatusNotFound)
		return
	}
	s.answer(w, s.index, p)
}
