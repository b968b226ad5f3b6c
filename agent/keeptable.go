package agent

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"

	"argosy/dtab"
	"argosy/internal/snapshot"
	"argosy/internal/watch"
	"argosy/namerd/store"
)

const (
	tablePatience = 500 * time.Millisecond // for the store's first answer, before the snapshot is used
	tableRenewed  = 10 * time.Minute       // the snapshot tells again that the table is still so
)

// keptTable is the content of a table's snapshot. The text has weights of two decimals, as all stores keep it.
type keptTable struct {
	Exists  bool   `json:"exists"`
	Dtab    string `json:"dtab"`
	Version []byte `json:"version"`
}

// tableKeeper observes a namespace and keeps it on disk, for an agent that starts while the store is away.
type tableKeeper struct {
	from    store.Store
	file    *snapshot.File
	logger  hclog.Logger
	publish func(store.Observation)

	answered bool              // the store has given the table, which is better than any snapshot
	used     store.Observation // the snapshot, once it is in use
}

var errNoAnswerYet = errors.New("the table's store has not answered yet")

// observe publishes until ctx ends.
func (k *tableKeeper) observe(ctx context.Context, ns string) {
	cell := watch.New(store.Observation{}, store.Observation.Equal)
	var observing sync.WaitGroup
	defer observing.Wait()
	observing.Go(func() { k.from.Observe(ctx, ns, func(o store.Observation) { cell.Set(o) }) })
	defer k.file.Finish()

	patience := time.NewTimer(tablePatience)
	defer patience.Stop()
	renew := time.NewTicker(tableRenewed)
	defer renew.Stop()
	flush := time.NewTimer(0)
	defer flush.Stop()
	o, superseded := cell.Load()
	k.take(o)
	for {
		if due := k.file.Due(); !due.IsZero() {
			flush.Reset(time.Until(due))
		}
		select {
		case <-superseded:
			o, superseded = cell.Load()
			k.take(o)
		case <-renew.C:
			k.keep(o)
		case <-flush.C:
			k.file.Flush()
		case <-patience.C:
			if !k.answered {
				k.fallBack(errNoAnswerYet)
			}
		case <-ctx.Done():
			return
		}
	}
}

// take publishes what the store says, or the snapshot while it says nothing but errors.
func (k *tableKeeper) take(o store.Observation) {
	switch {
	case o.Known:
		k.answered = true
		k.keep(o)
		k.publish(o)
	case o.Err != nil:
		k.fallBack(o.Err)
	}
}

// keep has what the store says written, unless it is in trouble.
func (k *tableKeeper) keep(o store.Observation) {
	if o.Known && o.Err == nil {
		k.file.Keep(keptTable{Exists: o.Exists, Dtab: o.Entry.Dtab.String(), Version: []byte(o.Entry.Version)})
	}
}

// fallBack publishes the snapshot, if there is one, beside the reason why there is nothing better.
func (k *tableKeeper) fallBack(err error) {
	if !k.used.Known {
		k.load()
	}
	o := k.used
	o.Err = err
	k.publish(o)
}

func (k *tableKeeper) load() {
	var kept keptTable
	at, ok := k.file.Load(&kept)
	if !ok {
		return
	}
	table, err := dtab.Parse(kept.Dtab)
	if err != nil {
		k.logger.Warn("the table's snapshot is not used", "error", err)
		return
	}
	k.used = store.Observation{Known: true, Exists: kept.Exists, Entry: store.Entry{Dtab: table, Version: store.Version(kept.Version)}}
	k.logger.Warn("the table's store does not answer: the table of the last run is used", "of", at.Format(time.RFC3339))
}
