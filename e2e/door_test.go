//go:build servers

package e2e

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"testing"

	"argosy/e2e/stack"
)

const adminToken = "0123456789abcdef-of-the-job"

// jobAsksForToken runs the fleet with a token for its admin endpoint: health checks and Prometheus need none, all else does.
func jobAsksForToken(t *testing.T, s *stack.Stack) {
	putDtab(t, s, "default", "/svc => /#/io.l5d.consul/dc1")
	runJob(t, s, "proxy", map[string]string{"service": "guarded", "count": "1", "connect": "false", "autoscale": "false", "admin_token": adminToken})
	within(t, "the agent passes", func(ctx context.Context) error { return passing(ctx, s, "guarded", 1) })
	var entries []struct {
		Service struct{ Meta map[string]string }
	}
	if err := s.Consul.Get(t.Context(), "/v1/health/service/guarded", &entries); err != nil || len(entries) == 0 {
		t.Fatalf("%v %v", entries, err)
	}
	admin := entries[0].Service.Meta["admin"]
	for _, c := range []struct {
		method, path, token string
		want                int
	}{
		{"GET", "/ready", "", 200}, {"GET", "/metrics", "", 200}, {"GET", "/v1/routes", "", 401}, {"GET", "/v1/routes", adminToken + "x", 401},
		{"POST", "/v1/drain", "", 401}, {"DELETE", "/v1/connections?listener=none", "", 401}, {"GET", "/v1/routes", adminToken, 200},
	} {
		code, err := ask(t.Context(), c.method, "http://"+admin+c.path, c.token)
		if err != nil || code != c.want {
			t.Errorf("%s %s with %q: %d %v, want %d", c.method, c.path, c.token, code, err, c.want)
		}
	}
	token := s.Path("admin.token")
	writeFile(t, token, adminToken+"\n")
	defer os.Remove(token)
	run(t, s, "routes", "-address", admin, "-token-file", token)
	if err := s.Nomad.StopJob(t.Context(), "guarded"); err != nil {
		t.Fatal(err)
	}
	within(t, "it has deregistered", func(ctx context.Context) error { return passing(ctx, s, "guarded", 0) })
}

func ask(ctx context.Context, method, url, token string) (code int, err error) {
	r, err := http.NewRequestWithContext(ctx, method, url, nil)
	if err != nil {
		return 0, err
	}
	if token != "" {
		r.Header.Set("Authorization", "Bearer "+token)
	}
	answer, err := http.DefaultClient.Do(r)
	if err != nil {
		return 0, fmt.Errorf("%s %s: %w", method, url, err)
	}
	_, err = io.Copy(io.Discard, answer.Body)
	return answer.StatusCode, errors.Join(err, answer.Body.Close())
}
