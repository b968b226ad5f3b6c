package main

import (
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"argosy/dtab"
	"argosy/internal/fleet"
	"argosy/internal/terminal"
	"argosy/namerd/shift"
)

// shiftReport tells how a shift goes.
type shiftReport struct {
	*meta
	flags    *shiftFlags
	split    *shift.Split
	failures *shift.Failures // nil without agents
}

func newShiftReport(m *meta, f *shiftFlags, s *shift.Split) *shiftReport {
	return &shiftReport{meta: m, flags: f, split: s}
}

// begin says what is going to happen.
func (r *shiftReport) begin() {
	if r.flags.json {
		return
	}
	f := r.flags
	if r.split.Done() {
		fmt.Fprintf(r.out, "%s in %s goes to %s already\n", f.name, f.namespace, f.target)
		return
	}
	fmt.Fprintf(r.out, "%s in %s: from %s to %s in %d steps of %s\n", f.name, f.namespace, dtab.TreeString(r.split.Old), f.target,
		f.steps, short(f.over/time.Duration(f.steps)))
	if r.failures == nil && f.abortOn == "" {
		fmt.Fprintln(r.errs, "argosy: warning: nothing is watched; name agents, or a query with -abort-on")
	}
	if r.split.Resumed {
		fmt.Fprintf(r.out, "it goes on from %d%%, and would go back to %s\n", r.split.Percent, dtab.TreeString(r.split.Old))
	}
}

// shiftLine is what -json prints for each event.
type shiftLine struct {
	At      time.Time   `json:"at"`
	Event   string      `json:"event"` // step, resume, watched, trouble, rollback or done
	Step    int         `json:"step"`
	Steps   int         `json:"steps"`
	Percent int         `json:"percent"`
	Entry   string      `json:"entry,omitempty"`
	Left    float64     `json:"left_seconds"`
	Notes   []string    `json:"notes,omitempty"`
	Traffic *fleet.Seen `json:"traffic,omitempty"` // of watched
}

func (r *shiftReport) event(e shift.Event) {
	if r.flags.json {
		l := shiftLine{
			At: time.Now(), Event: string(e.Kind), Step: e.Step, Steps: r.flags.steps, Percent: e.Percent, Entry: e.Entry,
			Left: e.Left.Seconds(), Notes: e.Notes,
		}
		if e.Kind == shift.Watched && r.failures != nil {
			l.Traffic = &r.failures.Seen
		}
		enc := json.NewEncoder(r.out)
		enc.SetEscapeHTML(false)
		_ = enc.Encode(l) // a reader that has gone away stops no shift
		return
	}
	at := time.Now().Format(time.TimeOnly)
	switch e.Kind {
	case shift.Stepped, shift.Resumed:
		fmt.Fprintf(r.out, "%s  %3d%%  %s  %s left\n", at, e.Percent, e.Entry, short(e.Left))
	case shift.Watched:
		for _, n := range e.Notes {
			fmt.Fprintf(r.out, "%s        %s\n", at, terminal.OneLine(n))
		}
	case shift.Trouble:
		fmt.Fprintf(r.errs, "%s        %s\n", at, terminal.OneLine(strings.Join(e.Notes, ", ")))
	case shift.RollingBack:
		fmt.Fprintf(r.out, "%s        going back: %s\n", at, terminal.OneLine(strings.Join(e.Notes, ", ")))
	case shift.Finished:
		if !r.split.Done() {
			fmt.Fprintf(r.out, "%s        done\n", at)
		}
	}
}

// short writes a time without the zeros that Duration has: 10m, 1m30s, 400ms.
func short(d time.Duration) string {
	s := d.Round(time.Millisecond).String()
	if strings.HasSuffix(s, "m0s") {
		s = strings.TrimSuffix(s, "0s")
	}
	if strings.HasSuffix(s, "h0m") {
		s = strings.TrimSuffix(s, "0m")
	}
	return s
}
