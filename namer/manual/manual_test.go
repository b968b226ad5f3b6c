package manual

import (
	"testing"

	"argosy/dtab"
	"argosy/namer/namertest"
)

func TestContract(t *testing.T) {
	namertest.Run(t, func(*testing.T) namertest.Fixture {
		m := New(2)
		m.SetEndpoints("dc1/redis", "127.0.0.1:2", "127.0.0.1:1")
		m.Remove("dc1/missing")
		return namertest.Fixture{
			Namer: m, Name: dtab.Path{"dc1", "redis"}, Missing: dtab.Path{"dc1", "missing"},
			Change: func() { m.SetEndpoints("dc1/redis", "127.0.0.1:3") },
		}
	})
}
