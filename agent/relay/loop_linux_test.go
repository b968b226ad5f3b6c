package relay_test

import (
	"testing"

	"argosy/agent/relay"
	"argosy/agent/relay/relaytest"
)

func TestLoop(t *testing.T) {
	relaytest.Run(t, func(t *testing.T) relay.Relay { return newLoop(t, 2) })
}

func newLoop(t testing.TB, workers int) *relay.Loop {
	t.Helper()
	l, err := relay.NewLoop(relay.LoopOptions{Workers: workers})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(l.Close)
	return l
}
