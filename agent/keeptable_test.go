package agent

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/go-hclog"

	"argosy/internal/snapshot"
	"argosy/internal/watch"
	"argosy/namerd/store"
)

// movedStore is a store whose one namespace says what the test wants.
type movedStore struct {
	store.Store
	cell *watch.Cell[store.Observation]
}

func (s *movedStore) Observe(ctx context.Context, _ string, publish func(store.Observation)) {
	for o := range watch.Values(ctx, s.cell) {
		if o.Known || o.Err != nil {
			publish(o)
		}
	}
}

func knownTable(text, version string) store.Observation {
	return store.Observation{Known: true, Exists: true, Entry: store.Entry{Dtab: mustDtab(text), Version: store.Version(version)}}
}

// keeping is a running tableKeeper; said is what it has published last.
func keeping(t *testing.T, dir, scope string, first store.Observation) (s *movedStore, said *watch.Cell[store.Observation], stop func()) {
	t.Helper()
	folder, err := snapshot.Open(dir, scope, hclog.NewNullLogger())
	if err != nil {
		t.Fatal(err)
	}
	s = &movedStore{cell: watch.New(first, store.Observation.Equal)}
	said = watch.New(store.Observation{}, store.Observation.Equal)
	k := &tableKeeper{from: s, file: folder.File("dtab default"), logger: hclog.NewNullLogger(), publish: func(o store.Observation) { said.Set(o) }}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		k.observe(ctx, "default")
	}()
	return s, said, func() {
		cancel()
		<-done
	}
}

// TestTableIsKept: an agent that starts while its store is away, or silent, has the table of its last run, and follows the
// store as soon as that answers.
func TestTableIsKept(t *testing.T) {
	t.Parallel()
	down := store.Observation{Err: errors.New("connection refused")}
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		_, said, stop := keeping(t, dir, "consul here", down)
		synctest.Wait()
		if o := said.Value(); o.Known || o.Err == nil {
			t.Errorf("nothing is kept, but %+v", o)
		}
		stop()

		s, said, stop := keeping(t, dir, "consul here", knownTable("/a => /b", "7"))
		synctest.Wait()
		s.cell.Set(knownTable("/a => 0.3 * /c & /d", "8"))
		synctest.Wait()
		if o := said.Value(); o.Entry.Version != "8" || o.Err != nil {
			t.Errorf("got %+v", o)
		}
		stop() // which writes the newest table

		// The store is down.
		s, said, stop = keeping(t, dir, "consul here", down)
		synctest.Wait()
		if o := said.Value(); !o.Known || !o.Exists || o.Entry.Dtab.String() != "/a=>0.30*/c & /d" || o.Entry.Version != "8" || o.Err == nil {
			t.Errorf("down: got %+v", o)
		}
		s.cell.Set(knownTable("/x => /y", "9"))
		synctest.Wait()
		if o := said.Value(); o.Entry.Version != "9" || o.Err != nil {
			t.Errorf("back: got %+v", o)
		}
		time.Sleep(snapshot.Every + time.Second) // it is written without a stop, too
		s.cell.Set(knownTable("/x => /z", "10"))
		time.Sleep(snapshot.Every + time.Second)
		synctest.Wait()

		// The store hangs.
		_, hung, stopHung := keeping(t, dir, "consul here", store.Observation{})
		synctest.Wait()
		if o := hung.Value(); o.Known {
			t.Errorf("without patience: %+v", o)
		}
		time.Sleep(time.Second)
		synctest.Wait()
		if o := hung.Value(); o.Entry.Version != "10" || !errors.Is(o.Err, errNoAnswerYet) {
			t.Errorf("hung: got %+v", o)
		}
		stopHung()
		stop()

		// Another store's table is none of ours.
		_, said, stop = keeping(t, dir, "consul elsewhere", down)
		synctest.Wait()
		if o := said.Value(); o.Known {
			t.Errorf("elsewhere: got %+v", o)
		}
		stop()
	})
}
