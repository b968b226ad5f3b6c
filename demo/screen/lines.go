// Package screen shows a story: as lines that scroll by, or live on a terminal, with keys to take part.
package screen

import (
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"argosy/demo/story"
)

// Lines tells a story in lines, for logs, pipes and unattended runs. Its methods may be called from any goroutine.
type Lines struct {
	mu   sync.Mutex
	out  io.Writer
	last string
}

// NewLines makes a reporter that writes to out.
func NewLines(out io.Writer) *Lines { return &Lines{out: out} }

// Begin writes the step's title.
func (l *Lines) Begin(number, of int, title string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	fmt.Fprintf(l.out, "[%d/%d] %s\n", number, of, title)
}

// Progress writes what is being waited for, once.
func (l *Lines) Progress(text string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if text != l.last {
		fmt.Fprintf(l.out, "      ... %s\n", text)
		l.last = text
	}
}

// End writes what was measured.
func (l *Lines) End(r story.Result) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, m := range r.Measured {
		fmt.Fprintf(l.out, "      %s\n", m)
	}
	switch {
	case errors.Is(r.Err, story.ErrTakenOver):
		fmt.Fprintln(l.out, "      given up: you have taken over")
		return
	case r.Err != nil:
		fmt.Fprintf(l.out, "      FAILED after %s: %v\n", took(r.Took), r.Err)
		return
	}
	fmt.Fprintf(l.out, "      done in %s\n", took(r.Took))
}

func took(d time.Duration) string { return fmt.Sprintf("%.1f s", d.Seconds()) }
