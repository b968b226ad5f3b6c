//go:build linux

package proxies

import (
	"os"
	"strings"
	"testing"
	"time"
)

func TestParseRedisBenchmark(t *testing.T) {
	for text, want := range map[string]float64{
		"\"test\",\"rps\",\"avg_latency_ms\"\n\"GET\",\"61349.70\",\"0.403\"\n": 61349.70,
		"\"GET\",\"100.5\"\n": 100.5,
		"\"SET\",\"100.5\"\n": 0,
		"\"GET\",\"none\"\n":  0,
		"\"GET\",\"0\"\n":     0,
		"Could not connect":   0,
		"\"GET":               0,
		"":                    0,
	} {
		if got, err := parseRedisBenchmark(text); got != want || (err == nil) != (want > 0) {
			t.Errorf("%q: %v, %v", text, got, err)
		}
	}
}

func TestScenarios(t *testing.T) {
	seen := make(map[string]bool)
	for _, s := range scenarios() {
		if s.name == "" || s.title == "" || s.measure == nil || seen[s.name] {
			t.Errorf("%+v", s)
		}
		seen[s.name] = true
	}
	for _, a := range aims() {
		if !seen[a.scenario] || (a.least > 0) == (a.most > 0) {
			t.Errorf("%+v", a)
		}
	}
	for _, p := range panels() {
		if !seen[p.scenario] {
			t.Errorf("%+v", p)
		}
	}
}

func TestSettings(t *testing.T) {
	for _, s := range []Settings{Full(), Quick()} {
		if err := s.Check(); err != nil {
			t.Error(err)
		}
	}
	for _, change := range []func(*Settings){
		func(s *Settings) { s.Rounds = 0 },
		func(s *Settings) { s.Slice = time.Millisecond },
		func(s *Settings) { s.Idle = 100_000 },
	} {
		s := Full()
		change(&s)
		if s.Check() == nil {
			t.Errorf("%+v", s)
		}
	}
	s := Quick()
	s.Peers, s.Progress = []string{"nobody"}, t.Output()
	if _, err := Run(t.Context(), s, nil); err == nil || !strings.Contains(err.Error(), `no proxy "nobody"`) {
		t.Error(err)
	}
}

func TestMissingProgram(t *testing.T) {
	if err := available("no-such-program", "a-package"); err == nil || !strings.Contains(err.Error(), "apt-get install a-package") {
		t.Error(err)
	}
	if err := available(os.Args[0], "x"); err != nil {
		t.Error(err)
	}
}
