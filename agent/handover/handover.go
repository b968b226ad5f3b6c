// Package handover passes listening sockets from a running process to the one that follows it, over a Unix socket, so that
// no connection is refused while the program is exchanged.
//
//	// the old one
//	s, err := handover.Offer(path, func() ([]handover.Socket, error) { ... }, func(t handover.Taken) { drain() }, logger)
//	defer s.Close()
//
//	// the new one
//	got, err := handover.Take(ctx, path) // ErrNobody: nothing to take over
//	... listens on got.Sockets, and begins to serve ...
//	err = got.Serving(ctx, ids)          // from now on the old one accepts no more
//
// Nothing changes for the old process until the new one says that it serves: if it fails before, the old one goes on. Both
// hold the same kernel sockets meanwhile, so connections queue, and either may accept them.
//
// A message is its length in 4 bytes, big endian, and JSON; descriptors come along with the length, as SCM_RIGHTS (unix(7)).
package handover

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// patience is how long one side waits for a message of the other. The new process may take its time to get ready.
	patience      = 10 * time.Second
	readyPatience = 2 * time.Minute
	// batch is how many descriptors go along with one message; Linux takes 253.
	batch = 100
	// longest is the size of the largest message that is believed.
	longest = 1 << 20
)

// Socket is a listening socket with the name that both processes know it by.
type Socket struct {
	Name string
	File *os.File
}

// Taken is what the new process says when it serves.
type Taken struct {
	// Services are the ids of its entries in the catalog, which the old one must not take out.
	Services []string `json:"services,omitempty"`
}

// message is all that is ever sent.
type message struct {
	Version int      `json:"version"`
	Names   []string `json:"names,omitempty"` // of the descriptors that come along
	More    bool     `json:"more,omitempty"`
	Serving *Taken   `json:"serving,omitempty"`
	Error   string   `json:"error,omitempty"`
}

const version = 1

func send(c *net.UnixConn, m message, files []*os.File) error {
	m.Version = version
	body, err := json.Marshal(m)
	if err != nil {
		return err
	}
	var rights []byte
	if len(files) > 0 {
		var fds []int
		for _, f := range files {
			raw, err := f.SyscallConn() // Fd would make the socket a blocking one, for the process that still serves as well
			if err == nil {
				err = raw.Control(func(fd uintptr) { fds = append(fds, int(fd)) })
			}
			if err != nil {
				return err
			}
		}
		rights = syscall.UnixRights(fds...)
	}
	c.SetWriteDeadline(time.Now().Add(patience))
	if _, _, err := c.WriteMsgUnix(binary.BigEndian.AppendUint32(nil, uint32(len(body))), rights, nil); err != nil {
		return err
	}
	_, err = c.Write(body)
	return err
}

// receive reads a message. The files are the caller's.
func receive(c *net.UnixConn, wait time.Duration) (m message, files []*os.File, err error) {
	c.SetReadDeadline(time.Now().Add(wait))
	head, rights := make([]byte, 4), make([]byte, syscall.CmsgSpace(batch*4))
	n, got, _, _, err := c.ReadMsgUnix(head, rights)
	if err != nil {
		return m, nil, err
	}
	if n == 0 {
		return m, nil, io.EOF
	}
	defer func() {
		if err != nil {
			closeAll(files)
			files = nil
		}
	}()
	if files, err = parseRights(rights[:got]); err != nil {
		return m, files, err
	}
	if _, err := io.ReadFull(c, head[n:]); err != nil {
		return m, files, err
	}
	size := binary.BigEndian.Uint32(head)
	if size > longest {
		return m, files, fmt.Errorf("a message of %d bytes", size)
	}
	body := make([]byte, size)
	if _, err := io.ReadFull(c, body); err != nil {
		return m, files, err
	}
	if err := json.Unmarshal(body, &m); err != nil {
		return m, files, err
	}
	switch {
	case m.Version != version:
		return m, files, fmt.Errorf("the other side speaks version %d, not %d", m.Version, version)
	case m.Error != "":
		return m, files, errors.New(m.Error)
	case len(m.Names) != len(files):
		return m, files, fmt.Errorf("%d descriptors for %d names", len(files), len(m.Names))
	}
	return m, files, nil
}

func parseRights(raw []byte) ([]*os.File, error) {
	messages, err := syscall.ParseSocketControlMessage(raw)
	if err != nil {
		return nil, err
	}
	var files []*os.File
	for i := range messages {
		fds, err := syscall.ParseUnixRights(&messages[i])
		if err != nil {
			continue // credentials, or what else there may be
		}
		for _, fd := range fds {
			unix.CloseOnExec(fd)
			files = append(files, os.NewFile(uintptr(fd), "inherited"))
		}
	}
	return files, nil
}

func closeAll(files []*os.File) {
	for _, f := range files {
		f.Close()
	}
}
