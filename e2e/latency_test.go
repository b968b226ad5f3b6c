//go:build servers

package e2e

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"argosy/e2e/stack"
)

// TestChangesArrive measures how long a change in Consul takes until a new connection through an agent goes where it
// says: changes of a service's instances, and as many of the table.
func TestChangesArrive(t *testing.T) {
	s := stack.New(t, stack.Options{Consul: true})
	var servers []*namedServer
	for _, name := range []string{"one", "two"} {
		servers = append(servers, startNamed(t, name))
		register(t, s, name, name, servers[len(servers)-1].Addr, nil)
	}
	register(t, s, "web", "web", servers[0].Addr, nil)
	const table = "/c => /#/io.l5d.consul/.local ; /svc => /c ; /svc/redis => /c/"
	putDtab(t, s, "default", table+"web")
	listen := s.Addr()
	startAgent(t, s, "agent", redisHCL(s, listen))
	within(t, "one answers", func(ctx context.Context) error { return reaches(ctx, listen, "one") })

	const changes = 40
	measure := func(what string, change func(i int)) {
		var took []time.Duration
		for i := range changes {
			pause(t, 220*time.Millisecond) // a change of one service every 200 ms is as much as is followed at once
			want := servers[(i+1)%2].Name
			started := time.Now()
			change(i + 1)
			for {
				err := reaches(t.Context(), listen, want)
				if err == nil {
					break
				}
				if time.Since(started) > patience {
					t.Fatalf("%s %d: %v", what, i, err)
				}
			}
			took = append(took, time.Since(started))
		}
		slices.Sort(took)
		t.Logf("%s: from before the change until a new connection goes there: p50 %s, p90 %s, longest %s", what,
			took[changes/2].Round(100*time.Microsecond), took[changes*9/10].Round(100*time.Microsecond), took[changes-1].Round(100*time.Microsecond))
		if took[changes/2] > 2*time.Second {
			t.Errorf("%s: half of the changes took more than %s", what, took[changes/2])
		}
	}
	measure("catalog", func(i int) { register(t, s, "web", "web", servers[i%2].Addr, nil) })
	putTable(t, s, table+"one")
	within(t, "one answers", func(ctx context.Context) error { return reaches(ctx, listen, "one") })
	measure("table", func(i int) { putTable(t, s, table+servers[i%2].Name) })
}

// putTable is putDtab for the default namespace without the start of a program.
func putTable(t *testing.T, s *stack.Stack, table string) {
	t.Helper()
	if err := tryPutTable(t.Context(), s, table); err != nil {
		t.Fatal(err)
	}
}

func tryPutTable(ctx context.Context, s *stack.Stack, table string) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodPut, s.Consul.URL()+"/v1/kv/namerd/dtabs/default", strings.NewReader(table))
	if err != nil {
		return err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("put the table: %s", resp.Status)
	}
	return nil
}
