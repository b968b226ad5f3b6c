package agent

import (
	"context"
	"fmt"
	"reflect"
	"sync"

	"github.com/hashicorp/go-hclog"
	"github.com/prometheus/client_golang/prometheus"

	"argosy/agent/config"
	"argosy/internal/consulclient"
	"argosy/internal/snapshot"
	"argosy/internal/watch"
	"argosy/namer"
	"argosy/namer/mounts"
	"argosy/namerd/client"
	"argosy/namerd/remote"
	"argosy/namerd/store"
	consulstore "argosy/namerd/store/consul"
)

// naming is the table with the namers: what turns names into endpoints.
type naming struct {
	interpreter *namer.Interpreter
	remote      *remote.Interpreter // binds in place of all else, where the configuration says so
	asker       *asker              // likewise, for questions
	table       watch.Reader[namer.TableState]

	observe func(ctx context.Context) // keeps the table up to date until ctx ends; nil where it is fixed
	cancel  context.CancelFunc
	running sync.WaitGroup
}

// sameNaming reports whether two configurations name alike.
func sameNaming(a, b *config.Config) bool {
	return reflect.DeepEqual(a.Dtab, b.Dtab) && reflect.DeepEqual(a.Namers, b.Namers) &&
		reflect.DeepEqual(a.Consul, b.Consul) && reflect.DeepEqual(a.Interpreter, b.Interpreter)
}

func newNaming(cfg *config.Config, logger hclog.Logger, reg prometheus.Registerer) (*naming, error) {
	n := &naming{}
	if cfg.Interpreter != nil {
		var err error
		if n.asker, err = newAsker(cfg.Interpreter); err != nil {
			return nil, err
		}
		n.remote, err = openRemote(cfg.Interpreter, logger.Named("interpreter"), reg)
		return n, err
	}
	mounted, err := mounts.Open(cfg.Namers, cfg.Consul, logger.Named("namer"), reg)
	if err != nil {
		return nil, err
	}
	if err := n.openTable(cfg, logger.Named("dtab"), reg); err != nil {
		return nil, err
	}
	n.interpreter = namer.NewInterpreter(namer.Options{
		Dtab: n.table, Local: cfg.Dtab.Local, Mounts: mounted, Logger: logger.Named("namer"),
		EmptyFallsThrough: !cfg.Dtab.EmptyStops, PendingLegTimeout: cfg.Dtab.AlternativeTimeout,
		MaxWatches: cfg.Dtab.MaxWatches, Registry: reg, Rewrites: true,
	})
	return n, nil
}

// openTable finds the store of the table.
func (n *naming) openTable(cfg *config.Config, logger hclog.Logger, reg prometheus.Registerer) error {
	var from store.Store
	var scope string // of the snapshot: a table of another store is none of ours
	switch d := cfg.Dtab; {
	case d.Consul != nil:
		c, err := consulclient.Shared(cfg.Consul, logger, reg)
		if err != nil {
			return fmt.Errorf("dtab: %w", err)
		}
		from = consulstore.New(c, d.Consul.PathPrefix, logger)
		scope = fmt.Sprintf("consul %s %s %s", cfg.Consul.Address, cfg.Consul.Datacenter, d.Consul.PathPrefix)
	case d.Namerd != nil:
		c, err := client.New(d.Namerd.Address, client.Options{Logger: logger, TokenFile: d.Namerd.TokenFile,
			CAFile: d.Namerd.CAFile, CertFile: d.Namerd.CertFile, KeyFile: d.Namerd.KeyFile})
		if err != nil {
			return fmt.Errorf("dtab: %w", err)
		}
		from = c
		scope = "namerd " + d.Namerd.Address
	case d.Static != nil:
		n.table = watch.Fixed(namer.Table(*d.Static, nil))
		return nil
	default:
		n.table = watch.Fixed(namer.TableState{Status: namer.OK})
		return nil
	}
	cell := watch.New(namer.TableState{}, namer.TableState.Equal)
	n.table = cell
	logger = logger.With("namespace", cfg.Dtab.Namespace)
	publish := func(o store.Observation) {
		if cell.Set(tableState(o)) {
			logTable(logger, o)
		}
	}
	if cfg.Dtab.SnapshotDir == "" {
		n.observe = func(ctx context.Context) { from.Observe(ctx, cfg.Dtab.Namespace, publish) }
		return nil
	}
	folder, err := snapshot.Open(cfg.Dtab.SnapshotDir, scope, logger)
	if err != nil {
		return fmt.Errorf("dtab: %w", err)
	}
	keeper := &tableKeeper{from: from, file: folder.File("dtab " + cfg.Dtab.Namespace), logger: logger, publish: publish}
	n.observe = func(ctx context.Context) { keeper.observe(ctx, cfg.Dtab.Namespace) }
	return nil
}

func logTable(logger hclog.Logger, o store.Observation) {
	switch {
	case o.Err != nil:
		logger.Warn("the table's store is in trouble", "known", o.Known, "error", o.Err)
	case !o.Exists:
		logger.Warn("there is no such namespace: the table is empty")
	default:
		logger.Info("table", "version", client.EncodeVersion(o.Entry.Version), "entries", len(o.Entry.Dtab))
	}
}

// tableState is what an observation of the store means for naming: while the store is in trouble the last good table
// goes on, and a namespace that does not exist is an empty table.
func tableState(o store.Observation) namer.TableState {
	if !o.Known {
		return namer.TableState{Status: namer.Pending, Err: o.Err}
	}
	return namer.Table(o.Entry.Dtab, o.Err)
}

// start begins to follow the table.
func (n *naming) start() {
	if n.remote != nil {
		n.remote.Start()
	}
	if n.observe == nil {
		return
	}
	ctx, cancel := context.WithCancel(context.Background())
	n.cancel = cancel
	n.running.Go(func() { n.observe(ctx) })
}

// stop ends everything and waits.
func (n *naming) stop() {
	if n.remote != nil {
		n.remote.Close()
		n.asker.client.Close()
		return
	}
	if n.cancel != nil {
		n.cancel()
	}
	n.running.Wait()
	n.interpreter.Close()
}

// known reports whether the table has arrived, and why not.
func (n *naming) known() (bool, error) {
	if n.remote != nil {
		return n.remote.Known()
	}
	t, _ := n.table.Load()
	return t.Status == namer.OK, t.Err
}
