package agent

import (
	"context"
	"crypto/rand"
	"slices"

	"argosy/agent/config"
	"argosy/dtab"
	"argosy/internal/explanation"
	"argosy/internal/watch"
	"argosy/namer"
	"argosy/namerd/client"
)

// asker asks the namerd that binds the names of an agent about them, where it has an interpreter block.
type asker struct {
	client *client.Client
	config *config.Interpreter
}

func newAsker(c *config.Interpreter) (*asker, error) {
	n, err := client.New(c.Address, client.Options{TokenFile: c.TokenFile, CAFile: c.CAFile, CertFile: c.CertFile, KeyFile: c.KeyFile})
	return &asker{client: n, config: c}, err
}

// explain is namerd's view, with the entries of the agent's configuration told from those of the request.
func (k *asker) explain(ctx context.Context, name dtab.Path, request dtab.Dtab) (*explanation.Explanation, error) {
	x, err := k.client.Explain(ctx, k.config.Namespace, name, k.config.Local.Concat(request))
	if err != nil {
		return nil, err
	}
	for i := range x.Entries {
		switch e := &x.Entries[i]; {
		case e.Table != explanation.Request:
		case e.Number <= len(k.config.Local):
			e.Table = explanation.Local
		default:
			e.Number -= len(k.config.Local)
		}
	}
	return x, nil
}

// proposal binds a name under a proposed table, and says whether that is all that will ever be known of it.
type proposal func(ctx context.Context, name dtab.Path) (b namer.Binding, known bool)

// propose makes the binding of names under another table than that of now. local are the entries of the configuration.
func (n *naming) propose(table, local dtab.Dtab) proposal {
	if n.asker == nil {
		return n.interpreter.Under(watch.Fixed(namer.Table(table, nil)), local).Settle
	}
	empty := "argosy-plan-" + rand.Text() // a namespace that nobody has: the empty table
	return func(ctx context.Context, name dtab.Path) (namer.Binding, bool) {
		tree, err := n.asker.client.Bind(ctx, empty, name, table.Concat(local))
		if err != nil {
			return namer.Binding{Err: err}, false
		}
		b := namer.Binding{Status: namer.OK, Tree: tree, Clusters: namer.Clusters(tree)}
		return b, !slices.ContainsFunc(b.Clusters, func(c namer.Cluster) bool { return c.Addr.Status == namer.Pending })
	}
}
