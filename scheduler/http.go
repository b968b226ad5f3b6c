package scheduler

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus/promhttp"

	"argosy/internal/settings"
	"argosy/scheduler/discovery"
	"argosy/scheduler/policies"
)

// Evaluations that have not come for so long, and for so many intervals, mean that the scheduler is stuck.
const (
	stuckAfter     = 30 * time.Second
	stuckIntervals = 5
)

// Handler serves /metrics, /health, /v1/sd, /v1/policies, /v1/decisions and /v1/config to everybody; Run serves them to those whom
// the door lets in.
func (s *Scheduler) Handler() http.Handler {
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", promhttp.HandlerFor(s.deps.Registry, promhttp.HandlerOpts{}))
	mux.HandleFunc("GET /health", s.serveHealth)
	mux.HandleFunc("GET /v1/sd", s.serveSD)
	mux.HandleFunc("GET /v1/policies", s.servePolicies)
	mux.HandleFunc("GET /v1/decisions", s.serveDecisions)
	mux.HandleFunc("GET /v1/config", func(w http.ResponseWriter, _ *http.Request) {
		reply(w, http.StatusOK, settings.Show(s.current().cfg))
	})
	return mux
}

func reply(w http.ResponseWriter, code int, v any) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	if err := e.Encode(v); err != nil {
		http.Error(w, fmt.Sprintf("encoding the answer: %v", err), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(code)
	w.Write(b.Bytes())
}

// serveHealth tells whether policies are evaluated. Trouble with a metric or with Nomad is no reason to restart a
// scheduler, so it is not looked at.
func (s *Scheduler) serveHealth(w http.ResponseWriter, _ *http.Request) {
	now := s.deps.Clock()
	s.mu.Lock()
	beat, inUse, problems, interval := s.lastBeat, len(s.inUse), len(s.problems), s.engine.cfg.Interval
	if beat.Before(s.started) {
		beat = s.started
	}
	s.mu.Unlock()
	health := struct {
		Healthy  bool     `json:"healthy"`
		Reasons  []string `json:"reasons"`
		Policies int      `json:"policies"`
		Problems int      `json:"policy_problems"`
	}{Healthy: true, Reasons: []string{}, Policies: inUse, Problems: problems}
	code := http.StatusOK
	if silent := now.Sub(beat); inUse > 0 && silent > max(stuckAfter, stuckIntervals*interval) {
		health.Healthy, code = false, http.StatusServiceUnavailable
		health.Reasons = append(health.Reasons, fmt.Sprintf("no policy has been evaluated for %v", silent.Round(time.Second)))
	}
	reply(w, code, health)
}

// serveSD lists the agents for Prometheus's http_sd_configs. While nothing is known it answers 503, upon which
// Prometheus keeps the list it has.
func (s *Scheduler) serveSD(w http.ResponseWriter, _ *http.Request) {
	all := []discovery.Group{}
	e := s.current()
	if e.discovery != nil {
		state, _ := e.discovery.State().Load()
		if !state.Known {
			reply(w, http.StatusServiceUnavailable, map[string]string{"error": "consul has not told about the agents yet"})
			return
		}
		all = append(all, state.Groups...)
	}
	if e.scraper != nil {
		if targets, err := e.scrapeTargets(); err == nil && len(targets) > 0 {
			all = append(all, discovery.Group{Targets: targets, Labels: map[string]string{"__meta_argosy_source": "scrape"}})
		}
	}
	if s.deps.SD != nil {
		all = append(all, s.deps.SD()...)
	}
	reply(w, http.StatusOK, all)
}

// policyView is a policy as the API shows it.
type policyView struct {
	Name         string  `json:"name"`
	Origin       string  `json:"origin"`
	Target       string  `json:"target"`
	Query        string  `json:"query"`
	TargetValue  float64 `json:"target_value"`
	Tolerance    float64 `json:"tolerance"`
	Min          int     `json:"min"`
	Max          int     `json:"max"`
	CooldownUp   string  `json:"cooldown_up"`
	CooldownDown string  `json:"cooldown_down"`
	DownWindow   string  `json:"down_window"`
	MaxAge       string  `json:"max_age"`
	StepUp       int     `json:"step_up,omitempty"`
	StepDown     int     `json:"step_down,omitempty"`
	Decision     *Entry  `json:"decision,omitempty"`
}

func (s *Scheduler) servePolicies(w http.ResponseWriter, _ *http.Request) {
	s.mu.Lock()
	inUse, problems := s.inUse, s.problems
	s.mu.Unlock()
	out := struct {
		Policies []policyView       `json:"policies"`
		Problems []policies.Problem `json:"problems"`
	}{[]policyView{}, append([]policies.Problem{}, problems...)}
	for _, p := range inUse {
		v := policyView{
			Name: p.Name, Origin: p.Origin, Target: p.Target.String(), Query: p.Query.String(),
			TargetValue: p.Law.TargetValue, Tolerance: p.Law.Tolerance, Min: p.Law.Min, Max: p.Law.Max,
			CooldownUp: p.Law.CooldownUp.String(), CooldownDown: p.Law.CooldownDown.String(),
			DownWindow: p.Law.DownWindow.String(), MaxAge: p.Law.MaxAge.String(), StepUp: p.Law.StepUp, StepDown: p.Law.StepDown,
		}
		if last := s.journal.recent(p.Name, 1); len(last) > 0 {
			v.Decision = &last[0]
		}
		out.Policies = append(out.Policies, v)
	}
	slices.SortFunc(out.Policies, func(a, b policyView) int { return cmp.Compare(a.Name, b.Name) })
	reply(w, http.StatusOK, out)
}

// serveDecisions answers ?policy=NAME&limit=100, newest first.
func (s *Scheduler) serveDecisions(w http.ResponseWriter, r *http.Request) {
	limit := 100
	if text := r.URL.Query().Get("limit"); text != "" {
		n, err := strconv.Atoi(text)
		if err != nil || n < 1 || n > journalSize {
			reply(w, http.StatusBadRequest, map[string]string{"error": fmt.Sprintf("limit must be a number from 1 to %d", journalSize)})
			return
		}
		limit = n
	}
	reply(w, http.StatusOK, s.journal.recent(r.URL.Query().Get("policy"), limit))
}
