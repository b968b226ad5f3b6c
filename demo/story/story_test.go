package story

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"argosy/demo/load"
	"argosy/demo/web"
)

// simulation is a stage that works out what would be seen, from what has been done and the time. Its faults are what can
// go wrong.
type simulation struct {
	mu                        sync.Mutex
	began, shifted, rateSince time.Time
	rate                      float64
	sent                      float64
	grown, stopped            bool

	noStart, letIn, noShift, noGrowth, idleGrowth, noShrink, failsOnShift, failsOnShrink, restarts, leaves, probeFails bool
}

const (
	life    = 5 * time.Second // of a connection
	perGrow = 3 * time.Second // until the fleet has changed
)

func (s *simulation) Facts() Facts {
	return Facts{Name: "simulation", Calm: 100, Busy: 400, Min: 2, Max: 6, StartWithin: 10 * time.Second,
		ScaleWithin: 30 * time.Second, ShiftWithin: 20 * time.Second, HowCertificate: "nobody"}
}

func (s *simulation) Start(_ context.Context, progress func(string)) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	progress("simulating")
	if s.noStart {
		return errors.New("no machine")
	}
	s.began = time.Now()
	return nil
}

func (s *simulation) Shift(_ context.Context, cluster string) (string, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if cluster != Redis2 {
		return "", errors.New("not simulated")
	}
	if !s.noShift {
		s.shifted = time.Now().Add(10 * time.Millisecond)
	}
	return "argosy dtab update", nil
}

func (s *simulation) WithoutCertificate(context.Context) (error, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.letIn {
		return nil, nil
	}
	return errors.New("certificate required"), nil
}

func (s *simulation) Probe(context.Context) (web.Open, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	o := web.Open{Backend: Redis1, Began: time.Now(), Arrived: time.Now()}
	if !s.shifted.IsZero() && time.Now().After(s.shifted) {
		o.Backend = Redis2
	}
	if s.probeFails && !s.shifted.IsZero() {
		return o, errors.New("connection reset")
	}
	return o, nil
}

func (s *simulation) SetRate(_ context.Context, r float64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.sent += s.rate * time.Since(s.rateSince).Seconds()
	s.rate, s.rateSince = r, time.Now()
}

func (s *simulation) Observe(context.Context) (Observation, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Now()
	sent := int64(s.sent)
	if s.rate > 0 {
		sent = int64(s.sent + s.rate*now.Sub(s.rateSince).Seconds())
	}
	o := Observation{At: now, Backends: map[string]Backend{}, Load: load.Stats{Rate: s.rate, Sent: sent, OK: sent, Reasons: map[string]int64{}}}
	shifted := !s.shifted.IsZero()
	if shifted && s.failsOnShift {
		o.Load.Failed, o.Load.Reasons["reset"] = 1, 1
	}
	one, two := Backend{Connections: 8, Requests: sent, Commands: -1, Received: -1}, Backend{Commands: -1, Received: -1}
	if shifted {
		age := now.Sub(s.shifted)
		moved := min(1, age.Seconds()/life.Seconds())
		before := int64(s.rate * (now.Sub(s.rateSince) - age).Seconds())
		one.Connections, two.Connections = int64(8*(1-moved)), int64(8*moved)
		one.Requests = min(before+int64(s.rate*life.Seconds()/2), one.Requests)
		two.Requests = sent - one.Requests
	}
	o.Backends[Redis1], o.Backends[Redis2] = one, two
	o.Web.Requests = sent

	settled := now.Sub(s.rateSince) > perGrow
	busy := s.rate > 300
	if busy && settled && !s.noGrowth {
		s.grown = true
	}
	if !busy && settled && !s.noShrink {
		s.grown = false
	}
	n := 2
	if s.grown {
		n = 5
	}
	for i := range n {
		instance := Instance{ID: "agent-" + string(rune('0'+i)), Pid: 100 + i, Started: s.began, Opened: 1}
		if s.restarts && shifted {
			instance.Pid += 50
		}
		if s.idleGrowth && i >= 2 {
			instance.Opened = 0
		}
		o.Instances = append(o.Instances, instance)
	}
	o.Wanted = n
	o.Decision = Decision{At: now, Action: "hold", Why: "simulated"}
	if s.failsOnShrink && s.rate < 300 && s.sent > 1000 {
		o.Load.Failed, o.Load.Reasons["cut off"] = 2, 2
	}
	return o, nil
}

func (s *simulation) Stop(context.Context) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.stopped = true
	return nil
}

func (s *simulation) Remains() []string {
	if s.leaves {
		return []string{"process 7"}
	}
	return nil
}

type record struct {
	results []Result
	titles  []string
}

func (r *record) Begin(_, _ int, title string) { r.titles = append(r.titles, title) }
func (r *record) Progress(string)              {}
func (r *record) End(x Result)                 { r.results = append(r.results, x) }

func (r *record) text() string {
	var b strings.Builder
	for _, x := range r.results {
		b.WriteString(x.Title + "\n  " + strings.Join(x.Measured, "\n  ") + "\n")
		if x.Err != nil {
			b.WriteString("  " + x.Err.Error() + "\n")
		}
	}
	return b.String()
}

func TestTheStory(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var r record
		s := &simulation{}
		if err := Tell(t.Context(), s, Options{Reporter: &r, StopWithin: time.Second}); err != nil {
			t.Fatalf("%v\n%s", err, r.text())
		}
		if len(r.results) != 7 || !s.stopped {
			t.Errorf("%d steps, stopped %v", len(r.results), s.stopped)
		}
		for _, want := range []string{"grew from 2 to 5", "shrank from 5 to 2", "(100.0 %)", "no agent was restarted", "certificate required", "0 failed"} {
			if !strings.Contains(r.text(), want) {
				t.Errorf("%q was not measured:\n%s", want, r.text())
			}
		}
	})
}

func TestEveryStepCanFail(t *testing.T) {
	for name, c := range map[string]struct {
		stage *simulation
		step  int
		why   string
	}{
		"start":                  {&simulation{noStart: true}, 1, "no machine"},
		"let in":                 {&simulation{letIn: true}, 3, "it was let in"},
		"no shift":               {&simulation{noShift: true}, 4, "0 have gone to redis2"},
		"failures in the shift":  {&simulation{failsOnShift: true}, 4, "reset"},
		"new connections fail":   {&simulation{probeFails: true}, 4, "connection reset"},
		"restarts":               {&simulation{restarts: true}, 4, "agents were restarted"},
		"no growth":              {&simulation{noGrowth: true}, 5, "still wants 2"},
		"new ones stay idle":     {&simulation{idleGrowth: true}, 5, "0 of 3 new instances"},
		"no shrinking":           {&simulation{noShrink: true}, 6, "still wants 5"},
		"failures when shrunken": {&simulation{failsOnShrink: true}, 6, "cut off"},
		"something left":         {&simulation{leaves: true}, 7, "process 7"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var r record
				lingered := 0
				err := Tell(t.Context(), c.stage, Options{Reporter: &r, StopWithin: time.Second, Linger: func(context.Context) { lingered++ }})
				if err == nil {
					t.Fatalf("no error\n%s", r.text())
				}
				if !strings.Contains(err.Error(), c.why) {
					t.Errorf("got %v", err)
				}
				if !c.stage.stopped {
					t.Error("not stopped")
				}
				for _, x := range r.results {
					if (x.Err != nil) != (x.Number == c.step) {
						t.Errorf("step %d: %v", x.Number, x.Err)
					}
				}
				if want := min(c.step-1, 1); lingered != want {
					t.Errorf("lingered %d times, want %d", lingered, want)
				}
			})
		})
	}
}

func TestTakingOverIsNoFailure(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var r record
		takeOver := make(chan struct{})
		time.AfterFunc(4*time.Second, func() { close(takeOver) })
		lingered := false
		err := Tell(t.Context(), &simulation{}, Options{Reporter: &r, TakeOver: takeOver, StopWithin: time.Second,
			Linger: func(context.Context) { lingered = true }})
		if err != nil || !lingered || len(r.results) >= 7 {
			t.Errorf("error %v, lingered %v\n%s", err, lingered, r.text())
		}
	})
}

func TestInterruptionEndsEverything(t *testing.T) {
	for after := time.Duration(0); after < 30*time.Second; after += 1500 * time.Millisecond {
		synctest.Test(t, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), after)
			defer cancel()
			var r record
			s := &simulation{}
			err := Tell(ctx, s, Options{Reporter: &r, StopWithin: time.Second})
			if !s.stopped || r.titles[len(r.titles)-1] != endTitle {
				t.Errorf("after %v: not stopped", after)
			}
			if err != nil && !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("after %v: %v", after, err)
			}
		})
	}
}

func TestRestarted(t *testing.T) {
	at := time.Unix(1000, 0)
	a, b, c := Instance{ID: "a", Pid: 1, Started: at}, Instance{ID: "b", Pid: 2, Started: at}, Instance{ID: "c", Pid: 3, Started: at}
	again := Instance{ID: "b", Pid: 9, Started: at}
	later := Instance{ID: "b", Pid: 2, Started: at.Add(time.Second)}
	unknown := Instance{ID: "b", Pid: 2}
	for name, x := range map[string]struct {
		before, now []Instance
		fewest      int
		want        int
	}{
		"all there":               {[]Instance{a, b}, []Instance{a, b}, 2, 0},
		"one more":                {[]Instance{a, b}, []Instance{a, b, c}, 2, 0},
		"another pid":             {[]Instance{a, b}, []Instance{a, again}, 2, 1},
		"another start":           {[]Instance{a, b}, []Instance{a, later}, 2, 1},
		"start not known":         {[]Instance{a, b}, []Instance{a, unknown}, 2, 0},
		"replaced":                {[]Instance{a, b}, []Instance{a, c}, 2, 1},
		"scaled down":             {[]Instance{a, b, c}, []Instance{a, b}, 2, 0},
		"scaled down and up":      {[]Instance{a, b, c}, []Instance{a, again, c}, 2, 0},
		"more gone than unwanted": {[]Instance{a, b, c}, []Instance{a}, 2, 2},
	} {
		if got := restarted(x.before, x.now, x.fewest); len(got) != x.want {
			t.Errorf("%s: got %v, want %d", name, got, x.want)
		}
	}
}
