package blockq

import (
	"context"
	"time"

	"github.com/hashicorp/consul/api"
)

// Loop is Run for a server whose blocking queries follow the same rules without being Consul's, such as Nomad: ask gets
// the index (0: do not block) and the wait, and returns the answer with its index.
func Loop[T any](ctx context.Context, o Options, ask func(ctx context.Context, index uint64, wait time.Duration) (T, uint64, error), handle func(T, error)) {
	Run(ctx, o, func(q *api.QueryOptions) (T, *api.QueryMeta, error) {
		answer, index, err := ask(q.Context(), q.WaitIndex, q.WaitTime)
		return answer, &api.QueryMeta{LastIndex: index}, err
	}, func(answer T, _ *api.QueryMeta, err error) { handle(answer, err) })
}
