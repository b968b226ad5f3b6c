// Package unixsocket binds Unix sockets: with an owner and a mode from the first connection on, in place of a file that a process
// has left behind, and without removing what is another one's.
package unixsocket

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"os/user"
	"strconv"
	"syscall"

	"golang.org/x/sys/unix"
)

// Permission is who may connect to a Unix socket.
type Permission struct {
	Mode         fs.FileMode // permissions; 0660 unless set
	Owner, Group string      // name or number; "": as the process
}

const (
	defaultMode = 0o660
	// backlog is cut by the kernel to net.core.somaxconn.
	backlog = 1 << 15
)

// Bind listens at path, and returns a descriptor that does not block. Nobody can connect before the file's owner and permissions
// are what they should be: that is so from listen(2) on.
func Bind(path string, u Permission) (fd int, file *File, err error) {
	uid, gid, err := u.ids()
	if err != nil {
		return -1, nil, err
	}
	if err := removeStale(path); err != nil {
		return -1, nil, err
	}
	if fd, err = newSocket(); err != nil {
		return -1, nil, os.NewSyscallError("socket", err)
	}
	if err := unix.Bind(fd, &unix.SockaddrUnix{Name: path}); err != nil {
		unix.Close(fd)
		return -1, nil, os.NewSyscallError("bind", err)
	}
	if file, err = Find(path); err == nil {
		err = file.permit(u.Mode, uid, gid)
	}
	if err == nil {
		err = os.NewSyscallError("listen", unix.Listen(fd, backlog))
	}
	if err != nil {
		if file != nil {
			file.Remove()
		}
		unix.Close(fd)
		return -1, nil, err
	}
	return fd, file, nil
}

func newSocket() (int, error) {
	syscall.ForkLock.RLock() // no child inherits it in between
	defer syscall.ForkLock.RUnlock()
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM, 0)
	if err != nil {
		return -1, err
	}
	unix.CloseOnExec(fd)
	if err := unix.SetNonblock(fd, true); err != nil {
		unix.Close(fd)
		return -1, err
	}
	return fd, nil
}

// ids are the numbers of owner and group; -1 where none is set.
func (u Permission) ids() (uid, gid int, err error) {
	uid, gid = -1, -1
	if u.Owner != "" {
		if uid, err = strconv.Atoi(u.Owner); err != nil {
			who, err := user.Lookup(u.Owner)
			if err != nil {
				return -1, -1, fmt.Errorf("its owner: %w", err)
			}
			uid, _ = strconv.Atoi(who.Uid)
		}
	}
	if u.Group != "" {
		if gid, err = strconv.Atoi(u.Group); err != nil {
			group, err := user.LookupGroup(u.Group)
			if err != nil {
				return -1, -1, fmt.Errorf("its group: %w", err)
			}
			gid, _ = strconv.Atoi(group.Gid)
		}
	}
	return uid, gid, nil
}

// removeStale removes a socket file at path that a process has left behind: one at which nobody listens.
func removeStale(path string) error {
	file, err := Find(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return err
	}
	c, err := net.DialUnix("unix", nil, &net.UnixAddr{Net: "unix", Name: path})
	switch {
	case err == nil:
		c.Close()
		return syscall.EADDRINUSE
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case errors.Is(err, syscall.ECONNREFUSED):
		return file.Remove()
	case errors.Is(err, syscall.EAGAIN):
		return syscall.EADDRINUSE // somebody listens, whose queue is full
	}
	var op *net.OpError
	if errors.As(err, &op) && op.Err != nil {
		err = op.Err
	}
	return fmt.Errorf("is anybody listening there? %w", err)
}

// File is the file of a Unix socket: the same path may later be another one's.
type File struct {
	path string
	info fs.FileInfo
}

// Find returns the socket file at a path.
func Find(path string) (*File, error) {
	info, err := os.Lstat(path)
	if err != nil {
		return nil, errno(err)
	}
	if info.Mode().Type() != fs.ModeSocket {
		return nil, errors.New("there is a file of that name, which is no socket")
	}
	return &File{path, info}, nil
}

// Permit changes who may connect.
func (f *File) Permit(u Permission) error {
	uid, gid, err := u.ids()
	if err != nil {
		return err
	}
	return f.permit(u.Mode, uid, gid)
}

// permit sets who may connect; -1 leaves the owner or the group as it is.
func (f *File) permit(mode fs.FileMode, uid, gid int) error {
	if mode = mode.Perm(); mode == 0 {
		mode = defaultMode
	}
	if err := os.Chmod(f.path, mode); err != nil {
		return fmt.Errorf("setting its mode: %w", errno(err))
	}
	if uid < 0 && gid < 0 {
		return nil
	}
	if err := os.Lchown(f.path, uid, gid); err != nil {
		return fmt.Errorf("setting its owner: %w", errno(err))
	}
	return nil
}

// Remove removes the file if it is still the same.
func (f *File) Remove() error {
	now, err := os.Lstat(f.path)
	if err != nil || !os.SameFile(now, f.info) {
		return nil
	}
	return errno(os.Remove(f.path))
}

// errno is the reason inside an error of os, which repeats the path.
func errno(err error) error {
	var p *fs.PathError
	if errors.As(err, &p) {
		return p.Err
	}
	return err
}
