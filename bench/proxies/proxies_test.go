//go:build linux

package proxies

import (
	"os"
	"strings"
	"syscall"
	"testing"
	"time"
)

func TestParseStat(t *testing.T) {
	s, err := parseStat([]byte("12 (a ) b) S 1 77 77 0 -1 4194560 1 0 0 0 150 25 0 0 20 0 5 0 1 1 1"))
	if err != nil || s.group != 77 || s.cpu != 1750*time.Millisecond {
		t.Errorf("%+v, %v", s, err)
	}
	for _, text := range []string{"", "12 (a) S 1 77", "12 (a) S 1 x 77 0 -1 4194560 1 0 0 0 150 25", "12 (a) S 1 7 77 0 -1 4194560 1 0 0 0 y 25"} {
		if s, err := parseStat([]byte(text)); err == nil {
			t.Errorf("%q: %+v", text, s)
		}
	}
}

func TestGroupUsage(t *testing.T) {
	u, err := groupUsage(syscall.Getpgrp())
	if err != nil || u.memory < 1000 || u.files < 3 {
		t.Errorf("%+v, %v", u, err)
	}
	if _, err := groupUsage(1 << 30); err == nil {
		t.Error("a group without processes")
	}
}

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
