package scheduler

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"argosy/scheduler/law"
)

var noon = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

func TestBudget(t *testing.T) {
	var b budget
	broken := errors.New("broken")
	for i := 1; i < freeFailures; i++ {
		b.failed(noon, broken)
		if _, closed := b.closed(noon); closed {
			t.Fatalf("closed after %d", i)
		}
	}
	wait := firstPenalty
	now := noon
	for range 12 {
		b.failed(now, broken)
		if _, closed := b.closed(now.Add(wait - 1)); !closed {
			t.Errorf("open within %v", wait)
		}
		if why, closed := b.closed(now.Add(wait)); closed {
			t.Errorf("closed after %v: %s", wait, why)
		}
		if _, closed := b.closed(now.Add(-24 * time.Hour)); closed {
			t.Error("closed for a day after the clock was set back")
		}
		now = now.Add(wait)
		wait = min(2*wait, longestPenalty)
	}
	b.succeeded()
	if _, closed := b.closed(now); closed || b.failures != 0 {
		t.Error("closed after a success")
	}
}

func TestJournal(t *testing.T) {
	j := newJournal()
	decide := func(i int, a law.Action, r law.Reason, current int) law.Decision {
		return law.Decision{At: noon.Add(time.Duration(i) * time.Second), Action: a, Reason: r, Current: current}
	}
	if j.record("a", "t", decide(0, law.Hold, law.OnTarget, 1)) {
		t.Error("the first is a repetition")
	}
	j.record("b", "u", decide(1, law.Hold, law.Stale, 1))
	if !j.record("a", "t", decide(2, law.Hold, law.OnTarget, 1)) {
		t.Error("the same hold is not a repetition")
	}
	j.record("a", "t", decide(3, law.Up, law.AboveTarget, 1))
	j.record("a", "t", decide(4, law.Up, law.AboveTarget, 2))
	j.record("a", "t", decide(5, law.Hold, law.OnTarget, 2))
	var got []string
	for _, e := range j.recent("", 100) {
		got = append(got, fmt.Sprintf("%s %s x%d", e.Policy, e.Reason, e.Repeated))
	}
	want := "[a on_target x1 a above_target x1 a above_target x1 b stale x1 a on_target x2]"
	if fmt.Sprint(got) != want {
		t.Errorf("got %v, want %v", got, want)
	}
	if e := j.recent("a", 100)[3]; !e.Since.Equal(noon) || !e.At.Equal(noon.Add(2*time.Second)) {
		t.Errorf("%+v", e)
	}
	if n := len(j.recent("a", 2)); n != 2 {
		t.Errorf("%d of 2", n)
	}
	newest := j.newest()
	if all, _ := newest.Load(); len(all) != 2 || all[0].Policy != "a" || all[1].Policy != "b" {
		t.Errorf("%+v", all)
	}
	_, superseded := newest.Load()
	j.forget("b")
	<-superseded
	if all, _ := newest.Load(); len(all) != 1 {
		t.Errorf("%+v", all)
	}
	for i := range 3 * journalSize {
		j.record("a", "t", decide(i, law.Up, law.AboveTarget, i))
	}
	if n := len(j.recent("", 2*journalSize)); n != journalSize {
		t.Errorf("%d entries are kept", n)
	}
}
