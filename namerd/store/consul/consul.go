// Package consul keeps Dtab namespaces in Consul's KV store, in the layout of an existing Namerd, so that both can
// share one tree: the key <path prefix>/<namespace> holds the printed table as plain text, and its version is the key's
// ModifyIndex in decimal. A value may also be written by hand, with comments and newlines: whatever parses is read.
package consul

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"

	"github.com/hashicorp/consul/api"
	"github.com/hashicorp/go-hclog"

	"argosy/internal/blockq"
	"argosy/internal/consulacl"
	"argosy/internal/consulclient"
	"argosy/namerd/store"
)

// DefaultPathPrefix is where Namerd keeps its tables.
const DefaultPathPrefix = "namerd/dtabs"

// Store implements store.Historian over a Consul agent's HTTP API. Reads go to Consul's leader, in its default
// consistency mode; writes are check-and-set, in one transaction with the history. A value larger than 512 KiB is refused
// by Consul.
type Store struct {
	client *api.Client
	kv     *api.KV
	txn    *api.Txn
	prefix string // without slashes at its ends
	limits store.Limits
	logger hclog.Logger
	warned atomic.Bool // that there is no history
}

// New makes a store over the keys below pathPrefix; DefaultPathPrefix if it is empty. Without limits, or with zero ones,
// it remembers what the defaults allow.
func New(client *api.Client, pathPrefix string, logger hclog.Logger, limits ...store.Limits) *Store {
	prefix := strings.Trim(pathPrefix, "/")
	if prefix == "" {
		prefix = DefaultPathPrefix
	}
	s := &Store{client: client, kv: client.KV(), txn: client.Txn(), prefix: prefix, logger: logger}
	for _, l := range limits {
		s.limits = l
	}
	return s
}

// key is where a namespace is kept.
func (s *Store) key(ns string) (string, error) {
	if err := store.CheckName(ns); err != nil {
		return "", err
	}
	return s.prefix + "/" + ns, nil
}

// List returns the namespaces in sorted order. Keys that are none, folders among them, are left out.
func (s *Store) List(ctx context.Context) ([]string, error) {
	keys, meta, err := s.kv.Keys(s.prefix+"/", "/", (&api.QueryOptions{}).WithContext(ctx))
	if err == nil && len(keys) == 0 && meta.DefaultACLPolicy == "deny" {
		err = s.invisible(ctx)
	}
	if err != nil {
		return nil, fmt.Errorf("list %s/ in Consul: %w", s.prefix, err)
	}
	names := make([]string, 0, len(keys))
	for _, k := range keys {
		if ns, ok := strings.CutPrefix(k, s.prefix+"/"); ok && store.ValidName(ns) {
			names = append(names, ns)
		}
	}
	slices.Sort(names)
	return names, nil
}

// invisible says so where a list is empty because the token may not read keys, of which Consul says nothing.
func (s *Store) invisible(ctx context.Context) error {
	missing, err := consulclient.Missing(ctx, s.client, consulacl.Right{Resource: "key", Name: s.prefix + "/", Prefix: true, Access: consulacl.Read})
	if err == nil && len(missing) > 0 {
		return errors.New(consulacl.Lacks("no keys visible", missing...))
	}
	return nil // or not known: then the list is taken as it is
}

// Get returns the namespace as it is now.
func (s *Store) Get(ctx context.Context, ns string) (store.Entry, error) {
	key, err := s.key(ns)
	if err != nil {
		return store.Entry{}, err
	}
	pair, err := s.get(ctx, key)
	if err != nil {
		return store.Entry{}, err
	}
	return parse(pair)
}

// get returns ErrMissing for a key that does not exist.
func (s *Store) get(ctx context.Context, key string) (*api.KVPair, error) {
	pair, _, err := s.read(key, (&api.QueryOptions{}).WithContext(ctx))
	if err != nil {
		return nil, fmt.Errorf("read %s from Consul: %w", key, err)
	}
	if pair == nil {
		return nil, store.ErrMissing
	}
	return pair, nil
}

var (
	errNotConsul = errors.New("what answered is not Consul, or not in its right mind")
	errLost      = errors.New("the table is lost: the data in Consul is older than the table is")
)

// read asks for one key. A key that does not exist gives nil, where it is Consul that says so: a page of something
// between us and Consul is no reason to take a table away. A Consul that has a leader has an index above 1.
func (s *Store) read(key string, q *api.QueryOptions) (*api.KVPair, *api.QueryMeta, error) {
	pair, meta, err := s.kv.Get(key, q)
	switch {
	case err != nil:
		return nil, nil, err
	case pair == nil && meta.LastIndex == 0:
		return nil, nil, fmt.Errorf("%w: the key is missing, and the answer has no index", errNotConsul)
	case pair != nil && pair.Key != key:
		return nil, nil, fmt.Errorf("%w: asked for %q, it gave %q", errNotConsul, key, pair.Key)
	}
	return pair, meta, nil
}

// parse reads a value. The version is that of the row, never the header's: they differ as soon as the answer is not
// about this key alone.
func parse(pair *api.KVPair) (store.Entry, error) {
	d, err := store.ParseText("value of "+pair.Key+" in Consul", string(pair.Value))
	if err != nil {
		return store.Entry{}, err
	}
	return store.Entry{Dtab: d, Version: versionOf(pair)}, nil
}

func versionOf(pair *api.KVPair) store.Version {
	return store.Version(strconv.FormatUint(pair.ModifyIndex, 10))
}

// Observe publishes the namespace until ctx ends, by one blocking query. While the value does not parse, or Consul
// cannot be asked, the last good entry stays and Err says what is wrong. So it does when Consul has lost its data or was
// restored from an older time: then the key is missing though nobody has deleted it, until it is there again.
func (s *Store) Observe(ctx context.Context, ns string, publish func(store.Observation)) {
	key, err := s.key(ns)
	if err != nil {
		publish(store.Observation{Err: err})
		<-ctx.Done()
		return
	}
	logger := s.logger.With("namespace", ns)
	var last store.Observation
	var newest uint64 // the index of the last change of the key
	lost := false     // the key is missing, and was not deleted
	first := true
	say := func(o store.Observation) {
		if !first && o.Equal(last) {
			return
		}
		if o.Err != nil && (last.Err == nil || last.Err.Error() != o.Err.Error()) {
			logger.Warn("no good table from Consul: what is known stays in use", "known", o.Known, "error", o.Err)
		} else if o.Err == nil && last.Err != nil {
			logger.Info("consul gives a good table again", "version", string(o.Entry.Version))
		}
		first, last = false, o
		publish(o)
	}
	blockq.Run(ctx, blockq.Options{}, func(q *api.QueryOptions) (*api.KVPair, *api.QueryMeta, error) {
		pair, meta, err := s.read(key, q)
		if err == nil && pair == nil && last.Exists {
			err = s.confirm(q.Context(), key)
		}
		return pair, meta, err
	}, func(pair *api.KVPair, meta *api.QueryMeta, err error) {
		o := store.Observation{Known: true}
		switch {
		case err != nil:
			o = last
			o.Err = describe(err)
		case pair != nil:
			lost, newest = false, pair.ModifyIndex
			o.Exists = true
			if o.Entry, err = parse(pair); err != nil {
				o = last
				o.Err = err
			}
		case last.Exists && (lost || meta.LastIndex < newest): // of a key that was deleted it tells when that was
			lost = true
			o = last
			o.Err = errLost
		}
		say(o)
	})
}

// confirm makes sure that a key is gone which was there. Consul answers 404 where there is none; an empty list, which the
// client does not tell from that, is somebody else's. The list of keys has a form that does.
func (s *Store) confirm(ctx context.Context, key string) error {
	keys, _, err := s.kv.Keys(key, "", (&api.QueryOptions{}).WithContext(ctx))
	if err == nil && keys != nil && len(keys) == 0 {
		return fmt.Errorf("%wan empty list for a key that is missing", errNotConsul)
	}
	return nil
}

// describe leaves the URL out of an error: it has the index in it, and an error that differs from attempt to attempt
// would wake everybody who watches.
func describe(err error) error {
	var request *url.Error
	if errors.As(err, &request) {
		err = request.Err
	}
	return fmt.Errorf("read from Consul: %w", err)
}
