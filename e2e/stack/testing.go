package stack

import (
	"context"
	"os"
	"time"
)

// TB is what the package needs of *testing.T. Naming it here keeps the testing package out of the demo.
type TB interface {
	Helper()
	Name() string
	Logf(format string, args ...any)
	Errorf(format string, args ...any)
	Fatalf(format string, args ...any)
	Failed() bool
	Cleanup(func())
}

// New starts a stack for a test and closes it when the test ends. The logs of a failed test are shown and kept. A test
// fails also when the race detector has found something in one of the stack's processes.
func New(t TB, o Options) *Stack {
	t.Helper()
	// Long enough for a build of all servers, which the test's own time limit bounds.
	ctx, cancel := context.WithTimeout(context.Background(), time.Hour)
	defer cancel()
	if o.Progress == nil {
		o.Progress = os.Stderr
	}
	s, err := Start(ctx, o)
	if err != nil {
		t.Fatalf("%v", err)
	}
	t.Cleanup(func() {
		t.Helper()
		if report := s.races(); report != "" {
			t.Errorf("data race:\n%s", report)
		}
		if t.Failed() {
			s.Keep()
			t.Logf("%s: the stack's logs, all of them in %s\n%s", t.Name(), s.Path("logs"), s.Logs(40))
		}
		if err := s.Close(); err != nil {
			t.Logf("close the stack: %v", err)
		}
	})
	return s
}

// Binary builds cmd/argosy, unless $ARGOSY_BIN names one, and returns its path.
func Binary(t TB) string {
	t.Helper()
	if path := os.Getenv("ARGOSY_BIN"); path != "" {
		return path
	}
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Minute)
	defer cancel()
	path, err := Build(ctx, "./cmd/argosy")
	if err != nil {
		t.Fatalf("%v", err)
	}
	return path
}
