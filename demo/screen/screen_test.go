package screen

import (
	"bytes"
	"context"
	"errors"
	"io"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"
	"unicode/utf8"

	"argosy/demo/load"
	"argosy/demo/story"
)

var colour = regexp.MustCompile("\x1b\\[[0-9;]*m")

func sample() View {
	v := View{
		Facts: story.Facts{Name: "laptop", Min: 2, Max: 6, Links: []story.Link{{What: "the table", Text: "argosy dtab get default"}}},
		Up:    83 * time.Second, Titles: []string{"start", "shift", "grow"}, Step: 2, Progress: "waiting",
		Results: []story.Result{{Number: 1, Title: "start", Measured: []string{"ready after 2 s"}}},
		Seen:    true, Rates: map[string]float64{story.Redis1: 10, story.Redis2: 70}, OKRate: 80, Note: "$ argosy dtab update",
	}
	v.Now = story.Observation{
		Load:     load.Stats{Rate: 80},
		Backends: map[string]story.Backend{story.Redis1: {Connections: 3}, story.Redis2: {Connections: 12}},
		Wanted:   3, Instances: []story.Instance{{ID: "fleet-0", Pid: 4711, Connections: 7}, {ID: "fleet-1", Pid: 4712, Connections: 8}},
		Decision: story.Decision{At: time.Unix(0, 0), Action: "up", Why: "a load of 24"},
	}
	return v
}

func TestWhatIsShown(t *testing.T) {
	text := colour.ReplaceAllString(strings.Join(Render(sample(), 100, 50), "\n"), "")
	for _, want := range []string{"up 1:23", "✓ start", "▸ shift", "waiting", "redis1", "██", "3 wanted, 2 running", "fleet-1", "pid 4712",
		"up: a load of 24", "80 requests a second: 80 answered in 0 ms", "argosy dtab get default", "$ argosy dtab update", "q quit"} {
		if !strings.Contains(text, want) {
			t.Errorf("%q is not in\n%s", want, text)
		}
	}
	failed := sample()
	failed.Results[0].Err = errors.New("no\nmachine")
	failed.Free = true
	text = colour.ReplaceAllString(strings.Join(Render(failed, 100, 50), "\n"), "")
	if !strings.Contains(text, "✗ start") || !strings.Contains(text, "no machine") || !strings.Contains(text, "it is yours") {
		t.Errorf("got\n%s", text)
	}
}

func TestItFitsEveryTerminal(t *testing.T) {
	for _, v := range []View{{}, sample()} {
		for width := 20; width <= 120; width += 25 {
			for height := 2; height <= 40; height++ {
				lines := Render(v, width, height)
				if len(lines) > height {
					t.Fatalf("%d lines on %d", len(lines), height)
				}
				for _, l := range lines {
					if n := utf8.RuneCountInString(colour.ReplaceAllString(l, "")); n > width {
						t.Fatalf("%d characters on %d: %q", n, width, l)
					}
				}
				if !strings.Contains(lines[len(lines)-1], "shift") {
					t.Fatalf("%dx%d: the keys are not on the last line: %q", width, height, lines[len(lines)-1])
				}
			}
		}
	}
}

func TestBars(t *testing.T) {
	for _, c := range []struct {
		value, most float64
		want        string
	}{{0, 10, "    "}, {10, 10, "████"}, {20, 10, "████"}, {5, 10, "██  "}, {0.01, 10, "▏   "}, {1, 0, "    "}, {3, 8, "█▌  "}} {
		if got := bar(c.value, c.most, 4); got != c.want {
			t.Errorf("bar(%v, %v) is %q, want %q", c.value, c.most, got, c.want)
		}
	}
}

// board is a stage that only remembers what it was asked for.
type board struct {
	story.Stage
	mu    sync.Mutex
	asked []string
	rate  float64
}

func (b *board) Facts() story.Facts { return story.Facts{Name: "board", Calm: 80} }
func (b *board) Shift(_ context.Context, cluster string) (string, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.asked = append(b.asked, cluster)
	return "argosy dtab update", nil
}
func (b *board) SetRate(_ context.Context, r float64) { b.rate = r }
func (b *board) Observe(context.Context) (story.Observation, error) {
	return story.Observation{At: time.Now()}, nil
}

func TestKeys(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	b := &board{}
	cut := 0
	var out bytes.Buffer
	l := NewLive(b, &out, func() (int, int) { return 80, 24 }, cancel, func() { cut++ })
	l.Key(ctx, '1') // too early: nothing has been started
	if len(b.asked) > 0 {
		t.Error("a key was obeyed before the start")
	}
	l.Begin(2, 7, "baseline")
	l.Key(ctx, 'x')
	select {
	case <-l.TakeOver():
		t.Error("a key without meaning took over")
	default:
	}
	l.Keys(ctx, io.LimitReader(strings.NewReader("2++1-q1"), 6))
	<-l.TakeOver()
	if strings.Join(b.asked, " ") != "redis2 redis1" || b.rate < 119 || b.rate > 121 {
		t.Errorf("asked for %v, rate %v", b.asked, b.rate)
	}
	if ctx.Err() == nil {
		t.Error("q did not quit")
	}
	if cut != 0 {
		t.Error("cut, although asked only once")
	}
	if l.Key(ctx, 3); cut != 1 {
		t.Error("Ctrl-C after q did not cut")
	}
	l.draw()
	if !strings.Contains(out.String(), "\x1b[H") {
		t.Errorf("drew %q", out.String())
	}
}

func TestLines(t *testing.T) {
	var b strings.Builder
	l := NewLines(&b)
	l.Begin(1, 2, "start")
	l.Progress("waiting")
	l.Progress("waiting")
	l.End(story.Result{Number: 1, Took: 1500 * time.Millisecond, Measured: []string{"a", "b"}})
	l.Begin(2, 2, "end")
	l.End(story.Result{Number: 2, Took: time.Second, Err: errors.New("no")})
	want := "[1/2] start\n      ... waiting\n      a\n      b\n      done in 1.5 s\n[2/2] end\n      FAILED after 1.0 s: no\n"
	if b.String() != want {
		t.Errorf("got\n%s", b.String())
	}
	var raw strings.Builder
	n, err := crlf{&raw}.Write([]byte("a\n\nb"))
	if n != 4 || err != nil || raw.String() != "a\r\n\r\nb" {
		t.Errorf("got %d, %v, %q", n, err, raw.String())
	}
}
