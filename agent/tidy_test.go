package agent

import "testing"

func TestTidiness(t *testing.T) {
	times := 0
	y := &tidiness{giveUp: func() { times++ }}
	for _, s := range []struct {
		moves uint64
		want  int
	}{
		{0, 0}, {0, 0}, {0, 0}, // nothing has happened
		{900, 0}, {900, 0}, {900, 0}, {900, 0}, // too little
		{1500, 0}, {1500, 0}, {1500, 1}, {1500, 1}, {1500, 1}, // enough, and quiet for two seconds
		{2600, 1}, {2600, 1}, {2601, 1}, {2602, 1}, {2602, 1}, {2602, 2},
	} {
		if y.look(s.moves); times != s.want {
			t.Fatalf("at %d: done %d times, want %d", s.moves, times, s.want)
		}
	}
}
