package servers

import (
	"fmt"
	"io"
	"os"
	"sync"
	"time"

	"golang.org/x/term"
)

// How often progress is shown: on a terminal one line is written over, elsewhere there is a new line now and then, so
// that a log shows life without being flooded.
const (
	terminalEvery = 250 * time.Millisecond
	logEvery      = 15 * time.Second
)

// progress shows how far a build is, with the time it has taken.
type progress struct {
	out      io.Writer
	name     string
	terminal bool
	started  time.Time

	mu   sync.Mutex
	text string

	quit    chan struct{}
	stopped chan struct{}
	once    sync.Once
}

func newProgress(out io.Writer, name string) *progress {
	p := &progress{out: out, name: name, started: time.Now(), quit: make(chan struct{}), stopped: make(chan struct{})}
	if f, ok := out.(*os.File); ok {
		p.terminal = term.IsTerminal(int(f.Fd()))
	}
	go p.run()
	return p
}

func (p *progress) run() {
	defer close(p.stopped)
	every := logEvery
	if p.terminal {
		every = terminalEvery
	}
	ticker := time.NewTicker(every)
	defer ticker.Stop()
	for {
		select {
		case <-p.quit:
			return
		case <-ticker.C:
			p.mu.Lock()
			text := p.text
			p.mu.Unlock()
			p.show(text, false)
		}
	}
}

// say sets what is shown next.
func (p *progress) say(text string) {
	p.mu.Lock()
	first := p.text == ""
	p.text = text
	p.mu.Unlock()
	if first {
		p.show(text, false)
	}
}

// done shows a last line and ends.
func (p *progress) done(text string) {
	p.stop()
	p.show(text, true)
}

// stop ends without a word more. It may be called again.
func (p *progress) stop() {
	p.once.Do(func() {
		close(p.quit)
		<-p.stopped
		if p.terminal {
			fmt.Fprint(p.out, "\r\x1b[K")
		}
	})
}

func (p *progress) show(text string, final bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	line := fmt.Sprintf("%s: %s, %s", p.name, text, time.Since(p.started).Round(time.Second))
	if !p.terminal || final {
		fmt.Fprintln(p.out, line)
		return
	}
	if len(line) > 100 { // one row: a line that wraps cannot be written over
		line = line[:97] + "..."
	}
	fmt.Fprintf(p.out, "\r\x1b[K%s", line)
}
