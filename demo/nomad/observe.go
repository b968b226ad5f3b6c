package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"argosy/demo/story"
	"argosy/e2e/stack"
)

// service is an instance in Consul's catalog whose checks pass.
type service struct {
	ID, Address string
	Port        int
	Meta        map[string]string
}

func (s service) address() string { return net.JoinHostPort(s.Address, strconv.Itoa(s.Port)) }

// services lists the instances of a service whose checks pass.
func services(ctx context.Context, st *stack.Stack, name string) ([]service, error) {
	var entries []struct{ Service service }
	if err := st.Consul.Get(ctx, "/v1/health/service/"+name+"?passing", &entries); err != nil {
		return nil, fmt.Errorf("ask Consul for %s: %w", name, err)
	}
	var all []service
	for _, e := range entries {
		all = append(all, e.Service)
	}
	return all, nil
}

// waitPassing waits until enough instances of a service pass their checks.
func waitPassing(ctx context.Context, st *stack.Stack, name string, n int) error {
	return stack.Eventually(ctx, 100*time.Millisecond, func(ctx context.Context) error {
		all, err := services(ctx, st, name)
		if err == nil && len(all) < n {
			err = fmt.Errorf("%d of %d instances of %s pass their checks in Consul", len(all), n, name)
		}
		return err
	})
}

// Observe asks Nomad for the allocations, Consul for where they are, and then everybody.
func (s *stage) Observe(ctx context.Context) (story.Observation, error) {
	st, _, _ := s.running()
	if st == nil {
		return story.Observation{}, errors.New("not started yet")
	}
	o := story.Observation{Load: s.load.Stats()}
	webs, err := services(ctx, st, "web")
	if err != nil {
		return o, err
	}
	if len(webs) < webCount { // their counters would seem to fall
		return o, fmt.Errorf("%d of %d web servers pass their checks", len(webs), webCount)
	}
	var addresses []string
	for _, w := range webs {
		addresses = append(addresses, w.address())
	}
	if err := s.looker.Webs(ctx, addresses, &o); err != nil {
		return o, err
	}
	for _, name := range []string{story.Redis1, story.Redis2} {
		b := o.Backends[name]
		b.Commands, b.Received = -1, -1
		all, err := services(ctx, st, name)
		if err != nil {
			return o, err
		}
		for _, i := range all {
			s.looker.Redis(ctx, i.address(), &b)
		}
		o.Backends[name] = b
	}
	if err := s.observeFleet(ctx, st, &o); err != nil {
		return o, err
	}
	s.observeScheduler(ctx, st, &o)
	o.At = time.Now()
	return o, nil
}

func (s *stage) observeFleet(ctx context.Context, st *stack.Stack, o *story.Observation) error {
	var err error
	if o.Wanted, _, err = st.Nomad.Count(ctx, fleet, fleet); err != nil {
		return fmt.Errorf("ask Nomad for the count: %w", err)
	}
	var allocations []struct {
		ID, ClientStatus, DesiredStatus string
	}
	if err := st.Nomad.Get(ctx, "/v1/job/"+fleet+"/allocations", &allocations); err != nil {
		return fmt.Errorf("ask Nomad for the allocations: %w", err)
	}
	listed, err := services(ctx, st, fleet)
	if err != nil {
		return err
	}
	for _, a := range allocations {
		if a.ClientStatus != "running" || a.DesiredStatus != "run" {
			continue
		}
		i := story.Instance{ID: a.ID[:8], Problem: "it is not in Consul yet"}
		for _, l := range listed {
			if strings.Contains(l.ID, a.ID) {
				i.Problem = ""
				s.looker.Agent(ctx, l.Meta["admin"], &i)
			}
		}
		o.Instances = append(o.Instances, i)
	}
	slices.SortFunc(o.Instances, func(a, b story.Instance) int { return strings.Compare(a.ID, b.ID) })
	return nil
}

// observeScheduler asks for the last decision. Without an answer there is none to show.
func (s *stage) observeScheduler(ctx context.Context, st *stack.Stack, o *story.Observation) {
	all, err := services(ctx, st, scheduler)
	if err != nil || len(all) == 0 {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+all[0].address()+"/v1/policies", nil)
	if err != nil {
		return
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return
	}
	defer res.Body.Close()
	var answer struct {
		Policies []struct {
			Decision struct {
				At            time.Time
				Action, Text  string
				Current, Want int
				Terms         struct {
					TargetValue float64 `json:"target_value"`
				}
			}
		}
	}
	if json.NewDecoder(res.Body).Decode(&answer) != nil || len(answer.Policies) == 0 {
		return
	}
	d := answer.Policies[0].Decision
	o.Decision = story.Decision{At: d.At, Action: d.Action, Why: d.Text, TargetValue: d.Terms.TargetValue, Current: d.Current, Now: d.Want}
}
