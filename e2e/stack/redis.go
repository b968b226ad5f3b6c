package stack

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os/exec"
	"strconv"
	"time"
)

// Redis is a Redis server: redis-server where that is installed, else the stand-in of the demo, which speaks enough of
// the protocol.
type Redis struct {
	Name string
	Addr string
	*Proc
}

// RedisCommand returns the program and arguments of a Redis server on a loopback port. Where redis-server is not installed
// it builds argosy, which has the stand-in.
func RedisCommand(ctx context.Context, name string, port int) (program string, args []string, err error) {
	if path, err := exec.LookPath("redis-server"); err == nil {
		return path, []string{"--port", strconv.Itoa(port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"}, nil
	}
	path, err := Build(ctx, "./cmd/argosy")
	return path, []string{"demo-child", "redis", "-name", name, "-address", fmt.Sprintf("127.0.0.1:%d", port)}, err
}

// StartRedis starts a Redis server on a port of the stack and waits until it answers. It is not registered anywhere.
func (s *Stack) StartRedis(ctx context.Context, name string) (*Redis, error) {
	port := s.Port()
	program, args, err := RedisCommand(ctx, name, port)
	if err != nil {
		return nil, fmt.Errorf("redis: %w", err)
	}
	proc, err := s.Go(name, program, args)
	if err != nil {
		return nil, err
	}
	r := &Redis{Name: name, Addr: fmt.Sprintf("127.0.0.1:%d", port), Proc: proc}
	ctx, cancel := context.WithTimeout(ctx, 15*time.Second)
	defer cancel()
	err = Eventually(ctx, 20*time.Millisecond, func(ctx context.Context) error {
		if err := proc.alive(); err != nil {
			cancel()
			return err
		}
		return ping(ctx, r.Addr)
	})
	if err != nil {
		return nil, fmt.Errorf("redis %s: %w", name, err)
	}
	return r, nil
}

func ping(ctx context.Context, addr string) error {
	var d net.Dialer
	c, err := d.DialContext(ctx, "tcp", addr)
	if err != nil {
		return err
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(time.Second))
	if _, err := c.Write([]byte("*1\r\n$4\r\nPING\r\n")); err != nil {
		return err
	}
	var b [7]byte
	if n, err := c.Read(b[:]); err != nil || string(b[:n]) != "+PONG\r\n" {
		return errors.New("no PONG")
	}
	return nil
}
