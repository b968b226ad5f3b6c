package scheduler

import (
	"cmp"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"argosy/internal/watch"
	"argosy/scheduler/law"
)

// journalSize is how many entries are kept, of all policies together.
const journalSize = 1000

// Entry is a decision in the journal. Holds in a row for the same reason are one entry, with the newest's numbers.
type Entry struct {
	Policy   string    `json:"policy"`
	Target   string    `json:"target"`
	Since    time.Time `json:"since"`    // when the first of them was made
	Repeated int       `json:"repeated"` // how many there are
	law.Decision
}

// journal keeps the last decisions. Its methods may be called from any goroutine.
type journal struct {
	mu     sync.Mutex
	ring   []*Entry // oldest first
	latest map[string]*Entry

	watched atomic.Bool // nobody pays for the cell until somebody looks
	cell    *watch.Cell[[]Entry]
}

func newJournal() *journal {
	return &journal{latest: map[string]*Entry{}, cell: watch.New[[]Entry](nil, nil)}
}

// record adds a decision and reports whether it is of the same kind as the policy's last one.
func (j *journal) record(policy, target string, d law.Decision) (repeated bool) {
	j.mu.Lock()
	defer j.mu.Unlock()
	last := j.latest[policy]
	if last != nil && last.Action == law.Hold && d.Action == law.Hold && last.Reason == d.Reason &&
		last.Current == d.Current && last.Target == target {
		last.Decision = d
		last.Repeated++
		repeated = true
	} else {
		e := &Entry{Policy: policy, Target: target, Since: d.At, Repeated: 1, Decision: d}
		j.latest[policy] = e
		if len(j.ring) == journalSize {
			j.ring = append(j.ring[:0:0], j.ring[1:]...)
		}
		j.ring = append(j.ring, e)
	}
	j.publish()
	return repeated
}

// forget takes a policy that is gone out of the newest decisions. What it decided stays in the journal.
func (j *journal) forget(policy string) {
	j.mu.Lock()
	defer j.mu.Unlock()
	delete(j.latest, policy)
	j.publish()
}

func (j *journal) publish() {
	if !j.watched.Load() {
		return
	}
	all := make([]Entry, 0, len(j.latest))
	for _, e := range j.latest {
		all = append(all, *e)
	}
	slices.SortFunc(all, func(a, b Entry) int { return cmp.Compare(a.Policy, b.Policy) })
	j.cell.Set(all)
}

// newest is the last decision of every policy, ordered by policy.
func (j *journal) newest() watch.Reader[[]Entry] {
	j.mu.Lock()
	defer j.mu.Unlock()
	if !j.watched.Swap(true) {
		j.publish()
	}
	return j.cell
}

// recent returns up to limit entries, newest first, of one policy or, when it is empty, of all.
func (j *journal) recent(policy string, limit int) []Entry {
	j.mu.Lock()
	defer j.mu.Unlock()
	out := []Entry{}
	for _, e := range slices.Backward(j.ring) {
		if len(out) >= limit {
			break
		}
		if policy == "" || e.Policy == policy {
			out = append(out, *e)
		}
	}
	return out
}
