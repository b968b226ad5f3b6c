package policies_test

import (
	"context"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/nomad/api"

	"argosy/internal/nomadclient"
	"argosy/internal/settings"
	"argosy/scheduler/policies"
	"argosy/scheduler/target/nomad/nomadtest"
)

// with is a job whose group has a scaling block.
func with(id string, policy map[string]any) *api.Job {
	j := nomadtest.Job(id, "g", 1)
	j.TaskGroups[0].Scaling = nomadtest.Scaling(1, 5, policy)
	return j
}

func good(target float64) map[string]any {
	return map[string]any{"scheduler": "argosy", "query": "sum(x)", "target_value": target}
}

func follow(t *testing.T, s *nomadtest.Server) *policies.Jobs {
	t.Helper()
	client, err := nomadclient.New(settings.Nomad{Address: s.URL})
	if err != nil {
		t.Fatal(err)
	}
	j := policies.NewJobs(client, []string{"default", "empty"}, policies.Abilities{Prometheus: true}, hclog.NewNullLogger())
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { defer close(done); j.Run(ctx) }()
	t.Cleanup(func() { cancel(); <-done })
	return j
}

func eventually(t *testing.T, j *policies.Jobs, what string, ok func(policies.Snapshot) bool) policies.Snapshot {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	for {
		s, superseded := j.Policies().Load()
		if ok(s) {
			return s
		}
		select {
		case <-superseded:
		case <-ctx.Done():
			t.Fatalf("not %s: %+v", what, s)
		}
	}
}

func names(s policies.Snapshot) string {
	var all []string
	for _, p := range s.Policies {
		all = append(all, p.Name)
	}
	return strings.Join(all, " ")
}

func TestJobsAreFollowedLive(t *testing.T) {
	s := nomadtest.New(t)
	s.Register(nomadtest.Job("plain", "g", 1))
	s.Register(with("other", map[string]any{"check": "of another autoscaler"}))
	s.Register(with("web", good(50)))
	j := follow(t, s)
	got := eventually(t, j, "there", func(s policies.Snapshot) bool { return names(s) == "default/web/g" })
	if p := got.Policies[0]; p.Law.Max != 5 || p.Law.TargetValue != 50 {
		t.Errorf("%+v", p)
	}
	// A bad one stops nobody else, and says what is wrong with it.
	s.Register(with("bad", map[string]any{"scheduler": "argosy", "qery": "x"}))
	s.Register(with("cache", good(10)))
	got = eventually(t, j, "both and a problem", func(s policies.Snapshot) bool {
		return names(s) == "default/cache/g default/web/g" && len(s.Problems) == 1
	})
	if p := got.Problems[0]; p.Policy != "default/bad/g" || !strings.Contains(p.Error, `unknown key "qery"`) || !strings.Contains(p.Origin, "job bad") {
		t.Errorf("%+v", p)
	}
	s.Register(with("bad", good(1)))
	s.Register(with("web", good(70)))
	eventually(t, j, "changed", func(s policies.Snapshot) bool {
		return names(s) == "default/bad/g default/cache/g default/web/g" && len(s.Problems) == 0 && s.Policies[2].Law.TargetValue == 70
	})
	s.Purge("cache")
	s.Register(nomadtest.Job("bad", "g", 1))
	eventually(t, j, "fewer", func(s policies.Snapshot) bool { return names(s) == "default/web/g" })
}

// While Nomad does not answer, nobody loses a policy; afterwards changes arrive again.
func TestTroubleKeepsThePolicies(t *testing.T) {
	s := nomadtest.New(t)
	s.Register(with("web", good(50)))
	j := follow(t, s)
	eventually(t, j, "there", func(s policies.Snapshot) bool { return names(s) == "default/web/g" })
	s.Break(func(*http.Request) int { return http.StatusInternalServerError })
	before := s.Requests()
	time.Sleep(1500 * time.Millisecond)
	if n := s.Requests() - before; n > 15 {
		t.Errorf("%d requests in 1.5s of trouble", n)
	}
	if got, _ := j.Policies().Load(); names(got) != "default/web/g" {
		t.Errorf("lost: %+v", got)
	}
	s.Break(nil)
	s.Register(with("cache", good(10)))
	eventually(t, j, "both", func(s policies.Snapshot) bool { return names(s) == "default/cache/g default/web/g" })
}
