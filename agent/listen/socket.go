// Package listen accepts connections and finds out where they want to go.
//
//	s, err := listen.Open(ctx, "127.0.0.1:7474", listen.Options{ReusePort: true, Logger: logger})
//	go s.Serve(func(c net.Conn) {
//		if ok, why := limiter.Admit(source); !ok { ... }
//		in, err := router.Accept(ctx, c, nil) // PROXY header, TLS, server name
//		...
//	})
//	s.Stop() // takes what is queued, closes, waits for Serve
//
// A Socket never stops accepting because of an error. A Limiter says which connections may come in. A Router takes the
// client's address from a PROXY header, terminates TLS, or looks at the ClientHello of a TLS connection that passes
// through, without consuming it.
package listen

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"sync"

	"github.com/hashicorp/go-hclog"

	"argosy/agent/socket"
	"argosy/internal/unixsocket"
)

// Options of a listening socket.
type Options struct {
	// Network is "tcp" unless set, or "unix".
	Network string
	// Unix is who may connect to a Unix socket.
	Unix unixsocket.Permission
	// ReusePort lets several processes listen on the same address; the kernel spreads connections among them.
	ReusePort bool
	// Accepted are the settings of accepted connections.
	Accepted socket.Options
	// FastOpen is the length of the queue for TCP Fast Open (RFC 7413); 0: off. Linux only.
	FastOpen int
	Logger   hclog.Logger
}

// Socket is a listening TCP or Unix socket. Its methods may be called from any goroutine.
type Socket struct {
	addr    net.Addr
	logger  hclog.Logger
	serving sync.WaitGroup
	stopped chan struct{} // closed by the first Stop

	mu       sync.Mutex
	fd       int // -1 once it is closed
	stopping bool
	left     bool     // to another process
	listener acceptor // of Serve; nil before
	accepted socket.Options
	file     *unixsocket.File // of a Unix socket
}

// Open binds address and starts to listen: connections queue from now on. The address is "host:port", or the path of a
// Unix socket. A socket file at that path is replaced if nobody listens there.
func Open(ctx context.Context, address string, o Options) (*Socket, error) {
	s, err := open(ctx, address, o)
	if err == nil {
		err = s.use(o)
	}
	if err != nil {
		return nil, fmt.Errorf("listening on %s: %w", address, bare(err))
	}
	return s, nil
}

func open(ctx context.Context, address string, o Options) (*Socket, error) {
	if o.Network == "unix" {
		fd, file, err := unixsocket.Bind(address, o.Unix)
		if err != nil {
			return nil, err
		}
		return &Socket{fd: fd, addr: &net.UnixAddr{Net: "unix", Name: address}, file: file}, nil
	}
	lc := net.ListenConfig{}
	lc.SetMultipathTCP(false) // its listening sockets do not take all options
	if o.ReusePort {
		lc.Control = reusePort
	}
	l, err := lc.Listen(ctx, "tcp", address)
	if err != nil {
		return nil, err
	}
	defer l.Close() // the duplicate goes on: one of which the runtime's poller does not know, see FD
	raw, err := l.(*net.TCPListener).SyscallConn()
	if err != nil {
		return nil, err
	}
	fd, err := duplicate(raw)
	return &Socket{fd: fd, addr: l.Addr()}, err
}

// FromFile takes over a listening socket that another process has opened. It uses a duplicate: f stays the caller's to
// close. With o.Network "unix" the socket's file is removed by Stop; who had it before calls Leave.
func FromFile(f *os.File, o Options) (*Socket, error) {
	raw, err := f.SyscallConn()
	if err != nil {
		return nil, err
	}
	fd, err := duplicate(raw)
	if err != nil {
		return nil, fmt.Errorf("taking over a listening socket: %w", err)
	}
	s := &Socket{fd: fd, accepted: tuned(fd)}
	if s.addr, err = listening(fd); err == nil && s.addr.Network() != o.network() {
		err = fmt.Errorf("it is a %s socket, not %s", s.addr.Network(), o.network())
	}
	if err == nil && o.network() == "unix" {
		s.file, err = unixsocket.Find(s.addr.String())
	}
	if err == nil {
		err = s.use(o)
	} else {
		s.close()
	}
	if err != nil {
		return nil, fmt.Errorf("taking over a listening socket: %w", bare(err))
	}
	return s, nil
}

func (o *Options) network() string {
	if o.Network == "unix" {
		return "unix"
	}
	return "tcp"
}

// use completes a new socket, or closes it.
func (s *Socket) use(o Options) error {
	s.stopped = make(chan struct{})
	if s.logger = o.Logger; s.logger == nil {
		s.logger = hclog.NewNullLogger()
	}
	if err := s.Tune(o.Accepted, o.FastOpen); err != nil {
		s.close()
		return err
	}
	return nil
}

// bare is the reason inside an error of net that repeats the address.
func bare(err error) error {
	var op *net.OpError
	if errors.As(err, &op) && op.Err != nil {
		return op.Err
	}
	return err
}

// Addr is the address that was bound, with the port that was chosen if it was 0: a *net.TCPAddr or a *net.UnixAddr.
func (s *Socket) Addr() net.Addr { return s.addr }

// Tune changes the settings of connections that are accepted from now on, and the length of the queue for TCP Fast Open.
// They are set once, on the listening socket: accepted ones inherit them, also those that are accepted by way of FD.
func (s *Socket) Tune(accepted socket.Options, fastOpen int) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.fd < 0 {
		return net.ErrClosed
	}
	if s.addr.Network() == "tcp" {
		if err := tune(s.fd, s.accepted, accepted, fastOpen); err != nil {
			return err
		}
	}
	s.accepted = accepted
	return nil
}

// Permit changes who may connect to a Unix socket. For others it does nothing.
func (s *Socket) Permit(u unixsocket.Permission) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.file == nil {
		return nil
	}
	return s.file.Permit(u)
}

// FD is the listening descriptor, for whoever accepts in place of Serve. It does not block, and it stays the socket's.
// The runtime's poller does not know of it, so it costs nothing there unless Serve runs.
func (s *Socket) FD() (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.fd < 0 {
		return -1, net.ErrClosed
	}
	return s.fd, nil
}

// Dup returns a duplicate for another process to take over, which is the caller's to close. Whichever of the two is
// asked first gets a connection.
func (s *Socket) Dup() (*os.File, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.fd < 0 {
		return nil, net.ErrClosed
	}
	fd, err := dup(s.fd)
	if err != nil {
		return nil, err
	}
	return os.NewFile(uintptr(fd), s.addr.String()), nil
}

// close ends the listening. The file goes first: while it is there, connecting must not find a closed socket.
func (s *Socket) close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.fd < 0 {
		return
	}
	if s.file != nil {
		s.file.Remove()
	}
	closeFD(s.fd)
	s.fd = -1
}
