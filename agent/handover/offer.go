package handover

import (
	"errors"
	"fmt"
	"net"
	"os"
	"sync"

	"argosy/internal/unixsocket"

	"github.com/hashicorp/go-hclog"
)

// Offering is a process that can be followed by another one. Its methods may be called from any goroutine.
type Offering struct {
	listener *net.UnixListener
	sockets  func() ([]Socket, error)
	taken    func(Taken)
	logger   hclog.Logger

	running sync.WaitGroup
	mu      sync.Mutex
	conn    *net.UnixConn // being talked to
	closed  bool
}

// Offer listens at path, in place of whoever did before, for a process that wants to follow this one; only processes of
// the same user can. sockets returns duplicates, which are closed after use. taken is called when the new process serves: it
// returns when this one accepts no more. After that nothing is offered any more.
func Offer(path string, sockets func() ([]Socket, error), taken func(Taken), logger hclog.Logger) (*Offering, error) {
	// Under another name first: a process that follows must never find the path without a listener.
	staging := fmt.Sprintf("%s.%d", path, os.Getpid())
	os.Remove(staging)
	l, err := listen(staging)
	if err != nil {
		return nil, fmt.Errorf("offering sockets: %w", err)
	}
	if err := os.Rename(staging, path); err != nil {
		l.Close()
		os.Remove(staging)
		return nil, fmt.Errorf("offering sockets: %w", err)
	}
	o := &Offering{listener: l, sockets: sockets, taken: taken, logger: logger}
	o.running.Go(o.serve)
	return o, nil
}

// listen listens at path, where nobody else can connect at any time. Its end leaves the file: by then it may be another's.
func listen(path string) (*net.UnixListener, error) {
	fd, file, err := unixsocket.Bind(path, unixsocket.Permission{Mode: 0o600})
	if err != nil {
		return nil, err
	}
	f := os.NewFile(uintptr(fd), path)
	defer f.Close()
	l, err := net.FileListener(f)
	if err != nil {
		return nil, errors.Join(err, file.Remove())
	}
	return l.(*net.UnixListener), nil
}

// serve talks to one process at a time.
func (o *Offering) serve() {
	defer o.listener.Close() // also where it has served its purpose
	for {
		conn, err := o.listener.AcceptUnix()
		if err != nil {
			return
		}
		if !o.talkingTo(conn) {
			conn.Close()
			return
		}
		done, err := o.talk(conn)
		o.talkingTo(nil)
		conn.Close()
		switch {
		case err != nil && !done:
			o.logger.Warn("a process that wanted to take over has not: this one goes on", "error", err)
		case done:
			return
		}
	}
}

func (o *Offering) talkingTo(c *net.UnixConn) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.conn = c
	return !o.closed
}

// talk hands the sockets over and reports whether the other side serves now.
func (o *Offering) talk(c *net.UnixConn) (done bool, err error) {
	if _, _, err := receive(c, patience); err != nil {
		return false, err
	}
	sockets, err := o.sockets()
	if err != nil {
		return false, errors.Join(err, send(c, message{Error: err.Error()}, nil))
	}
	defer func() {
		for _, s := range sockets {
			s.File.Close()
		}
	}()
	for first := true; first || len(sockets) > 0; first = false {
		now := sockets[:min(batch, len(sockets))]
		m := message{More: len(now) < len(sockets)}
		var files []*os.File
		for _, s := range now {
			m.Names, files = append(m.Names, s.Name), append(files, s.File)
		}
		err := send(c, m, files)
		closeAll(files)
		sockets = sockets[len(now):]
		if err != nil {
			return false, err
		}
	}
	o.logger.Info("handed the listening sockets to a new process, which gets ready")
	m, _, err := receive(c, readyPatience)
	if err != nil {
		return false, err
	}
	if m.Serving == nil {
		return false, errors.New("another message than expected")
	}
	o.taken(*m.Serving)
	if err := send(c, message{}, nil); err != nil {
		o.logger.Warn("the new process does not listen any more", "error", err)
	}
	return true, nil
}

// Close ends the offering and waits. The path stays: it may be the new process's.
func (o *Offering) Close() {
	o.mu.Lock()
	o.closed = true
	if o.conn != nil {
		o.conn.Close()
	}
	o.mu.Unlock()
	o.listener.Close()
	o.running.Wait()
}
