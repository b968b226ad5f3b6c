package screen

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"argosy/demo/story"
)

// Options say how to show a story.
type Options struct {
	Once bool // unattended: lines, the story once, and that is all
	In   io.Reader
	Out  io.Writer
	// StopWithin is how long ending everything may take before it is killed; 15s unless set.
	StopWithin time.Duration
	// Cut, when closed, is a user who will not wait: what is ending is killed. May be nil.
	Cut <-chan struct{}
}

// Show tells a story on a stage until it is over, the user quits or ctx ends, and ends everything. The error says what
// did not happen; a user who quits is none.
func Show(ctx context.Context, stage story.Stage, o Options) error {
	cutting, cut := context.WithCancel(context.WithoutCancel(ctx))
	var watching sync.WaitGroup
	defer watching.Wait()
	defer cut()
	watching.Go(func() {
		select {
		case <-o.Cut:
			cut()
		case <-cutting.Done():
		}
	})
	stage = cuttable{stage, cutting.Done()}
	if o.StopWithin <= 0 {
		o.StopWithin = 15 * time.Second
	}
	size, restore, live := func() (int, int) { return 0, 0 }, func() {}, false
	if !o.Once {
		size, restore, live = Terminal(o.In, o.Out)
	}
	if !live {
		return showLines(ctx, stage, o)
	}
	defer restore()
	return showLive(ctx, stage, o, size, cut)
}

func showLines(ctx context.Context, stage story.Stage, o Options) error {
	lines := NewLines(o.Out)
	began := time.Now()
	t := story.Options{Reporter: lines, StopWithin: o.StopWithin}
	if !o.Once {
		t.Linger = func(ctx context.Context) {
			fmt.Fprintln(o.Out, "the story is over; it goes on until Ctrl-C. To try:")
			for _, l := range stage.Facts().Links {
				fmt.Fprintf(o.Out, "      %-20s %s\n", l.What, l.Text)
			}
			<-ctx.Done()
		}
	}
	err := story.Tell(ctx, stage, t)
	if o.Once && err == nil {
		fmt.Fprintf(o.Out, "every step happened, in %.1f s\n", time.Since(began).Seconds())
	}
	switch {
	case !errors.Is(err, context.Canceled):
		return err
	case o.Once:
		return errors.New("interrupted before the story was over")
	}
	return nil
}

func showLive(ctx context.Context, stage story.Stage, o Options, size func() (int, int), cut context.CancelFunc) error {
	ctx, quit := context.WithCancel(ctx)
	defer quit()
	l := NewLive(stage, o.Out, size, quit, cut)
	go l.Keys(ctx, o.In) // stays in its last read; the process ends soon

	drawing, stopDrawing := context.WithCancel(context.WithoutCancel(ctx))
	var drawn sync.WaitGroup
	drawn.Go(func() { l.Run(drawing) })
	err := story.Tell(ctx, stage, story.Options{Reporter: l, TakeOver: l.TakeOver(), Linger: l.Linger, StopWithin: o.StopWithin})
	stopDrawing()
	drawn.Wait()

	// What was measured stays on the first screen.
	out := crlf{o.Out}
	lines := NewLines(out)
	for _, r := range l.Results() {
		lines.Begin(r.Number, r.Of, r.Title)
		lines.End(r)
	}
	if errors.Is(err, context.Canceled) {
		return nil
	}
	return err
}

// crlf ends lines the way a raw terminal needs it.
type crlf struct{ io.Writer }

func (c crlf) Write(p []byte) (int, error) {
	for i, start := 0, 0; i <= len(p); i++ {
		if i == len(p) || p[i] == '\n' {
			if _, err := c.Writer.Write(p[start:i]); err != nil {
				return start, err
			}
			if i < len(p) {
				if _, err := io.WriteString(c.Writer, "\r\n"); err != nil {
					return i, err
				}
			}
			start = i + 1
		}
	}
	return len(p), nil
}

// cuttable is a stage whose Stop does not wait any longer once cut is closed.
type cuttable struct {
	story.Stage
	cut <-chan struct{}
}

func (c cuttable) Stop(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	done := make(chan struct{})
	var watching sync.WaitGroup
	watching.Go(func() {
		select {
		case <-c.cut:
			cancel()
		case <-done:
		}
	})
	defer watching.Wait()
	defer close(done)
	return c.Stage.Stop(ctx)
}
