// Package shift moves the connections of a name from what it stands for to another name, step by step: each step writes
// the table with other weights, by compare-and-set, and is watched before the next. When something gets worse the table
// goes back to what it was. A shift that was stopped goes on from the weights in the table.
package shift

import (
	"context"
	"errors"
	"fmt"
	"time"

	"argosy/dtab"
	"argosy/namerd/store"
)

// Check watches something while a step is in force. It is used by one goroutine.
type Check interface {
	// Begin is called when a step has been written.
	Begin(ctx context.Context) error
	// Look says what is bad now, or nothing, and what there is to tell. An error means that it cannot be told.
	Look(ctx context.Context) (bad, note string, err error)
}

// Options say what is shifted and how. Over, Steps and Interval have no defaults.
type Options struct {
	Store     store.Store
	Namespace string
	Name, To  dtab.Path
	Over      time.Duration // the whole, the watching of the last step included
	Steps     int           // 1 to 100
	Interval  time.Duration // between two looks of the checks
	Checks    []Check
	Message   string      // why, for the history; each step adds what it does
	KeepOnEnd bool        // when ctx ends, leave the table as it is instead of going back
	Report    func(Event) // is told of everything, by one goroutine; may be nil
}

// EventKind says what an Event tells.
type EventKind string

// The kinds of events.
const (
	Stepped     EventKind = "step"     // a step has been written
	Resumed     EventKind = "resume"   // a step of an earlier shift is in force
	Watched     EventKind = "watched"  // the time of a step is over
	Trouble     EventKind = "trouble"  // something could not be told or done, and is tried again
	RollingBack EventKind = "rollback" // it is going back
	Finished    EventKind = "done"
)

// Event is something that has happened.
type Event struct {
	Kind    EventKind
	Step    int           // counted from 1
	Percent int           // of the connections, to the new name
	Entry   string        // of the name, as it is in force
	Left    time.Duration // until the shift is done
	Notes   []string      // what the checks tell, or the reason
}

// What ends a shift early.
var (
	// ErrChanged means that somebody else has changed the table. It has been left as they want it.
	ErrChanged = errors.New("somebody else has changed the table meanwhile, so it was left as it is")
	// ErrInterrupted means that the shift was told to stop, and the table left on the way.
	ErrInterrupted = errors.New("stopped on the way, and the table left as it is; the same command goes on from there")
)

// RolledBackError says why a shift has gone back, and whether it could.
type RolledBackError struct {
	Reason string
	Err    error // why the table could not be put back; nil: it is
}

func (e *RolledBackError) Error() string {
	if e.Err != nil {
		return fmt.Sprintf("%s; and the table could not be put back: %v", e.Reason, e.Err)
	}
	return e.Reason + "; the table is what it was before"
}

func (e *RolledBackError) Unwrap() error { return e.Err }

const (
	mostUnknown   = 3                // looks in a row that a check may fail to tell anything
	writeTries    = 5                // of one change
	firstPause    = time.Second      // between two of them, doubled each time
	rollbackLimit = 30 * time.Second // for going back after the end of the context
)

// run is a shift under way.
type run struct {
	Options
	split   *Split
	version store.Version
	table   dtab.Dtab // in force, as far as we know
	pending dtab.Dtab // being written: it may be in force
	unknown []int     // by check
}

// Run shifts and returns when all connections go to the new name, and the last step has been watched. It returns a
// *RolledBackError when it went back, and ErrChanged or another error where the table was left on the way.
func Run(ctx context.Context, o Options) error {
	r := &run{Options: o, unknown: make([]int, len(o.Checks))}
	e, err := o.Store.Get(ctx, o.Namespace)
	if err != nil {
		return err
	}
	r.version, r.table = e.Version, e.Dtab
	if r.split, err = Find(e.Dtab, o.Name, o.To); err != nil {
		return err
	}
	if r.split.Done() {
		r.report(Event{Kind: Finished, Step: o.Steps, Percent: 100})
		return nil
	}
	err = r.steps(ctx)
	var bad *RolledBackError
	if errors.As(err, &bad) {
		r.goBack(ctx, bad)
	}
	return err
}

// PercentAt is how many of a hundred connections a step of several gives to the new name.
func PercentAt(step, steps int) int { return (200*step + steps) / (2 * steps) }

func (r *run) steps(ctx context.Context) error {
	if r.split.Resumed {
		step := 0
		for step < r.Steps && PercentAt(step+1, r.Steps) <= r.split.Percent {
			step++
		}
		if err := r.stage(ctx, Event{Kind: Resumed, Step: step, Percent: r.split.Percent}); err != nil {
			return err
		}
	}
	for step := 1; step <= r.Steps; step++ {
		percent := PercentAt(step, r.Steps)
		if percent <= r.split.Percent {
			continue
		}
		did := fmt.Sprintf("shift %s to %s: %d%%, step %d of %d", r.Name, r.To, percent, step, r.Steps)
		if err := r.write(r.because(ctx, did), r.split.At(percent)); err != nil {
			return r.ended(ctx, err)
		}
		if err := r.stage(ctx, Event{Kind: Stepped, Step: step, Percent: percent}); err != nil {
			return err
		}
	}
	r.report(Event{Kind: Finished, Step: r.Steps, Percent: 100, Entry: r.split.entryAt(100)})
	return nil
}

// stage watches one step that is in force, and tells when it begins and ends.
func (r *run) stage(ctx context.Context, e Event) error {
	e.Entry, e.Left = r.split.entryAt(e.Percent), r.left(e.Step)
	r.report(e)
	notes, err := r.watch(ctx)
	if err != nil {
		return r.ended(ctx, err)
	}
	e.Kind, e.Notes, e.Left = Watched, notes, r.left(e.Step+1)
	r.report(e)
	return nil
}

// left is the time that this step and those behind it take.
func (r *run) left(step int) time.Duration {
	return r.pace() * time.Duration(r.Steps-step+1)
}

func (r *run) pace() time.Duration { return r.Over / time.Duration(r.Steps) }

// ended words what has ended the steps: the end of ctx means to go back, unless that is not wanted.
func (r *run) ended(ctx context.Context, err error) error {
	switch {
	case ctx.Err() == nil:
		return err
	case r.KeepOnEnd:
		return ErrInterrupted
	}
	return &RolledBackError{Reason: "interrupted"}
}

// watch looks at the checks until the time of a step is over.
func (r *run) watch(ctx context.Context) (notes []string, err error) {
	for _, c := range r.Checks {
		if err := c.Begin(ctx); err != nil {
			r.trouble(err)
		}
	}
	end := time.NewTimer(r.pace())
	defer end.Stop()
	tick := time.NewTicker(min(r.Interval, r.pace()))
	defer tick.Stop()
	for {
		over := false
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-end.C:
			over = true
		case <-tick.C:
		}
		if err := r.unchanged(ctx); err != nil {
			return nil, err
		}
		notes = notes[:0]
		for i, c := range r.Checks {
			bad, note, err := c.Look(ctx)
			switch {
			case ctx.Err() != nil:
				return nil, ctx.Err()
			case err != nil:
				r.trouble(err)
				if r.unknown[i]++; r.unknown[i] >= mostUnknown {
					return nil, &RolledBackError{Reason: "cannot tell how it goes: " + err.Error()}
				}
			case bad != "":
				return nil, &RolledBackError{Reason: bad}
			default:
				r.unknown[i] = 0
			}
			if note != "" {
				notes = append(notes, note)
			}
		}
		if over {
			return notes, nil
		}
	}
}

// unchanged notices that somebody else has changed the table. A store that does not answer says nothing.
func (r *run) unchanged(ctx context.Context) error {
	e, err := r.Store.Get(ctx, r.Namespace)
	switch {
	case errors.Is(err, store.ErrMissing), err == nil && e.Version != r.version:
		return ErrChanged
	case err != nil && ctx.Err() == nil:
		r.trouble(err)
	}
	return nil
}

// write replaces the table that is in force, as long as it is that. A store in trouble is tried again.
func (r *run) write(ctx context.Context, table dtab.Dtab) error {
	pause := firstPause
	r.pending = table
	for try := 1; ; try++ {
		err := r.Store.Update(ctx, r.Namespace, table, r.version)
		switch {
		case errors.Is(err, store.ErrReadOnly), errors.Is(err, store.ErrName):
			return err
		case errors.Is(err, store.ErrMissing):
			return ErrChanged
		}
		// A change does not tell its version, and one that failed may have been made all the same.
		e, readErr := r.Store.Get(ctx, r.Namespace)
		switch {
		case errors.Is(readErr, store.ErrMissing):
			return ErrChanged
		case readErr != nil && err == nil:
			err = readErr
		case readErr == nil && e.Version != r.version && e.Dtab.String() == table.String():
			r.version, r.table, r.pending = e.Version, table, nil
			return nil
		case readErr == nil && (e.Version != r.version || errors.Is(err, store.ErrVersion)):
			return ErrChanged
		}
		if err == nil {
			err = errors.New("the store has not taken the table")
		}
		if try == writeTries || ctx.Err() != nil {
			return fmt.Errorf("%w; the table is left as it is, and the same command goes on from there", err)
		}
		r.trouble(err)
		select {
		case <-time.After(pause):
			pause *= 2
		case <-ctx.Done():
		}
	}
}

// goBack puts the table back, also when ctx has ended.
func (r *run) goBack(ctx context.Context, bad *RolledBackError) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), rollbackLimit)
	defer cancel()
	r.report(Event{Kind: RollingBack, Notes: []string{bad.Reason}})
	if r.pending != nil { // the end has come while it was being written
		if e, err := r.Store.Get(ctx, r.Namespace); err == nil && e.Dtab.String() == r.pending.String() {
			r.version, r.table = e.Version, r.pending
		}
	}
	before := r.split.Before()
	if before.String() == r.table.String() {
		return // nothing has been written yet
	}
	bad.Err = r.write(r.because(ctx, fmt.Sprintf("shift %s to %s: back, %s", r.Name, r.To, bad.Reason)), before)
}

// because is ctx for a change, with what the history says about it.
func (r *run) because(ctx context.Context, did string) context.Context {
	if r.Message != "" {
		did = r.Message + "; " + did
	}
	return store.WithAuthor(ctx, store.Author{Message: did})
}

func (r *run) trouble(err error) { r.report(Event{Kind: Trouble, Notes: []string{err.Error()}}) }

func (r *run) report(e Event) {
	if r.Report != nil {
		r.Report(e)
	}
}

// entryAt is the entry that the table has with so many percent.
func (s *Split) entryAt(percent int) string {
	e := s.At(percent)[s.entry]
	return e.Prefix.String() + " => " + dtab.TreeString(e.Dst)
}
