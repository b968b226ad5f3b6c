package story

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"
)

// Step is one scene: what it shows, how long it may take, and how it is done. do returns what was measured, as
// sentences for people.
type Step struct {
	Title  string
	within func(Facts) time.Duration
	do     func(ctx context.Context, t *telling) ([]string, error)
}

// Result is a step that has been told.
type Result struct {
	Number, Of int
	Title      string
	Took       time.Duration
	Measured   []string
	Err        error
}

// telling is one telling of the story.
type telling struct {
	stage  Stage
	facts  Facts
	report Reporter
	before Observation // the fleet and the counters as the step before left them
}

// Reporter hears how the story goes on. Its methods are called by one goroutine.
type Reporter interface {
	Begin(number, of int, title string)
	Progress(text string)
	End(Result)
}

// pollEvery is how often a step looks whether what it waits for has happened.
const pollEvery = 200 * time.Millisecond

// Steps are the scenes in their order, without the end, which Tell adds.
func Steps() []Step {
	fixed := func(d time.Duration) func(Facts) time.Duration { return func(Facts) time.Duration { return d } }
	return []Step{
		{"start everything", func(f Facts) time.Duration { return f.StartWithin }, start},
		{"all traffic goes to redis1", fixed(20 * time.Second), baseline},
		{"a client without a certificate is refused", fixed(15 * time.Second), refused},
		{"one Dtab update moves 100 % to redis2, without a restart", func(f Facts) time.Duration { return f.ShiftWithin }, shift},
		{"the load rises and the fleet grows", func(f Facts) time.Duration { return f.ScaleWithin }, grow},
		{"the load falls and the fleet shrinks", func(f Facts) time.Duration { return f.ScaleWithin }, shrink},
	}
}

// endTitle is the last scene.
const endTitle = "end everything, and leave nothing behind"

// Options say how to tell a story.
type Options struct {
	Reporter Reporter
	// TakeOver, when closed, gives up the steps that are left: somebody wants to play for themselves.
	TakeOver <-chan struct{}
	// Linger is called after the steps, also when one has failed, and returns when it is time to end; nil: at once. It is
	// not called when the stage could not be started.
	Linger func(ctx context.Context)
	// StopWithin is how long the end may take.
	StopWithin time.Duration
}

// ErrTakenOver ends the steps early without being a failure.
var ErrTakenOver = errors.New("given up: you have taken over")

// Tell tells the story on a stage, ends everything, whatever happens, and says what did not happen as it should. When ctx
// ends, the steps left are skipped and the error is ctx's.
func Tell(ctx context.Context, stage Stage, o Options) error {
	steps := Steps()
	t := &telling{stage: stage, facts: stage.Facts(), report: o.Reporter}
	telling, cancel := context.WithCancelCause(ctx)
	var watching sync.WaitGroup
	defer watching.Wait()
	defer cancel(nil)
	watching.Go(func() {
		select {
		case <-o.TakeOver:
			cancel(ErrTakenOver)
		case <-telling.Done():
		}
	})

	var failed error
	for i, s := range steps {
		stepCtx := telling
		if i == 0 {
			stepCtx = ctx // nobody can take over what has not started
		}
		if failed = t.step(stepCtx, i+1, len(steps)+1, s.Title, s.within(t.facts), s.do); failed != nil {
			if o.Linger != nil && i > 0 && ctx.Err() == nil {
				o.Linger(ctx)
			}
			break
		}
	}
	if failed == nil && o.Linger != nil {
		o.Linger(ctx)
	}
	if errors.Is(failed, ErrTakenOver) {
		failed = nil
	}
	end := t.step(context.WithoutCancel(ctx), len(steps)+1, len(steps)+1, endTitle, o.StopWithin, stop)
	if err := ctx.Err(); err != nil && errors.Is(failed, err) {
		if failed = err; end != nil {
			return end // being told to end is no excuse for leaving something behind
		}
	}
	return errors.Join(failed, end)
}

func (t *telling) step(ctx context.Context, number, of int, title string, within time.Duration, do func(context.Context, *telling) ([]string, error)) error {
	t.report.Begin(number, of, title)
	began := time.Now()
	ctx, cancel := context.WithTimeoutCause(ctx, within, fmt.Errorf("it took longer than %v", within))
	defer cancel()
	measured, err := do(ctx, t)
	if err != nil {
		if cause := context.Cause(ctx); cause != nil && !errors.Is(err, cause) {
			err = fmt.Errorf("%w: %w", cause, err)
		}
		err = fmt.Errorf("step %d (%s): %w", number, title, err)
	}
	t.report.End(Result{Number: number, Of: of, Title: title, Took: time.Since(began), Measured: measured, Err: err})
	return err
}

// until looks again and again until done says so. When ctx ends first, the error is what was missing last.
func (t *telling) until(ctx context.Context, done func(Observation) (missing string)) (Observation, error) {
	missing := ""
	for {
		o, err := t.stage.Observe(ctx)
		now := ""
		if err != nil {
			now = err.Error()
		} else if now = done(o); now == "" {
			return o, nil
		}
		if missing == "" || ctx.Err() == nil { // else it tells only that the time was over
			missing = now
		}
		select {
		case <-ctx.Done():
			return o, errors.New(missing)
		case <-time.After(pollEvery):
		}
	}
}

// observe looks until it has seen everything once.
func (t *telling) observe(ctx context.Context) (Observation, error) {
	return t.until(ctx, func(Observation) string { return "" })
}
