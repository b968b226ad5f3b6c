package relay_test

import (
	"testing"

	"argosy/agent/relay"
	"argosy/agent/relay/relaytest"
)

func TestGoroutines(t *testing.T) {
	relaytest.Run(t, func(*testing.T) relay.Relay { return relay.New() })
}
