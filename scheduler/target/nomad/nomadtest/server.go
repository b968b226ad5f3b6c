// Package nomadtest is a small Nomad for tests: jobs with versions, deployments and scaling policies, behind the parts of
// the HTTP API that the scheduler uses. What it does on a scale call was measured on Nomad 1.10.
package nomadtest

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hashicorp/nomad/api"
)

// Server is the fake. Its methods may be called from any goroutine.
type Server struct {
	*httptest.Server
	t testing.TB

	mu       sync.Mutex
	index    uint64
	changed  chan struct{} // closed at the next change
	jobs     map[string]*job
	policies map[string]*api.ScalingPolicy
	listed   uint64 // index of the list of policies
	broken   func(*http.Request) int
	race     func()
	calls    []api.ScalingRequest
	requests int
}

type job struct {
	versions   []*api.Job // oldest first
	deployment *api.Deployment
	running    map[string]int
	modified   uint64 // ModifyIndex: also moves without a new version
	events     int
}

func (j *job) newest() *api.Job { return j.versions[len(j.versions)-1] }

// New starts a server that ends with the test.
func New(t testing.TB) *Server {
	s := &Server{t: t, index: 10, changed: make(chan struct{}), jobs: map[string]*job{}, policies: map[string]*api.ScalingPolicy{}}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /v1/job/{id}", s.getJob)
	mux.HandleFunc("GET /v1/job/{id}/scale", s.getScale)
	mux.HandleFunc("PUT /v1/job/{id}/scale", s.putScale)
	mux.HandleFunc("GET /v1/job/{id}/deployment", s.getDeployment)
	mux.HandleFunc("GET /v1/job/{id}/versions", s.getVersions)
	mux.HandleFunc("GET /v1/scaling/policies", s.listPolicies)
	mux.HandleFunc("GET /v1/scaling/policy/{id}", s.getPolicy)
	s.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.mu.Lock()
		s.requests++
		broken := s.broken
		s.mu.Unlock()
		if broken != nil {
			if code := broken(r); code != 0 {
				http.Error(w, "broken for a test", code)
				return
			}
		}
		mux.ServeHTTP(w, r)
	}))
	t.Cleanup(func() {
		s.CloseClientConnections() // blocking queries would hold Close up
		s.Close()
	})
	return s
}

// Job makes a service job with one group.
func Job(id, group string, count int) *api.Job {
	kind, none := "service", 0
	return &api.Job{ID: &id, Name: &id, Type: &kind, TaskGroups: []*api.TaskGroup{{
		Name: &group, Count: &count, Update: &api.UpdateStrategy{MaxParallel: &none},
	}}}
}

// Scaling makes the scaling block of a group.
func Scaling(low, high int64, policy map[string]any) *api.ScalingPolicy {
	return &api.ScalingPolicy{Min: &low, Max: &high, Policy: policy}
}

// Register makes a new version of a job, as `nomad job run` does, and sets what runs to its counts.
func (s *Server) Register(j *api.Job) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.register(clone(j))
}

func (s *Server) register(spec *api.Job) *job {
	s.touch()
	id := *spec.ID
	j := s.jobs[id]
	if j == nil {
		j = &job{running: map[string]int{}}
		s.jobs[id] = j
	}
	version, index, stable := uint64(0), s.index, true
	if len(j.versions) > 0 {
		version = *j.newest().Version + 1
	}
	spec.Version, spec.JobModifyIndex, spec.Stable = &version, &index, &stable
	j.versions = append(j.versions, spec)
	j.modified = index + 1 // as a status change right afterwards does
	for _, g := range spec.TaskGroups {
		j.running[*g.Name] = *g.Count
		s.policy(spec, g)
	}
	return j
}

// policy keeps the scaling policy of a group. s.mu is held.
func (s *Server) policy(spec *api.Job, g *api.TaskGroup) {
	id := *spec.ID + "-" + *g.Name
	if g.Scaling == nil {
		s.unlist(id)
		return
	}
	old := s.policies[id]
	p := *g.Scaling
	p.ID, p.Type, p.Namespace, p.ModifyIndex = id, "horizontal", "default", s.index
	p.Target = map[string]string{"Namespace": "default", "Job": *spec.ID, "Group": *g.Name}
	if old != nil {
		p.ModifyIndex = old.ModifyIndex
		if a, b := text(old.Policy), text(p.Policy); a != b || *old.Min != *p.Min || *old.Max != *p.Max {
			p.ModifyIndex = s.index
		}
	}
	s.policies[id] = &p
	s.listed = max(s.listed, p.ModifyIndex)
}

func (s *Server) unlist(id string) {
	if s.policies[id] != nil {
		delete(s.policies, id)
		s.listed = s.index
	}
}

// Deploy sets the newest deployment's status, for the newest version; canaries may be 0.
func (s *Server) Deploy(id, status string, canaries int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.touch()
	j := s.jobs[id]
	s.deploy(j, status)
	j.deployment.TaskGroups = map[string]*api.DeploymentState{"g": {DesiredCanaries: canaries}}
}

func (s *Server) deploy(j *job, status string) {
	stable := status == "successful"
	spec := clone(j.newest())
	spec.Stable = &stable
	j.versions[len(j.versions)-1] = spec
	j.deployment = &api.Deployment{ID: "0123456789abcdef", JobVersion: *spec.Version, Status: status, StatusDescription: "for a test"}
	j.modified = s.index
}

// SetRunning says how many instances of a group run.
func (s *Server) SetRunning(id, group string, n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.touch()
	s.jobs[id].running[group] = n
	s.jobs[id].modified = s.index
}

// Purge removes a job.
func (s *Server) Purge(id string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.touch()
	for _, g := range s.jobs[id].newest().TaskGroups {
		s.unlist(id + "-" + *g.Name)
	}
	delete(s.jobs, id)
}

// Break makes requests fail with the status that f returns; 0 lets them pass. A nil f repairs.
func (s *Server) Break(f func(*http.Request) int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.broken = f
	s.touch() // lets go of what blocks
}

// Race runs f inside the next scale call, between Nomad's check of the index and its write. f may call Register.
func (s *Server) Race(f func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.race = f
}

// Calls returns the scale calls that were made.
func (s *Server) Calls() []api.ScalingRequest {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]api.ScalingRequest(nil), s.calls...)
}

// Requests returns how many requests have come.
func (s *Server) Requests() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.requests
}

// Count returns the count of a group.
func (s *Server) Count(id, group string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return *find(s.jobs[id].newest(), group).Count
}

// touch moves the index and wakes blocked queries. s.mu is held.
func (s *Server) touch() {
	s.index += 2
	close(s.changed)
	s.changed = make(chan struct{})
}

// block waits as a blocking query does, until what has an index beyond the asked one.
func (s *Server) block(r *http.Request, what func() (uint64, bool)) {
	asked, _ := strconv.ParseUint(r.URL.Query().Get("index"), 10, 64)
	wait, err := time.ParseDuration(r.URL.Query().Get("wait"))
	if asked == 0 || err != nil {
		return
	}
	deadline := time.After(wait)
	for {
		s.mu.Lock()
		index, ok := what()
		changed, broken := s.changed, s.broken != nil
		s.mu.Unlock()
		if !ok || index > asked || broken {
			return
		}
		select {
		case <-changed:
		case <-deadline:
			return
		case <-r.Context().Done():
			return
		}
	}
}

func (s *Server) answer(w http.ResponseWriter, index uint64, v any) {
	w.Header().Set("X-Nomad-Index", strconv.FormatUint(index, 10))
	w.Header().Set("X-Nomad-KnownLeader", "true")
	w.Header().Set("X-Nomad-LastContact", "0")
	w.Header().Set("Content-Type", "application/json")
	if err := json.NewEncoder(w).Encode(v); err != nil {
		s.t.Errorf("nomadtest: %v", err)
	}
}

func clone(j *api.Job) *api.Job {
	var out api.Job
	b, err := json.Marshal(j)
	if err == nil {
		err = json.Unmarshal(b, &out)
	}
	if err != nil {
		panic(fmt.Sprintf("nomadtest: %v", err))
	}
	return &out
}

func find(j *api.Job, group string) *api.TaskGroup {
	for _, g := range j.TaskGroups {
		if *g.Name == group {
			return g
		}
	}
	return nil
}

func text(v any) string {
	b, _ := json.Marshal(v)
	return strings.TrimSpace(string(b))
}
