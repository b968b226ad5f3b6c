package handover

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"syscall"
)

// ErrNobody means that no process offers its sockets there.
var ErrNobody = errors.New("nobody offers sockets")

// Inheritance is what a running process has handed over. It is not safe for concurrent use.
type Inheritance struct {
	// Sockets are the caller's to close.
	Sockets []Socket
	conn    *net.UnixConn
}

// Take asks the process that offers its sockets at path for them. Without one the error is ErrNobody.
func Take(ctx context.Context, path string) (*Inheritance, error) {
	var d net.Dialer
	conn, err := d.DialContext(ctx, "unix", path)
	switch {
	case errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ECONNREFUSED):
		return nil, ErrNobody
	case err != nil:
		return nil, fmt.Errorf("taking sockets over: %w", err)
	}
	i := &Inheritance{conn: conn.(*net.UnixConn)}
	if err := i.take(); err != nil {
		i.Close()
		return nil, fmt.Errorf("taking sockets over from %s: %w", path, err)
	}
	return i, nil
}

func (i *Inheritance) take() error {
	if err := send(i.conn, message{}, nil); err != nil {
		return err
	}
	for {
		m, files, err := receive(i.conn, patience)
		if err != nil {
			return err
		}
		for n, f := range files {
			i.Sockets = append(i.Sockets, Socket{m.Names[n], f})
		}
		if !m.More {
			return nil
		}
	}
}

// File takes the socket of a name out of the inheritance, or returns nil. It is the caller's to close.
func (i *Inheritance) File(name string) *os.File {
	for n, s := range i.Sockets {
		if s.Name == name {
			i.Sockets = append(i.Sockets[:n:n], i.Sockets[n+1:]...)
			return s.File
		}
	}
	return nil
}

// Serving tells the old process that this one serves, and waits until it has stopped to accept.
func (i *Inheritance) Serving(t Taken) error {
	if err := send(i.conn, message{Serving: &t}, nil); err != nil {
		return fmt.Errorf("telling the old process that this one serves: %w", err)
	}
	if _, _, err := receive(i.conn, readyPatience); err != nil {
		return fmt.Errorf("waiting for the old process to stop accepting: %w", err)
	}
	return nil
}

// Close ends the talk with the old process and closes the sockets that have not been taken out. If Serving has not been
// called, the old process goes on as if nothing had been.
func (i *Inheritance) Close() error {
	for _, s := range i.Sockets {
		s.File.Close()
	}
	i.Sockets = nil
	return i.conn.Close()
}
