//go:build servers

package main

import (
	"testing"
	"time"
)

// The measurements with servers run, in small, and come to figures that can be.
func TestServices(t *testing.T) {
	figures, err := followServices(t.Context(), settings{runs: 1, services: 30, rest: 3 * time.Second, progress: t.Output()})
	checkFigures(t, figures, err, 10)
}

func TestWatchers(t *testing.T) {
	figures, err := serveWatchers(t.Context(), settings{runs: 2, watchers: 50, progress: t.Output()})
	checkFigures(t, figures, err, 5)
}

func checkFigures(t *testing.T, figures []figure, err error, least int) {
	t.Helper()
	if err != nil || len(figures) < least {
		t.Fatalf("%+v, %v", figures, err)
	}
	for _, f := range figures {
		t.Logf("%+v", f)
		for _, v := range f.values {
			if v > 60_000 {
				t.Errorf("%s: %v %s", f.name, v, f.unit)
			}
		}
	}
}
