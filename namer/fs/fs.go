// Package fs is the io.l5d.fs namer: a folder in which every file is a service. A file is named for its service and has
// one endpoint a line,
//
//	10.0.0.1 6379
//	redis2.internal 6379 * 0.5   # half the weight
//
// in the format of Linkerd's namer of that name. Files may lie in folders below, /#/io.l5d.fs/team/redis is then
// team/redis, and symbolic links are followed. Names that start with a dot are not looked at.
//
// The system reports changes (inotify on Linux), so that they are seen at once, and nothing is done while there are
// none; where it does not, files are looked at four times a second. What is seen is believed when it has stood still for
// a moment, 25 ms, and that a file has become empty after a quarter of a second: it may just be being written.
package fs

import (
	"context"
	"path/filepath"
	"strings"
	"time"

	"github.com/hashicorp/go-hclog"

	"argosy/dtab"
	"argosy/namer"
)

const (
	// poll is the time between two looks at a file that is changing. A change is believed when two looks in a row see
	// the same.
	poll = 25 * time.Millisecond
	// emptied is how long a file must be empty until that is believed: "command > file" empties it first.
	emptied = 250 * time.Millisecond
	// blindPoll is the time between two looks where changes are not reported.
	blindPoll = 250 * time.Millisecond
	// slowPoll is the time between two looks where they are: changes that other machines make on a shared file system are
	// reported nowhere. Where very many files are watched it is longer, so that all looks together have slowGap between them.
	slowPoll = 10 * time.Second
	slowGap  = 10 * time.Millisecond
)

// Namer reads services from a folder.
type Namer struct {
	root     string
	logger   hclog.Logger
	resolver namer.Resolver
	notifier *notifier
	slow     time.Duration // slowPoll
}

var (
	_ namer.Peeker     = (*Namer)(nil)
	_ namer.Enumerator = (*Namer)(nil)
)

// New makes a namer of the files in rootDir, which may come into being later. A nil logger is silence.
func New(rootDir string, logger hclog.Logger) *Namer {
	if logger == nil {
		logger = hclog.NewNullLogger()
	}
	if abs, err := filepath.Abs(rootDir); err == nil { // else a relative path has to do
		rootDir = abs
	}
	return &Namer{root: rootDir, logger: logger, notifier: &notifier{logger: logger}, slow: slowPoll}
}

// Split takes the whole name as the key: only the folder can tell how much of it is the path of a file.
func (n *Namer) Split(name dtab.Path) (key, residual dtab.Path, ok bool) {
	if len(name) == 0 || !fileName(name[0]) {
		return nil, nil, false
	}
	return name, nil, true
}

// fileName reports whether an element may be looked for in a folder. Names can come from strangers, so nothing may lead
// out of the folder, nor to hidden files.
func fileName(element string) bool {
	return element != "" && element[0] != '.' && !strings.ContainsAny(element, "/\\\x00")
}

// Peek reads the file.
func (n *Namer) Peek(prefix, key dtab.Path) (namer.Answer, bool) {
	l := n.look(key, look{})
	switch {
	case l.missing:
		return namer.NoAnswer(), true
	case !l.plain():
		return namer.Answer{}, false
	}
	targets, err := parse(l.text)
	if err != nil {
		return namer.Answer{}, false
	}
	addr, ok := namer.FixedTargets(targets)
	return answer(prefix, key, l.used, addr), ok
}

// Watch follows the file, and the hosts in it that are names.
func (n *Namer) Watch(ctx context.Context, prefix, key dtab.Path, publish func(namer.Answer)) {
	f := &follower{
		namer: n, publish: publish, prefix: prefix, key: key,
		logger: n.logger.With("name", prefix.Concat(key).String()),
	}
	defer f.stop()
	alarm := n.notifier.alarm()
	defer alarm.end()
	timer := time.NewTimer(0)
	defer timer.Stop()
	var b belief
	var blind bool
	place := true // where to be woken may have changed
	for {
		if place {
			blind = n.place(alarm, key)
		}
		now := n.look(key, b.last)
		place = !place && !now.same(b.last) // something that no event has told of
		if b.changed(now) {
			f.follow(ctx, now)
		}
		switch {
		case !now.same(b.believed):
			timer.Reset(poll)
		case blind:
			timer.Reset(blindPoll)
		default:
			timer.Reset(max(n.slow, slowGap*time.Duration(n.notifier.users.Load())))
		}
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
			place = place || blind
		case <-alarm.ring:
			place = true
			b.last.info = nil // read it, whatever its size and time say
		}
	}
}

// place puts the alarm where key leads to now, and reports whether changes have to be looked for all the same.
func (n *Namer) place(a *alarm, key dtab.Path) (blind bool) {
	const attempts = 5 // somebody may be replacing folders all the time; then the next event has to do
	for range attempts {
		var fresh bool
		if fresh, blind = a.move(n.places(key)); !fresh {
			break
		}
	}
	return blind
}

func answer(prefix, key dtab.Path, used int, addr namer.Addr) namer.Answer {
	a := namer.BoundAnswer(prefix.Concat(key[:used]), addr)
	a.Tree.Leaf.Bound.Residual = key[used:]
	return a
}
