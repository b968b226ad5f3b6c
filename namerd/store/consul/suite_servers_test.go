//go:build servers

package consul

import (
	"fmt"
	"sync/atomic"
	"testing"

	"github.com/hashicorp/go-hclog"

	"argosy/internal/consultest"
	"argosy/namerd/store"
	"argosy/namerd/store/storetest"
)

func TestRealStoreIsAStore(t *testing.T) {
	c := consultest.Start(t, consultest.Options{})
	var n atomic.Int64
	storetest.Run(t, func(t *testing.T) store.Store {
		return New(c.Client, fmt.Sprintf("suite/%d", n.Add(1)), hclog.NewNullLogger())
	})
}
