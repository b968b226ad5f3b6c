//go:build servers

package e2e

import (
	"context"
	"fmt"
	"net/http"
	"testing"

	"argosy/e2e/stack"
)

// bindingNamerd starts a namerd that binds names over Consul, with its tables there, too.
func bindingNamerd(t *testing.T, s *stack.Stack, addr string) *stack.Proc {
	t.Helper()
	file := s.Path("binding-namerd.hcl")
	writeFile(t, file, fmt.Sprintf(`
http {
  address = %q
}
consul {
  address = %q
}
store "consul" {}
namer "io.l5d.consul" {}
`, addr, s.Consul.Addr))
	p, err := s.Go("namerd", stack.Binary(t), []string{"namerd", "-config", file})
	if err != nil {
		t.Fatal(err)
	}
	within(t, "namerd answers", func(ctx context.Context) error {
		select {
		case <-p.Done():
			return fmt.Errorf("namerd has ended:\n%s", p.Output())
		default:
		}
		code, _, err := get(ctx, "http://"+addr+"/api/1/dtabs")
		if err == nil && code != http.StatusOK {
			err = fmt.Errorf("status %d", code)
		}
		return err
	})
	return p
}

// TestNamerdBindsForAgents: an agent that knows neither tables nor catalogs asks a namerd for everything. Changes of both
// reach it, and it goes on with what it knows while namerd is away.
func TestNamerdBindsForAgents(t *testing.T) {
	t.Parallel()
	for _, mode := range []string{"stream", "poll"} {
		t.Run(mode, func(t *testing.T) {
			t.Parallel()
			s := stack.New(t, stack.Options{Consul: true})
			one, two, three := startNamed(t, "one"), startNamed(t, "two"), startNamed(t, "three")
			register(t, s, "one", "one", one.Addr, nil)
			register(t, s, "two", "two", two.Addr, nil)
			putDtab(t, s, "default", "/c => /#/io.l5d.consul/.local ; /svc/redis => /c/one")
			api := s.Addr()
			namerd := bindingNamerd(t, s, api)
			listen := s.Addr()
			startAgent(t, s, "agent", fmt.Sprintf(`
interpreter "namerd" {
  address       = "http://%s"
  mode          = %q
  poll_interval = "500ms"
}
listener "in" {
  address     = %q
  destination = "/svc/redis"
}
`, api, mode, listen))
			within(t, "one answers", func(ctx context.Context) error { return reaches(ctx, listen, "one") })
			putDtab(t, s, "default", "/c => /#/io.l5d.consul/.local ; /svc/redis => /c/two")
			took := within(t, "two answers", func(ctx context.Context) error { return reaches(ctx, listen, "two") })
			register(t, s, "three", "two", three.Addr, nil)
			within(t, "three is there, too", func(ctx context.Context) error {
				if got := whoAnswers(t, listen, 20); got["three"] == 0 || got["two"] == 0 {
					return fmt.Errorf("connections went to %v", got)
				}
				return nil
			})

			namerd.Kill()
			if got := whoAnswers(t, listen, 50); got["two"]+got["three"] != 50 {
				t.Errorf("without namerd connections went to %v", got)
			}
			putDtab(t, s, "default", "/c => /#/io.l5d.consul/.local ; /svc/redis => /c/one")
			bindingNamerd(t, s, api)
			back := within(t, "one answers again", func(ctx context.Context) error { return reaches(ctx, listen, "one") })
			t.Logf("%s: a new table took effect after %s, one made while namerd was away %s after its return", mode, took, back)
		})
	}
}
