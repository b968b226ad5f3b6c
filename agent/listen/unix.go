package listen

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

// UnixFile is who may connect to a Unix socket.
type UnixFile struct {
	Mode         fs.FileMode // permissions; 0660 unless set
	Owner, Group string      // name or number; "": as the process
}

const (
	defaultMode = 0o660
	// backlog is cut by the kernel to net.core.somaxconn.
	backlog = 1 << 15
)

// bindUnix listens at path. Nobody can connect before the file's owner and permissions are what they should be: that is
// so from listen(2) on.
func bindUnix(path string, u UnixFile) (fd int, file *socketFile, err error) {
	uid, gid, err := u.ids()
	if err != nil {
		return -1, nil, err
	}
	if err := removeStale(path); err != nil {
		return -1, nil, err
	}
	if fd, err = newUnixSocket(); err != nil {
		return -1, nil, os.NewSyscallError("socket", err)
	}
	if err := unix.Bind(fd, &unix.SockaddrUnix{Name: path}); err != nil {
		unix.Close(fd)
		return -1, nil, os.NewSyscallError("bind", err)
	}
	if file, err = findFile(path); err == nil {
		err = file.permit(u.Mode, uid, gid)
	}
	if err == nil {
		err = os.NewSyscallError("listen", unix.Listen(fd, backlog))
	}
	if err != nil {
		if file != nil {
			file.remove()
		}
		unix.Close(fd)
		return -1, nil, err
	}
	return fd, file, nil
}

func newUnixSocket() (int, error) {
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
func (u UnixFile) ids() (uid, gid int, err error) {
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
	file, err := findFile(path)
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
		return file.remove()
	case errors.Is(err, syscall.EAGAIN):
		return syscall.EADDRINUSE // somebody listens, whose queue is full
	}
	return fmt.Errorf("is anybody listening there? %w", bare(err))
}

// socketFile is the file of a Unix socket: the same path may later be another one's.
type socketFile struct {
	path string
	info fs.FileInfo
}

func findFile(path string) (*socketFile, error) {
	info, err := os.Lstat(path)
	if err != nil {
		return nil, errno(err)
	}
	if info.Mode().Type() != fs.ModeSocket {
		return nil, errors.New("there is a file of that name, which is no socket")
	}
	return &socketFile{path, info}, nil
}

// permit sets who may connect; -1 leaves the owner or the group as it is.
func (f *socketFile) permit(mode fs.FileMode, uid, gid int) error {
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

// remove removes the file if it is still the same.
func (f *socketFile) remove() error {
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

// listening returns the address of a descriptor, if it is a listening stream socket.
func listening(fd int) (net.Addr, error) {
	kind, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_TYPE)
	if err != nil {
		return nil, os.NewSyscallError("getsockopt", err)
	}
	if listens, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_ACCEPTCONN); err != nil || listens == 0 || kind != unix.SOCK_STREAM {
		return nil, errors.New("it does not listen")
	}
	if err := unix.SetNonblock(fd, true); err != nil {
		return nil, os.NewSyscallError("fcntl", err)
	}
	at, err := unix.Getsockname(fd)
	if err != nil {
		return nil, os.NewSyscallError("getsockname", err)
	}
	switch at := at.(type) {
	case *unix.SockaddrInet4:
		return &net.TCPAddr{IP: at.Addr[:], Port: at.Port}, nil
	case *unix.SockaddrInet6:
		return &net.TCPAddr{IP: at.Addr[:], Port: at.Port}, nil
	case *unix.SockaddrUnix:
		return &net.UnixAddr{Net: "unix", Name: at.Name}, nil
	}
	return nil, errors.New("it is neither a TCP nor a Unix socket")
}

func dup(fd int) (int, error) {
	d, err := unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, 0)
	return d, os.NewSyscallError("dup", err)
}

func closeFD(fd int) { unix.Close(fd) }

// ended reports whether there is nothing to be read any more, now or later.
func ended(fd uintptr) bool {
	var b [1]byte
	n, _, err := unix.Recvfrom(int(fd), b[:], unix.MSG_PEEK|unix.MSG_DONTWAIT)
	switch err {
	case nil:
		return n == 0
	case unix.EAGAIN, unix.EINTR:
		return false
	}
	return true
}
