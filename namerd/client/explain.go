package client

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"time"

	"argosy/dtab"
	"argosy/internal/explanation"
	"argosy/namerd/store"
	"argosy/namerd/wire"
)

// Explain returns how a name is delegated in a namespace, with the entries of local behind its table. Of a Namerd 1.x it
// is made from what that tells by delegate, which is less: no ages, and not what takes part in the traffic.
func (c *Client) Explain(ctx context.Context, ns string, name dtab.Path, local dtab.Dtab) (*explanation.Explanation, error) {
	if err := store.CheckName(ns); err != nil {
		return nil, err
	}
	what := "explain " + name.String()
	q := url.Values{"path": {name.String()}, "dtab": {local.String()}}.Encode()
	r, body, err := c.answer(ctx, http.MethodGet, "explain/"+ns+"?"+q, nil, nil)
	switch {
	case err != nil:
		return nil, fmt.Errorf("%s: %w", what, err)
	case r.StatusCode == http.StatusOK:
		x := &explanation.Explanation{}
		if err := json.Unmarshal(body, x); err != nil || x.Tree.Kind == "" {
			return nil, fmt.Errorf("%s: the answer of namerd at %s is no explanation", what, c.base)
		}
		return x, nil
	case r.StatusCode != http.StatusNotFound:
		return nil, c.refused(what, r, body)
	}
	r, body, err = c.answer(ctx, http.MethodGet, "delegate/"+ns+"?"+q, nil, nil)
	switch {
	case err != nil:
		return nil, fmt.Errorf("%s: %w", what, err)
	case r.StatusCode == http.StatusNotFound:
		return nil, fmt.Errorf("%s: namerd at %s does not explain names", what, c.base)
	case r.StatusCode != http.StatusOK:
		return nil, c.refused(what, r, body)
	}
	node, err := wire.DecodeDelegation(body)
	if err != nil {
		return nil, fmt.Errorf("%s: namerd at %s: %w", what, c.base, err)
	}
	entry, err := c.Get(ctx, ns)
	if err != nil && !errors.Is(err, store.ErrMissing) {
		return nil, err
	}
	return explanation.OfDelegation(ns, name.String(), node, entry.Dtab, local, time.Now()), nil
}
