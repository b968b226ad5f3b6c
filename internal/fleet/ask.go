package fleet

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
)

// Get asks the first agent for what stands at a path of its API, and reads the answer into v.
func (f *Fleet) Get(ctx context.Context, path string, query url.Values, v any) error {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	return f.request(ctx, http.MethodGet, path, query, v)
}

// Delete asks the first agent to end what stands at a path of its API. It takes as long as the agent needs.
func (f *Fleet) Delete(ctx context.Context, path string, query url.Values, v any) error {
	return f.request(ctx, http.MethodDelete, path, query, v)
}

func (f *Fleet) request(ctx context.Context, method, path string, query url.Values, v any) error {
	if err := f.ask(ctx, method, f.agents[0], path, query, "", v); err != nil {
		return fmt.Errorf("agent at %s: %w", f.agents[0].name, err)
	}
	return nil
}
