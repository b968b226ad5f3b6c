package screen

import (
	"context"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"time"

	"golang.org/x/term"

	"argosy/demo/story"
)

const (
	redrawEvery = 250 * time.Millisecond
	rateStep    = 1.5
	slowest     = 5.0
	fastest     = 1000.0
)

// Live shows a story on a terminal and takes part by keys. It is a story.Reporter.
type Live struct {
	stage    story.Stage
	out      io.Writer
	size     func() (width, height int)
	takeOver chan struct{}
	quit     context.CancelFunc
	cut      context.CancelFunc

	mu    sync.Mutex
	view  View
	began time.Time
	once  sync.Once
}

// NewLive makes a screen for a stage. quit is called when the user wants to end, and cut when that takes too long for
// the user's taste.
func NewLive(stage story.Stage, out io.Writer, size func() (width, height int), quit, cut context.CancelFunc) *Live {
	l := &Live{stage: stage, out: out, size: size, takeOver: make(chan struct{}), quit: quit, cut: cut, began: time.Now()}
	for _, s := range story.Steps() {
		l.view.Titles = append(l.view.Titles, s.Title)
	}
	l.view.Facts = stage.Facts()
	return l
}

// TakeOver is closed when a key has been pressed that changes something.
func (l *Live) TakeOver() <-chan struct{} { return l.takeOver }

// Begin, Progress and End keep the list of steps current.
func (l *Live) Begin(number, of int, _ string) {
	l.update(func(v *View) { v.Step, v.Progress, v.Stopping = number, "", number == of })
}

// Progress shows what is being waited for.
func (l *Live) Progress(text string) { l.update(func(v *View) { v.Progress = text }) }

// End keeps what was measured.
func (l *Live) End(r story.Result) {
	l.update(func(v *View) {
		v.Results = append(v.Results, r)
		v.Facts = l.stage.Facts()
	})
}

// Results returns the steps told so far.
func (l *Live) Results() []story.Result {
	l.mu.Lock()
	defer l.mu.Unlock()
	return append([]story.Result(nil), l.view.Results...)
}

// Linger shows that the story is over and waits until the user has had enough.
func (l *Live) Linger(ctx context.Context) {
	l.update(func(v *View) { v.Free = true })
	<-ctx.Done()
}

func (l *Live) update(f func(*View)) {
	l.mu.Lock()
	defer l.mu.Unlock()
	f(&l.view)
}

// Run redraws until ctx ends. The terminal has to be raw; Run uses its second screen and leaves the first as it was.
func (l *Live) Run(ctx context.Context) {
	fmt.Fprint(l.out, "\x1b[?1049h\x1b[?25l")
	defer fmt.Fprint(l.out, "\x1b[?25h\x1b[?1049l")
	tick := time.NewTicker(redrawEvery)
	defer tick.Stop()
	var before story.Observation
	for {
		l.mu.Lock()
		step := l.view.Step
		l.mu.Unlock()
		if step > 1 { // before that there is nothing to look at
			look, cancel := context.WithTimeout(ctx, time.Second)
			if o, err := l.stage.Observe(look); err == nil {
				l.see(&before, o)
			}
			cancel()
		}
		l.draw()
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// see works out rates over about two seconds.
func (l *Live) see(before *story.Observation, now story.Observation) {
	l.update(func(v *View) {
		whole := now
		if !before.At.IsZero() {
			d := now.At.Sub(before.At).Seconds()
			load := now.Load.Sub(before.Load)
			if d > 1.9 {
				v.Rates = map[string]float64{}
				for name, b := range now.Backends {
					v.Rates[name] = max(0, float64(b.Requests-before.Backends[name].Requests)/d)
				}
				v.OKRate = float64(load.OK) / d
				v.P50, v.P99 = load.Latency.Quantile(.5), load.Latency.Quantile(.99)
				*before = whole
			}
		} else {
			*before = whole
		}
		v.Now, v.Seen = now, true
	})
}

func (l *Live) draw() {
	l.mu.Lock()
	v := l.view
	l.mu.Unlock()
	v.Up = time.Since(l.began)
	width, height := l.size()
	var b strings.Builder
	b.WriteString("\x1b[H")
	for i, line := range Render(v, width, height) {
		if i > 0 {
			b.WriteString("\r\n")
		}
		b.WriteString(line + reset + "\x1b[K")
	}
	b.WriteString("\x1b[J")
	io.WriteString(l.out, b.String())
}

// Keys reads keys until in fails; ctx is for what they do.
func (l *Live) Keys(ctx context.Context, in io.Reader) {
	buf := make([]byte, 16)
	for {
		n, err := in.Read(buf)
		if err != nil {
			return
		}
		for _, k := range buf[:n] {
			l.Key(ctx, k)
		}
	}
}

// Key does what a key stands for.
func (l *Live) Key(ctx context.Context, k byte) {
	switch k {
	case 'q', 'Q', 3, 4: // 3 and 4 are Ctrl-C and Ctrl-D on a raw terminal
		l.mu.Lock()
		again := l.view.Quitting
		l.view.Quitting, l.view.Note = true, ""
		l.mu.Unlock()
		if again {
			l.cut()
		}
		l.quit()
		return
	case '1', '2', '+', '=', '-', '_':
	default:
		return
	}
	l.mu.Lock()
	started := l.view.Step > 1
	rate := l.view.Now.Load.Rate
	l.mu.Unlock()
	if !started {
		return
	}
	l.once.Do(func() { close(l.takeOver) })
	switch k {
	case '1', '2':
		cluster := "redis" + string(k)
		command, err := l.stage.Shift(ctx, cluster)
		if err != nil {
			l.update(func(v *View) { v.Note = oneLine(fmt.Sprintf("shift to %s: %v", cluster, err)) })
			return
		}
		l.update(func(v *View) { v.Note = "$ " + command })
	default:
		if rate == 0 {
			rate = l.stage.Facts().Calm
		}
		if k == '+' || k == '=' {
			rate = min(rate*rateStep, fastest)
		} else {
			rate = max(rate/rateStep, slowest)
		}
		l.stage.SetRate(ctx, rate)
		l.update(func(v *View) {
			v.Now.Load.Rate = rate
			v.Note = fmt.Sprintf("load: %.0f requests a second", rate)
		})
	}
}

// Terminal makes in raw if both it and out are terminals. restore undoes that; not ok: show lines instead.
func Terminal(in io.Reader, out io.Writer) (size func() (int, int), restore func(), ok bool) {
	i, isFile := in.(*os.File)
	o, isFile2 := out.(*os.File)
	if !isFile || !isFile2 || !term.IsTerminal(int(i.Fd())) || !term.IsTerminal(int(o.Fd())) || os.Getenv("TERM") == "dumb" {
		return nil, nil, false
	}
	old, err := term.MakeRaw(int(i.Fd()))
	if err != nil {
		return nil, nil, false
	}
	size = func() (int, int) {
		w, h, err := term.GetSize(int(o.Fd()))
		if err != nil || w < 20 || h < 5 {
			return 80, 24
		}
		return w, h
	}
	return size, func() { _ = term.Restore(int(i.Fd()), old) }, true
}
