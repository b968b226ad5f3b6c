//go:build linux

package proxies

import (
	"context"
	"fmt"
	"os/exec"

	"argosy/bench/load"
	"argosy/e2e/stack"

	"golang.org/x/sys/unix"
)

// backend is the server behind the proxies.
type backend int

const (
	echoes  backend = iota
	sources         // streams of bytes
	redis           // a real one, where it and its benchmark are installed, else an echo
)

// server is a running backend.
type server struct {
	echo   *load.Echo
	source *load.Source
	redis  *stack.Redis
}

func (b backend) start(ctx context.Context, l *lab) (s server, err error) {
	switch {
	case b == sources:
		s.source, err = load.NewSource()
	case b == redis && realRedis() == nil:
		s.redis, err = l.stack.StartRedis(ctx, "redis")
	default:
		s.echo, err = load.NewEcho()
	}
	return s, err
}

// realRedis is an error unless Redis's own server and benchmark are here.
func realRedis() error {
	for _, program := range []string{"redis-server", "redis-benchmark"} {
		if _, err := exec.LookPath(program); err != nil {
			return fmt.Errorf("%s is not installed: apt-get install redis-server redis-tools", program)
		}
	}
	return nil
}

func (s server) addr() string {
	switch {
	case s.source != nil:
		return s.source.Addr
	case s.redis != nil:
		return s.redis.Addr
	}
	return s.echo.Addr
}

// close ends what runs in this process; Redis ends with the lab.
func (s server) close() {
	if s.source != nil {
		s.source.Close()
	}
	if s.echo != nil {
		s.echo.Close()
	}
}

// spareFiles is what a process has open beside connections.
const spareFiles = 1000

// raiseFiles raises the limit of open files, which what is started inherits. Only root may raise the hard limit; where
// that does not work, mostConnections says what is possible.
func raiseFiles() {
	var limit unix.Rlimit
	const want = 2*10_000 + spareFiles // a proxy has two for each connection, and so has this process
	if unix.Getrlimit(unix.RLIMIT_NOFILE, &limit) != nil || limit.Cur >= want {
		return
	}
	limit.Cur, limit.Max = want, max(want, limit.Max)
	if unix.Setrlimit(unix.RLIMIT_NOFILE, &limit) != nil && unix.Getrlimit(unix.RLIMIT_NOFILE, &limit) == nil {
		limit.Cur = limit.Max
		unix.Setrlimit(unix.RLIMIT_NOFILE, &limit)
	}
}

// mostConnections is how many connections one process can proxy.
func mostConnections() int {
	var limit unix.Rlimit
	if unix.Getrlimit(unix.RLIMIT_NOFILE, &limit) != nil {
		return 10_000
	}
	return min(10_000, max(1, (int(limit.Cur)-spareFiles)/2))
}
