package main

import (
	"context"
	"fmt"
	"net"
	"sync"
	"time"
)

// answerer is a server that says who it is to everybody who connects.
type answerer struct {
	letter   byte
	port     int
	listener net.Listener
	running  sync.WaitGroup
}

func newAnswerer(letter byte) (*answerer, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("listen: %w", err)
	}
	a := &answerer{letter: letter, port: l.Addr().(*net.TCPAddr).Port, listener: l}
	a.running.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			_, _ = c.Write([]byte{letter}) // whoever does not read it asks again
			c.Close()
		}
	})
	return a, nil
}

func (a *answerer) close() {
	a.listener.Close()
	a.running.Wait()
}

// answerOf connects to a loopback port and reads who answers.
func answerOf(ctx context.Context, port int) (byte, error) {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	var d net.Dialer
	c, err := d.DialContext(ctx, "tcp", fmt.Sprintf("127.0.0.1:%d", port))
	if err != nil {
		return 0, err
	}
	defer c.Close()
	if deadline, ok := ctx.Deadline(); ok {
		if err := c.SetDeadline(deadline); err != nil {
			return 0, err
		}
	}
	var b [1]byte
	_, err = c.Read(b[:])
	return b[0], err
}
