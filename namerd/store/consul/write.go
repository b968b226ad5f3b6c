package consul

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/hashicorp/consul/api"

	"argosy/dtab"
	"argosy/internal/consulacl"
	"argosy/namerd/store"
)

// Create writes a namespace that must not exist.
func (s *Store) Create(ctx context.Context, ns string, d dtab.Dtab) error {
	return s.change(ctx, ns, store.ActionCreate, &d, func(current *api.KVPair) error {
		if current != nil {
			return store.ErrExists
		}
		return nil
	})
}

// Update replaces the table if v is its current version. Nothing is asked about what cannot be a version.
func (s *Store) Update(ctx context.Context, ns string, d dtab.Dtab, v store.Version) error {
	index, err := strconv.ParseUint(string(v), 10, 64)
	if err != nil || index == 0 { // to Consul, 0 would mean: create
		if _, err := s.key(ns); err != nil {
			return err
		}
		return store.ErrVersion
	}
	return s.change(ctx, ns, store.ActionUpdate, &d, func(current *api.KVPair) error {
		if current == nil || current.ModifyIndex != index {
			return store.ErrVersion
		}
		return nil
	})
}

// Put replaces or creates.
func (s *Store) Put(ctx context.Context, ns string, d dtab.Dtab) error {
	return s.change(ctx, ns, store.ActionPut, &d, func(*api.KVPair) error { return nil })
}

// Delete removes the namespace. Of several that delete it at the same moment, one does.
func (s *Store) Delete(ctx context.Context, ns string) error {
	err := s.change(ctx, ns, store.ActionDelete, nil, func(current *api.KVPair) error {
		if current == nil {
			return store.ErrMissing
		}
		return nil
	})
	if err == nil {
		s.forget(ctx)
	}
	return err
}

// errStale: the table has changed since it was read.
var errStale = errors.New("the table has changed meanwhile")

// change writes a table, or without one deletes the namespace, if allowed says nothing against the state that is there,
// which it is asked about again when somebody else was faster. Whoever was has made progress, so that this ends.
func (s *Store) change(ctx context.Context, ns, action string, d *dtab.Dtab, allowed func(current *api.KVPair) error) error {
	key, err := s.key(ns)
	if err != nil {
		return err
	}
	for {
		current, err := s.get(ctx, key)
		if err != nil && !errors.Is(err, store.ErrMissing) {
			return err
		}
		if err := allowed(current); err != nil {
			return err
		}
		err = s.write(ctx, ns, key, action, d, current)
		if !errors.Is(err, errStale) {
			return err
		}
	}
}

// write replaces the state current, and remembers that.
func (s *Store) write(ctx context.Context, ns, key, action string, d *dtab.Dtab, current *api.KVPair) error {
	table := tableOps(key, d, current)
	value := table[len(table)-1].KV.Value
	if d != nil && current != nil && bytes.Equal(value, current.Value) {
		// Consul does not count this as a change of the key, so that there is none to remember. It is still to say that the
		// token may write, and that nobody was faster.
		return s.commit(ctx, key, table)
	}
	c := store.NewChange(ctx, action, time.Now())
	if d != nil {
		c.Exists, c.Dtab = true, *d
	}
	p, err := s.past(ctx, ns, current)
	if err != nil {
		return s.unremembered(ctx, ns, key, table, err)
	}
	if current == nil && !p.recorded {
		// Somebody has deleted it by hand, unless it has been created since it was read, and perhaps deleted again.
		if _, err := s.get(ctx, key); !errors.Is(err, store.ErrMissing) {
			return cmp.Or(err, errStale)
		}
		again, err := s.past(ctx, ns, nil)
		if err != nil {
			return err
		}
		if again.recorded || again.newest.Key != p.newest.Key {
			return errStale
		}
	}
	records, own := s.records(ns, p, current, c)
	if size(table)+size(records) > maxRequest {
		return s.writeLarge(ctx, ns, key, table, records, own, c)
	}
	err = s.commit(ctx, key, append(slices.Clone(table), records...))
	switch {
	case err == nil || errors.Is(err, errTable):
	case denied(err):
		return s.unremembered(ctx, ns, key, table, err)
	case strings.Contains(err.Error(), "too large"): // Consul may be configured to take less
		return s.writeLarge(ctx, ns, key, table, records, own, c)
	}
	return err
}

// tableOps are the operations on the table itself, of which the last one changes it.
func tableOps(key string, d *dtab.Dtab, current *api.KVPair) api.TxnOps {
	if d == nil {
		return api.TxnOps{
			{KV: &api.KVTxnOp{Verb: api.KVCheckIndex, Key: key, Index: current.ModifyIndex}}, // deleting what is gone would be no error
			{KV: &api.KVTxnOp{Verb: api.KVDeleteCAS, Key: key, Index: current.ModifyIndex}},
		}
	}
	op := &api.KVTxnOp{Verb: api.KVCAS, Key: key, Value: []byte(d.String())}
	if current != nil {
		op.Index, op.Flags = current.ModifyIndex, current.Flags
	}
	return api.TxnOps{{KV: op}}
}

// size is about what operations take in a request.
func size(ops api.TxnOps) int {
	n := 0
	for _, op := range ops {
		n += len(op.KV.Value)*4/3 + len(op.KV.Key) + 150
	}
	return n
}

// errTable marks what is wrong with the table, and not with its history.
var errTable = errors.New("the table")

// commit does operations together, those on the table at their beginning. It returns errStale if somebody was faster.
func (s *Store) commit(ctx context.Context, key string, ops api.TxnOps) error {
	done, answer, _, err := s.txn.Txn(ops, (&api.QueryOptions{}).WithContext(ctx))
	if err != nil {
		return fmt.Errorf("write %s to Consul: %w", key, err)
	}
	if done {
		return nil
	}
	if len(answer.Errors) == 0 {
		return fmt.Errorf("write %s to Consul: it is refused without a reason", key)
	}
	var problems []error
	forgetful := false // the token may not write the history, which has been said
	for _, e := range answer.Errors {
		known := e.OpIndex >= 0 && e.OpIndex < len(ops)
		own := known && ops[e.OpIndex].KV.Key == key
		if (own || known && ops[e.OpIndex].KV.Verb == api.KVCAS) && !refusal(e.What) {
			return errStale
		}
		switch {
		case own:
			problems = append(problems, fmt.Errorf("%w: %s", errTable, consulacl.Explain(e.What, "/v1/txn")))
		case !known || !denied(errors.New(e.What)):
			problems = append(problems, errors.New(consulacl.Explain(e.What, "/v1/txn")))
		case !forgetful: // a rule for the key of one change would be of no use for the next one
			forgetful = true
			histories := consulacl.Right{Resource: "key", Name: s.prefix + "/" + historyFolder + "/", Prefix: true, Access: consulacl.Write}
			problems = append(problems, errors.New(consulacl.Lacks("its history: Permission denied", histories)))
		}
	}
	return fmt.Errorf("write %s to Consul: %w", key, errors.Join(problems...))
}

func refusal(what string) bool {
	return strings.Contains(what, "Permission denied") || strings.Contains(what, "lock delay")
}

// denied reports whether Consul says that the token may not.
func denied(err error) bool {
	var status api.StatusError
	return errors.As(err, &status) && status.Code == http.StatusForbidden || err != nil && strings.Contains(err.Error(), "Permission denied")
}

// unremembered writes a table without its history, for instance where the token may not write that.
func (s *Store) unremembered(ctx context.Context, ns, key string, table api.TxnOps, why error) error {
	if ctx.Err() != nil {
		return why
	}
	if !s.warned.Swap(true) {
		s.logger.Warn("tables are written without their history", "namespace", ns, "error", why)
	}
	return s.plain(ctx, key, table)
}

// plain changes the table by the request that Namerd makes, which takes more than a transaction does.
func (s *Store) plain(ctx context.Context, key string, table api.TxnOps) error {
	op := table[len(table)-1].KV
	pair := &api.KVPair{Key: key, Value: op.Value, ModifyIndex: op.Index, Flags: op.Flags}
	write := s.kv.CAS
	if op.Verb == api.KVDeleteCAS {
		write = s.kv.DeleteCAS
	}
	done, _, err := write(pair, (&api.WriteOptions{}).WithContext(ctx))
	var status api.StatusError
	if errors.As(err, &status) && status.Code == http.StatusRequestEntityTooLarge {
		return fmt.Errorf("write %s to Consul: %w: %s", key, store.ErrLarge, status.Body)
	}
	if err != nil {
		return fmt.Errorf("write %s to Consul: %w", key, err)
	}
	if !done {
		return errStale
	}
	return nil
}

// writeLarge is for a table that is too large for a transaction with its history. It is remembered afterwards: if this
// process ends in between, the next one that writes finds it.
func (s *Store) writeLarge(ctx context.Context, ns, key string, table, records api.TxnOps, own *api.KVTxnOp, c store.Change) error {
	if err := s.plain(ctx, key, table); err != nil {
		return err
	}
	if c.Exists {
		now, err := s.get(ctx, key)
		if err != nil || !bytes.Equal(now.Value, table[0].KV.Value) {
			return nil // somebody has changed it since, and found ours
		}
		c.Version = versionOf(now)
		own.Value = store.MarshalChange(c)
	}
	for _, op := range records {
		if op.KV.Verb == api.KVCAS { // the table is there: it is too late to compare
			continue
		}
		if err := s.remember(ctx, op.KV); err != nil {
			s.logger.Warn("a change is not in the history", "namespace", ns, "error", err)
			break
		}
	}
	return nil
}

// remember does an operation on the history by itself.
func (s *Store) remember(ctx context.Context, op *api.KVTxnOp) error {
	var err error
	if op.Verb == api.KVDelete {
		_, err = s.kv.Delete(op.Key, (&api.WriteOptions{}).WithContext(ctx))
	} else {
		_, err = s.kv.Put(&api.KVPair{Key: op.Key, Value: op.Value}, (&api.WriteOptions{}).WithContext(ctx))
	}
	return err
}
