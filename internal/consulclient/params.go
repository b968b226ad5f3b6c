package consulclient

import (
	"context"
	"maps"
	"net/http"
	"net/url"
)

// paramsKey is the key of a context's further parameters.
type paramsKey struct{}

// WithParams gives requests that are made with ctx further parameters, in clients of this package. The library's requests for
// an answer of one's own form, as those of api.Raw, can have none.
func WithParams(ctx context.Context, params url.Values) context.Context {
	return context.WithValue(ctx, paramsKey{}, params)
}

func withParams(r *http.Request) *http.Request {
	params, ok := r.Context().Value(paramsKey{}).(url.Values)
	if !ok {
		return r
	}
	r = r.Clone(r.Context())
	q := r.URL.Query()
	maps.Copy(q, params)
	r.URL.RawQuery = q.Encode()
	return r
}
