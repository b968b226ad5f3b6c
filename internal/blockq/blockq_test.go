package blockq

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/consul/api"

	"argosy/internal/backoff"
)

// reply is one answer of a scripted Consul.
type reply struct {
	index uint64
	body  string
	err   error
	nilMD bool
}

// script runs the loop against replies, which are given one after the other, and returns the indexes it asked with and
// what it handed on. After the last reply the query blocks until its context ends.
func script(t *testing.T, replies ...reply) (asked []uint64, got []string, pauses []time.Duration) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		last := time.Now()
		query := func(q *api.QueryOptions) (string, *api.QueryMeta, error) {
			asked = append(asked, q.WaitIndex)
			pauses = append(pauses, time.Since(last))
			last = time.Now()
			if len(replies) == 0 {
				cancel()
				<-q.Context().Done()
				return "", nil, q.Context().Err()
			}
			r := replies[0]
			replies = replies[1:]
			if r.err != nil || r.nilMD {
				return "", nil, r.err
			}
			return r.body, &api.QueryMeta{LastIndex: r.index}, nil
		}
		Run(ctx, Options{Backoff: backoff.NewRand(time.Second, time.Minute, func() float64 { return 0 })}, query,
			func(body string, _ *api.QueryMeta, err error) {
				if err != nil {
					body = "error"
				}
				got = append(got, body)
			})
	})
	return asked, got, pauses
}

func TestIndexRules(t *testing.T) {
	broken := errors.New("broken")
	for _, c := range []struct {
		name    string
		replies []reply
		asked   []uint64
		got     []string
	}{
		{"index is handed back", []reply{{index: 5, body: "a"}, {index: 9, body: "b"}}, []uint64{0, 5, 9}, []string{"a", "b"}},
		{"same index", []reply{{index: 5, body: "a"}, {index: 5, body: "a"}}, []uint64{0, 5, 5}, []string{"a", "a"}},
		{"missing index counts as 1", []reply{{body: "a"}, {body: "b"}}, []uint64{0, 1, 1}, []string{"a", "b"}},
		{"backwards drops the body and asks plainly", []reply{{index: 5, body: "a"}, {index: 1, body: "lie"}, {index: 3, body: "b"}},
			[]uint64{0, 5, 0, 3}, []string{"a", "b"}},
		{"missing after an index is backwards", []reply{{index: 5, body: "a"}, {body: "lie"}, {index: 7, body: "b"}},
			[]uint64{0, 5, 0, 7}, []string{"a", "b"}},
		{"error drops the index", []reply{{index: 5, body: "a"}, {err: broken}, {index: 2, body: "b"}},
			[]uint64{0, 5, 0, 2}, []string{"a", "error", "b"}},
		{"answer without metadata is an error", []reply{{nilMD: true}, {index: 2, body: "b"}}, []uint64{0, 0, 2}, []string{"error", "b"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			asked, got, _ := script(t, c.replies...)
			if !slices.Equal(asked, c.asked) || !slices.Equal(got, c.got) {
				t.Errorf("asked with %v, want %v; handed on %q, want %q", asked, c.asked, got, c.got)
			}
		})
	}
}

type busy struct{ after time.Duration }

func (b busy) Error() string             { return "busy" }
func (b busy) RetryAfter() time.Duration { return b.after }

func TestRetriesWaitAsLongAsAsked(t *testing.T) {
	_, _, pauses := script(t,
		reply{err: errors.New("x")}, // 1s: the shortest pause
		reply{err: fmt.Errorf("wrapped: %w", busy{30 * time.Second})},
		reply{err: busy{24 * time.Hour}},
		reply{index: 1},
		reply{err: fmt.Errorf("wrapped: %w", api.StatusError{Code: 429})},
		reply{index: 2})
	want := []time.Duration{0, time.Second, 30 * time.Second, longestRetryAfter, 0, busyPause}
	if !slices.Equal(pauses[:6], want) {
		t.Errorf("got %v, want %v", pauses, want)
	}
}

// Something that changes without end must not keep us busy.
func TestFlappingIsSlowedDown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		index := uint64(0)
		Run(ctx, Options{}, func(q *api.QueryOptions) (int, *api.QueryMeta, error) {
			index++
			return 0, &api.QueryMeta{LastIndex: index}, nil
		}, func(int, *api.QueryMeta, error) {})
		if index < 40 || index > 55 {
			t.Errorf("%d requests in 10s", index)
		}
	})
}

// A server that alternates between two indexes makes the loop drop every second body; that must be slow as well.
func TestIndexRegressionsAreSlowedDown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		n := uint64(0)
		Run(ctx, Options{}, func(q *api.QueryOptions) (int, *api.QueryMeta, error) {
			n++
			return 0, &api.QueryMeta{LastIndex: 10 - n%2}, nil
		}, func(int, *api.QueryMeta, error) {})
		if n > 55 {
			t.Errorf("%d requests in 10s", n)
		}
	})
}

func TestDeadlines(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		var took []time.Duration
		n := 0
		Run(ctx, Options{Wait: time.Minute, Timeout: 10 * time.Second}, func(q *api.QueryOptions) (int, *api.QueryMeta, error) {
			if n++; n == 2 {
				return 0, &api.QueryMeta{LastIndex: 4}, nil
			}
			start := time.Now()
			<-q.Context().Done() // a peer that never answers
			took = append(took, time.Since(start))
			return 0, nil, q.Context().Err()
		}, func(_ int, _ *api.QueryMeta, err error) {
			if n == 3 {
				cancel()
			}
		})
		want := []time.Duration{10 * time.Second, 10*time.Second + time.Minute + time.Minute/16}
		if !slices.Equal(took, want) {
			t.Errorf("gave up after %v, want %v", took, want)
		}
	})
}

func TestNothingIsHandledAfterTheEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		var handled atomic.Int64
		done := make(chan struct{})
		go func() {
			defer close(done)
			Run(ctx, Options{}, func(q *api.QueryOptions) (int, *api.QueryMeta, error) {
				<-q.Context().Done()
				return 0, &api.QueryMeta{LastIndex: 1}, nil
			}, func(int, *api.QueryMeta, error) { handled.Add(1) })
		}()
		synctest.Wait()
		cancel()
		<-done
		if handled.Load() != 0 {
			t.Error("an answer was handled after the context had ended")
		}
	})
}

// Each request needs a turn, and asks plainly where the turn does not allow to wait, without forgetting the index.
func TestTurns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		turns := []time.Duration{0, 0, time.Second, 0, 3 * time.Second}
		var asked, blockable []string
		done := 0
		o := Options{Rate: 1000, Turn: func(ctx context.Context, b bool) (Turn, error) {
			blockable = append(blockable, fmt.Sprint(b))
			if len(turns) == 0 {
				return Turn{}, context.Canceled
			}
			turn := Turn{Wait: turns[0], Done: func() { done++ }}
			turns = turns[1:]
			return turn, nil
		}}
		indexes := []uint64{7, 3, 9, 4, 11}
		got := 0
		Run(ctx, o, func(q *api.QueryOptions) (int, *api.QueryMeta, error) {
			asked = append(asked, fmt.Sprintf("%d/%v", q.WaitIndex, q.WaitTime))
			index := indexes[0]
			indexes = indexes[1:]
			return 0, &api.QueryMeta{LastIndex: index}, nil
		}, func(int, *api.QueryMeta, error) { got++ })
		if want := []string{"0/0s", "0/0s", "3/1s", "0/0s", "4/3s"}; !slices.Equal(asked, want) {
			t.Errorf("asked %v", asked)
		}
		if want := []string{"false", "true", "true", "true", "true", "true"}; !slices.Equal(blockable, want) {
			t.Errorf("blockable %v", blockable)
		}
		if got != 5 || done != 5 {
			t.Errorf("%d answers, %d turns done", got, done)
		}
	})
}
