package client

import (
	"context"
	"fmt"
	"net/http"
	"net/url"

	"argosy/dtab"
	"argosy/namer"
	"argosy/namerd/store"
	"argosy/namerd/wire"
)

// Bind asks once what a name stands for in a namespace, with the entries of local behind its table. A namespace that
// does not exist has the empty table, so that there the name is bound under local alone.
func (c *Client) Bind(ctx context.Context, ns string, name dtab.Path, local dtab.Dtab) (dtab.Tree[namer.Bound], error) {
	var none dtab.Tree[namer.Bound]
	if err := store.CheckName(ns); err != nil {
		return none, err
	}
	what := "bind " + name.String()
	q := url.Values{"path": {name.String()}, "dtab": {local.String()}}.Encode()
	r, body, err := c.answer(ctx, http.MethodGet, "bind/"+ns+"?"+q, nil, nil)
	switch {
	case err != nil:
		return none, fmt.Errorf("%s: %w", what, err)
	case r.StatusCode != http.StatusOK:
		return none, c.refused(what, r, body)
	}
	tree, err := wire.DecodeTree(body)
	if err != nil {
		return none, fmt.Errorf("%s: namerd at %s: %w", what, c.base, err)
	}
	return tree, nil
}
