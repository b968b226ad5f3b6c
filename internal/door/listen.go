package door

import (
	"errors"
	"fmt"
	"net"
	"os"
	"sync"

	"argosy/internal/settings"
	"argosy/internal/unixsocket"
)

// Listen opens the socket of a door, or takes over the one that another process has opened where inherited is not nil; that one
// is closed. The file of a Unix socket is removed when the listener is closed.
func Listen(cfg settings.Door, inherited *os.File) (net.Listener, error) {
	l, err := listen(cfg, inherited)
	if err != nil {
		var op *net.OpError
		if errors.As(err, &op) && op.Err != nil {
			err = op.Err
		}
		return nil, fmt.Errorf("listening on %s: %w", cfg.Address, err)
	}
	return l, nil
}

func listen(cfg settings.Door, inherited *os.File) (net.Listener, error) {
	if inherited != nil {
		defer inherited.Close()
	}
	if cfg.Network != "unix" {
		if inherited != nil {
			return net.FileListener(inherited)
		}
		return net.Listen("tcp", cfg.Address)
	}
	u := unixsocket.Permission{Mode: cfg.Mode, Owner: cfg.Owner, Group: cfg.Group}
	f, file := inherited, (*unixsocket.File)(nil)
	var err error
	if f != nil {
		if file, err = unixsocket.Find(cfg.Address); err == nil {
			err = file.Permit(u)
		}
	} else {
		var fd int
		if fd, file, err = unixsocket.Bind(cfg.Address, u); err == nil {
			f = os.NewFile(uintptr(fd), cfg.Address)
			defer f.Close()
		}
	}
	if err != nil {
		return nil, err
	}
	l, err := net.FileListener(f)
	if err != nil {
		file.Remove()
		return nil, err
	}
	unix, ok := l.(*net.UnixListener)
	if !ok {
		l.Close()
		return nil, errors.New("what was handed over is no Unix socket")
	}
	unix.SetUnlinkOnClose(false)
	return &UnixListener{UnixListener: unix, file: file}, nil
}

// UnixListener has the file of its socket.
type UnixListener struct {
	*net.UnixListener
	mu   sync.Mutex
	file *unixsocket.File // nil: another process goes on with it
}

// permit changes who may connect.
func (l *UnixListener) permit(cfg settings.Door) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.file == nil {
		return nil
	}
	return l.file.Permit(unixsocket.Permission{Mode: cfg.Mode, Owner: cfg.Owner, Group: cfg.Group})
}

// Leave keeps the file when the listener is closed: another process goes on with the socket.
func (l *UnixListener) Leave() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.file = nil
}

// Close removes the file first: while it is there, connecting must not find a closed socket.
func (l *UnixListener) Close() error {
	l.mu.Lock()
	if l.file != nil {
		l.file.Remove()
		l.file = nil
	}
	l.mu.Unlock()
	return l.UnixListener.Close()
}
