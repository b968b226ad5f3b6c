package namerd

import (
	"bytes"
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"

	"argosy/namerd/store"
)

// listless is a store that cannot be listed after the first time.
type listless struct {
	store.Store
	asked int
	often chan struct{}
}

func (s *listless) List(context.Context) ([]string, error) {
	if s.asked++; s.asked == 1 {
		return []string{"a"}, nil
	}
	if s.asked == 10 {
		close(s.often)
	}
	return nil, errors.New("no leader")
}

// A store that is down for long is told of once, and the last names stay.
func TestListFailsForLong(t *testing.T) {
	t.Parallel()
	var log bytes.Buffer
	s := &listless{Store: store.NewMemory(nil), often: make(chan struct{})}
	server := NewServer(s, Options{Logger: hclog.New(&hclog.LoggerOptions{Output: &log}), NamesInterval: time.Millisecond})
	value, release := server.names.Read("")
	<-s.often
	if l, _ := value.Load(); !l.known || len(l.names) != 1 {
		t.Errorf("the names are %v", l)
	}
	release()
	server.Close()
	if n := strings.Count(log.String(), "list namespaces failed"); n != 1 {
		t.Errorf("it is told %d times:\n%s", n, log.String())
	}
}
