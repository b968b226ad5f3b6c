package policies

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/nomad/api"

	"argosy/internal/backoff"
	"argosy/internal/watch"
)

const (
	listWait    = time.Minute
	callTimeout = 15 * time.Second
	// Policies of jobs that change all the time must not keep us busy.
	shortestPause = 500 * time.Millisecond
)

// Snapshot is what the jobs ask for now, ordered by name.
type Snapshot struct {
	Policies []Policy
	Problems []Problem
}

// Problem is a policy that cannot be used.
type Problem struct {
	Policy string `json:"policy"`
	Origin string `json:"origin"`
	Error  string `json:"error"`
}

// Equal reports whether two snapshots are the same.
func (s Snapshot) Equal(t Snapshot) bool {
	return slices.EqualFunc(s.Policies, t.Policies, Policy.Equal) && slices.Equal(s.Problems, t.Problems)
}

// Jobs follows the scaling blocks of Nomad jobs.
type Jobs struct {
	client     *api.Client
	namespaces []string
	abilities  Abilities
	logger     hclog.Logger

	cell *watch.Cell[Snapshot]
	mu   sync.Mutex
	by   map[string]Snapshot // by namespace
}

// NewJobs makes a follower of the jobs in the namespaces. It knows nothing until Run has been called.
func NewJobs(client *api.Client, namespaces []string, a Abilities, logger hclog.Logger) *Jobs {
	return &Jobs{
		client: client, namespaces: namespaces, abilities: a, logger: logger.Named("jobs"),
		cell: watch.New(Snapshot{}, Snapshot.Equal), by: map[string]Snapshot{},
	}
}

// Policies is the newest snapshot.
func (j *Jobs) Policies() watch.Reader[Snapshot] { return j.cell }

// Run follows until ctx ends. When Nomad does not answer, the policies stay what they were.
func (j *Jobs) Run(ctx context.Context) {
	var wg sync.WaitGroup
	for _, ns := range j.namespaces {
		wg.Go(func() { j.follow(ctx, ns) })
	}
	wg.Wait()
}

func (j *Jobs) follow(ctx context.Context, ns string) {
	f := &follower{jobs: j, ns: ns, logger: j.logger.With("namespace", ns), cache: map[string]cached{}}
	pause := backoff.New(500*time.Millisecond, 15*time.Second)
	for ctx.Err() == nil {
		s, err := f.round(ctx)
		switch {
		case ctx.Err() != nil:
			return
		case err != nil:
			f.complain(err)
			f.index = 0
			pause.Sleep(ctx)
			continue
		}
		f.complain(nil)
		pause.Reset()
		j.publish(ns, s)
		backoff.Sleep(ctx, shortestPause)
	}
}

// publish merges what the namespaces ask for.
func (j *Jobs) publish(ns string, s Snapshot) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.by[ns] = s
	var all Snapshot
	for _, s := range j.by {
		all.Policies = append(all.Policies, s.Policies...)
		all.Problems = append(all.Problems, s.Problems...)
	}
	slices.SortFunc(all.Policies, func(a, b Policy) int { return cmp.Compare(a.Name, b.Name) })
	slices.SortFunc(all.Problems, func(a, b Problem) int { return cmp.Compare(a.Policy, b.Policy) })
	j.cell.Set(all)
}

// follower follows one namespace.
type follower struct {
	jobs    *Jobs
	ns      string
	logger  hclog.Logger
	index   uint64
	cache   map[string]cached // by policy id
	trouble string
}

// cached is a policy as it was at an index.
type cached struct {
	index  uint64
	policy *api.ScalingPolicy
}

// round waits for a change of the list and reads what is new in it.
func (f *follower) round(ctx context.Context) (Snapshot, error) {
	q := &api.QueryOptions{Namespace: f.ns, WaitIndex: f.index, WaitTime: listWait}
	limited, cancel := context.WithTimeout(ctx, listWait+listWait/16+callTimeout)
	stubs, meta, err := f.jobs.client.Scaling().ListPolicies(q.WithContext(limited))
	cancel()
	if err != nil {
		return Snapshot{}, fmt.Errorf("listing scaling policies: %w", err)
	}
	fresh := map[string]cached{}
	for _, stub := range stubs {
		if stub.Type != "" && stub.Type != api.ScalingPolicyTypeHorizontal {
			continue
		}
		c, known := f.cache[stub.ID]
		if !known || c.index != stub.ModifyIndex {
			p, err := f.read(ctx, stub.ID)
			if err != nil {
				return Snapshot{}, fmt.Errorf("reading scaling policy %s: %w", stub.ID, err)
			}
			if p == nil {
				continue // gone in the meantime
			}
			c = cached{index: stub.ModifyIndex, policy: p}
		}
		fresh[stub.ID] = c
	}
	f.cache, f.index = fresh, meta.LastIndex
	return f.parseAll(), nil
}

func (f *follower) read(ctx context.Context, id string) (*api.ScalingPolicy, error) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	p, _, err := f.jobs.client.Scaling().GetPolicy(id, (&api.QueryOptions{Namespace: f.ns}).WithContext(ctx))
	var unexpected api.UnexpectedResponseError
	if errors.As(err, &unexpected) && unexpected.StatusCode() == http.StatusNotFound {
		return nil, nil
	}
	return p, err
}

// parseAll parses every policy by itself, so that a bad one stops nobody else.
func (f *follower) parseAll() Snapshot {
	var s Snapshot
	for _, c := range f.cache {
		if !ours(c.policy) {
			continue
		}
		p, err := parse(c.policy, f.jobs.abilities)
		if err == nil {
			s.Policies = append(s.Policies, p)
			continue
		}
		s.Problems = append(s.Problems, Problem{p.Name, p.Origin, err.Error()})
	}
	return s
}

// complain logs trouble when it begins, changes and ends.
func (f *follower) complain(err error) {
	text := ""
	if err != nil {
		text = err.Error()
	}
	switch {
	case text == f.trouble:
	case text == "":
		f.logger.Info("scaling policies can be read again")
	default:
		f.logger.Warn("cannot follow scaling policies, keeping those known", "error", text)
	}
	f.trouble = text
}
