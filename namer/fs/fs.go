// Package fs is the io.l5d.fs namer: a folder in which every file is a service. A file is named for its service and has
// one endpoint a line,
//
//	10.0.0.1 6379
//	redis2.internal 6379 * 0.5   # half the weight
//
// in the format of Linkerd's namer of that name. Files may lie in folders below, /#/io.l5d.fs/team/redis is then
// team/redis. Changes are seen within a tenth of a second. Names that start with a dot are not looked at.
package fs

import (
	"context"
	"strings"
	"time"

	"github.com/hashicorp/go-hclog"

	"argosy/dtab"
	"argosy/namer"
)

// poll is the time between two looks at a file. A change is believed when two looks in a row see the same.
const poll = 25 * time.Millisecond

// emptied is how long a file must be empty until that is believed: "command > file" empties it first.
const emptied = 250 * time.Millisecond

// Namer reads services from a folder.
type Namer struct {
	root     string
	logger   hclog.Logger
	resolver namer.Resolver
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
	return &Namer{root: rootDir, logger: logger}
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
	var b belief
	for {
		if now := n.look(key, b.last); b.changed(now) {
			f.follow(ctx, now)
		}
		if !sleep(ctx, poll) {
			return
		}
	}
}

func sleep(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}

func answer(prefix, key dtab.Path, used int, addr namer.Addr) namer.Answer {
	a := namer.BoundAnswer(prefix.Concat(key[:used]), addr)
	a.Tree.Leaf.Bound.Residual = key[used:]
	return a
}
