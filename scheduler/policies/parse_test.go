package policies

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/nomad/api"

	"argosy/scheduler/law"
)

var all = Abilities{Prometheus: true, Scrape: true, Interval: 2 * time.Second}

// scaling is a scaling block as Nomad's API gives it.
func scaling(t *testing.T, policy string) *api.ScalingPolicy {
	t.Helper()
	low, high := int64(1), int64(8)
	p := &api.ScalingPolicy{Min: &low, Max: &high, Namespace: "default", Target: map[string]string{"Namespace": "default", "Job": "web", "Group": "cache"}}
	if err := json.Unmarshal([]byte(policy), &p.Policy); err != nil {
		t.Fatal(err)
	}
	return p
}

func TestParse(t *testing.T) {
	p, err := parse(scaling(t, `{"scheduler": "argosy", "query": "sum(x)", "age": "max(y)", "partial_if": "z", "target_value": 50,
		"tolerance": "0.2", "cooldown_up": "5s", "cooldown_down": "2m", "max_age": "9s", "step_up": 4, "step_down": "1"}`), all)
	if err != nil {
		t.Fatal(err)
	}
	want := law.Policy{TargetValue: 50, Tolerance: 0.2, Min: 1, Max: 8, CooldownUp: 5 * time.Second, CooldownDown: 2 * time.Minute,
		DownWindow: 2 * time.Minute, MaxAge: 9 * time.Second, StepUp: 4, StepDown: 1}
	if p.Law != want || p.Query.Expr != "sum(x)" || p.Query.Age != "max(y)" || p.Query.PartialIf != "z" || p.Query.MaxAge != 9*time.Second {
		t.Errorf("got %+v", p)
	}
	if p.Name != "default/web/cache" || p.Target != (Ref{Kind: Nomad, Namespace: "default", Job: "web", Group: "cache"}) {
		t.Errorf("got %+v", p)
	}
	// A block in a block is a list of one map.
	p, err = parse(scaling(t, `{"scheduler": "argosy", "metric": "m", "match": [{"listener": "redis"}], "target_value": 1}`), all)
	if err != nil || p.Query.String() != `m{listener="redis"}` || p.Law.Tolerance != DefaultTolerance || p.Law.DownWindow != DefaultCooldownDown {
		t.Errorf("got %+v, %v", p, err)
	}
}

func TestParseMistakes(t *testing.T) {
	for policy, want := range map[string]string{
		`{"query": "x"}`:                                                                 "target_value is missing",
		`{"query": "x", "target_value": "many"}`:                                         "target_value is many, must be a number",
		`{"query": "x", "target_value": 0}`:                                              "target_value is 0",
		`{"query": "x", "target_value": 1, "cooldown_up": 10}`:                           "cooldown_up is 10, must be a duration",
		`{"query": "x", "target_value": 1, "cooldown_up": "10"}`:                         "cooldown_up is 10, must be a duration",
		`{"query": 5, "target_value": 1}`:                                                "query is 5, must be a string",
		`{"target_value": 1}`:                                                            "neither query nor metric",
		`{"query": "x", "metric": "y", "target_value": 1}`:                               "both set",
		`{"query": "x", "target_value": 1, "cooldwn_up": "1s"}`:                          `unknown key "cooldwn_up"; there are scheduler, query`,
		`{"query": "x", "target_value": 1, "step_up": 1.5}`:                              "whole number",
		`{"query": "x", "target_value": 1, "match": {"a": "b"}}`:                         "match belongs to metric",
		`{"metric": "x", "target_value": 1, "match": {"a": 1}}`:                          "match.a is 1, must be a string",
		`{"metric": "x", "target_value": 1, "match": "a"}`:                               "must be a block",
		`{"query": "x", "target_value": 1, "max_age": "3s"}`:                             "at least twice the evaluation_interval",
		`{"query": "x", "target_value": 1, "tolerance": 2, "cooldown_down": "-1s"}`:      "tolerance is 2, must be at least 0 and below 1; cooldown_down is -1s",
		`{"query": "x", "target_value": 1, "check": [{"a": [{"source": "nomad-apm"}]}]}`: `unknown key "check"`,
	} {
		p := scaling(t, policy)
		p.Policy["scheduler"] = "argosy"
		if _, err := parse(p, all); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, want %q", policy, err, want)
		} else if strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: more than a line: %q", policy, err)
		}
	}
	p := scaling(t, `{"scheduler": "argosy", "query": "x", "target_value": 1}`)
	if _, err := parse(p, Abilities{Scrape: true}); err == nil || !strings.Contains(err.Error(), "prometheus block") {
		t.Errorf("a query without Prometheus: %v", err)
	}
	*p.Max = 0
	if _, err := parse(p, all); err == nil || !strings.Contains(err.Error(), "max is 0") {
		t.Errorf("max 0: %v", err)
	}
}

func TestOptIn(t *testing.T) {
	off := false
	for policy, want := range map[string]bool{
		`{"scheduler": "argosy"}`: true, `{"scheduler": "other"}`: false, `{}`: false, `{"scheduler": 1}`: false,
		`{"cooldown": "1m", "check": []}`: false,
	} {
		p := scaling(t, policy)
		if ours(p) != want {
			t.Errorf("%s: %v", policy, !want)
		}
		if p.Enabled = &off; ours(p) {
			t.Errorf("%s: taken although it is not enabled", policy)
		}
	}
}
