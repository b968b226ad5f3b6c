package fs

import (
	"errors"
	iofs "io/fs"
	"path/filepath"
	"sync"
	"sync/atomic"
	"syscall"

	"github.com/fsnotify/fsnotify"
	"github.com/hashicorp/go-hclog"
)

// notifier wakes watches when the operating system reports that something has happened at one of their places. It has
// one queue of events, which is open while anybody watches. Its methods may be called from any goroutine.
type notifier struct {
	logger hclog.Logger

	// changing is held while folders are added to the queue and removed, and while it is opened and closed. It is never
	// taken by the goroutine that reads the queue, for which those operations may wait.
	changing sync.Mutex
	users    atomic.Int64      // changed under changing
	queue    *fsnotify.Watcher // nil: nobody watches, or there can be none
	reading  sync.WaitGroup
	told     bool // that places cannot be watched

	mu   sync.Mutex
	dirs map[string]*dir
}

// dir is a folder that somebody has places in.
type dir struct {
	watched bool
	names   map[string]map[*alarm]struct{}
}

// alarm is one watch's place in the notifier.
type alarm struct {
	notifier *notifier
	ring     chan struct{} // has a token when something has happened
	places   []place
}

// alarm opens a place; end closes it.
func (n *notifier) alarm() *alarm {
	n.changing.Lock()
	defer n.changing.Unlock()
	if n.users.Add(1) == 1 {
		n.open()
	}
	return &alarm{notifier: n, ring: make(chan struct{}, 1)}
}

func (n *notifier) open() {
	n.mu.Lock()
	n.dirs = map[string]*dir{}
	n.mu.Unlock()
	queue, err := fsnotify.NewWatcher()
	if err != nil {
		n.complain(err)
		return
	}
	n.queue = queue
	n.reading.Go(func() { n.read(queue) })
}

func (a *alarm) end() {
	n := a.notifier
	a.move(nil)
	n.changing.Lock()
	defer n.changing.Unlock()
	if n.users.Add(-1) == 0 && n.queue != nil {
		if err := n.queue.Close(); err != nil {
			n.logger.Warn("cannot close the queue of file events", "error", err)
		}
		n.reading.Wait()
		n.queue = nil
	}
}

// read hands events on until the queue is closed.
func (n *notifier) read(queue *fsnotify.Watcher) {
	events, errs := queue.Events, queue.Errors
	for events != nil || errs != nil {
		select {
		case e, ok := <-events:
			if !ok {
				events = nil
				continue
			}
			n.event(e)
		case _, ok := <-errs:
			if !ok {
				errs = nil
				continue
			}
			n.lost() // most likely events: too many at once
		}
	}
}

// event wakes those who have a place at the element, and all who have one in it if it is a folder.
func (n *notifier) event(e fsnotify.Event) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if d := n.dirs[filepath.Dir(e.Name)]; d != nil {
		ringAll(d.names[filepath.Base(e.Name)])
	}
	if d := n.dirs[e.Name]; d != nil {
		if e.Has(fsnotify.Create) || e.Has(fsnotify.Remove) || e.Has(fsnotify.Rename) {
			d.watched = false // it may be another folder now
		}
		d.ringAll()
	}
}

// lost wakes everybody.
func (n *notifier) lost() {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, d := range n.dirs {
		d.ringAll()
	}
}

func (d *dir) ringAll() {
	for _, alarms := range d.names {
		ringAll(alarms)
	}
}

func ringAll(alarms map[*alarm]struct{}) {
	for a := range alarms {
		select {
		case a.ring <- struct{}{}:
		default:
		}
	}
}

// move makes places those of the alarm. It reports whether folders have come to be watched that were not, so that
// something may have been missed in them; and whether the places are not all watched, so that looking is up to the
// caller. Folders that are not there are watched through the one that they would come into being in.
func (a *alarm) move(places []place) (fresh, blind bool) {
	n := a.notifier
	n.changing.Lock()
	defer n.changing.Unlock()
	add, remove := a.register(places)
	if n.queue == nil {
		return false, true
	}
	for _, path := range remove {
		// An error means that it is not watched any more.
		_ = n.queue.Remove(path)
	}
	blind = len(places) == 0
	for _, path := range add {
		err := n.queue.Add(path)
		if err != nil {
			n.mu.Lock()
			n.dirs[path].watched = false
			n.mu.Unlock()
		}
		switch {
		case err == nil:
			fresh = true
		case errors.Is(err, iofs.ErrNotExist), errors.Is(err, syscall.ENOTDIR):
			blind = blind || path == places[0].dir
		default:
			blind = true
			n.complain(err)
		}
	}
	return fresh, blind
}

// register notes the places, and returns the folders that are of interest and not watched yet, and those that have
// ceased to be of interest.
func (a *alarm) register(places []place) (add, remove []string) {
	n := a.notifier
	n.mu.Lock()
	defer n.mu.Unlock()
	old := a.places
	a.places = places
	for _, p := range places {
		d := n.dirs[p.dir]
		if d == nil {
			d = &dir{names: map[string]map[*alarm]struct{}{}}
			n.dirs[p.dir] = d
		}
		if d.names[p.name] == nil {
			d.names[p.name] = map[*alarm]struct{}{}
		}
		d.names[p.name][a] = struct{}{}
		if !d.watched {
			d.watched = true // already now, so that an event that comes while it is added undoes it
			add = append(add, p.dir)
		}
	}
	keep := make(map[place]bool, len(places))
	for _, p := range places {
		keep[p] = true
	}
	for _, p := range old {
		if keep[p] {
			continue
		}
		d := n.dirs[p.dir]
		delete(d.names[p.name], a)
		if len(d.names[p.name]) == 0 {
			delete(d.names, p.name)
		}
		if len(d.names) == 0 {
			delete(n.dirs, p.dir)
			remove = append(remove, p.dir)
		}
	}
	return add, remove
}

// complain says once that files are looked at instead. The caller holds changing.
func (n *notifier) complain(err error) {
	if !n.told {
		n.told = true
		n.logger.Warn("changes of files are not reported by the system: looking at them again and again instead", "every", blindPoll, "error", err)
	}
}
