// Package redisd runs a Redis for the demo: the real redis-server where it is installed, else a small server in this
// process that speaks Redis's protocol. Either way the key "whoami" tells a client which one it has reached.
package redisd

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"syscall"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/hashicorp/go-hclog"

	"argosy/demo/resp"
)

// Marker is the key that holds the server's name.
const Marker = "whoami"

// Options say what to run.
type Options struct {
	Name    string // value of the marker
	Address string // host:port to listen on
	Server  string // redis-server's path; empty: the server in this process
}

// Find returns the path of redis-server, or nothing where it is not installed.
func Find() string {
	path, err := exec.LookPath("redis-server")
	if err != nil {
		return ""
	}
	return path
}

// Run serves until ctx ends and returns nil then.
func Run(ctx context.Context, o Options, log hclog.Logger) error {
	if o.Server == "" {
		return runOwn(ctx, o, log)
	}
	return runReal(ctx, o, log)
}

func runOwn(ctx context.Context, o Options, log hclog.Logger) error {
	m := miniredis.NewMiniRedis()
	if err := m.StartAddr(o.Address); err != nil {
		return fmt.Errorf("start %s: %w", o.Name, err)
	}
	defer m.Close()
	m.ClockTTL(true) // keys do expire
	if err := m.Set(Marker, o.Name); err != nil {
		return fmt.Errorf("start %s: %w", o.Name, err)
	}
	log.Info("redis is up", "name", o.Name, "address", o.Address, "server", "built in")
	<-ctx.Done()
	return nil
}

func runReal(ctx context.Context, o Options, log hclog.Logger) error {
	host, port, err := net.SplitHostPort(o.Address)
	if err != nil {
		return fmt.Errorf("start %s: %w", o.Name, err)
	}
	// It keeps everything in memory: nothing is ever written to the working directory.
	cmd := exec.Command(o.Server, "--bind", host, "--port", port, "--save", "", "--appendonly", "no", "--daemonize", "no",
		"--loglevel", "warning")
	cmd.Stdout, cmd.Stderr = os.Stderr, os.Stderr
	cmd.SysProcAttr = dieWithParent()
	ended := make(chan error, 1)
	if err := startPinned(cmd, ended); err != nil {
		return fmt.Errorf("start %s: %w", o.Name, err)
	}
	stop := func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		select {
		case <-ended:
		case <-time.After(3 * time.Second):
			_ = cmd.Process.Kill()
			<-ended
		}
	}
	if err := mark(ctx, o, ended); err != nil {
		if !errors.Is(err, errEnded) {
			stop()
		}
		if ctx.Err() != nil {
			return nil
		}
		return fmt.Errorf("start %s: %w", o.Name, err)
	}
	log.Info("redis is up", "name", o.Name, "address", o.Address, "server", o.Server)
	select {
	case <-ctx.Done():
		stop()
		return nil
	case err := <-ended:
		select {
		case <-ctx.Done(): // a signal to the whole process group may reach the server before us
			return nil
		case <-time.After(200 * time.Millisecond):
		}
		return fmt.Errorf("%s ended by itself: %v", o.Server, err)
	}
}

var errEnded = errors.New("the server ended by itself")

// mark sets the marker as soon as the server answers.
func mark(ctx context.Context, o Options, ended <-chan error) error {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	for {
		err := set(ctx, o)
		if err == nil {
			return nil
		}
		select {
		case why := <-ended:
			return fmt.Errorf("%w: %v", errEnded, why)
		case <-ctx.Done():
			return fmt.Errorf("it does not answer: %w", err)
		case <-time.After(20 * time.Millisecond):
		}
	}
}

func set(ctx context.Context, o Options) error {
	var d net.Dialer
	conn, err := d.DialContext(ctx, "tcp", o.Address)
	if err != nil {
		return err
	}
	c := resp.NewConn(conn)
	defer c.Close()
	_, _, err = c.Do(time.Second, "SET", Marker, o.Name)
	return err
}
