package process

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"
)

// slot is one place of a group: it runs an instance, and the next one when that crashes, until it is stopped.
type slot struct {
	group    *Group
	index    int
	instance Instance // guarded by group.mu

	stopOnce, cutOnce sync.Once
	stopC, cutC       chan struct{}
}

func newSlot(g *Group, index int) *slot {
	return &slot{group: g, index: index, stopC: make(chan struct{}), cutC: make(chan struct{})}
}

func (s *slot) stop() { s.stopOnce.Do(func() { close(s.stopC) }) }
func (s *slot) cut()  { s.cutOnce.Do(func() { close(s.cutC) }); s.stop() }

func (s *slot) stopping() bool {
	select {
	case <-s.stopC:
		return true
	default:
		return false
	}
}

// run keeps an instance running until stop.
func (s *slot) run() {
	log := s.group.logger.With("instance", s.index)
	delay := time.Duration(0)
	for !s.stopping() {
		began := time.Now()
		err := s.runOnce()
		if s.stopping() {
			return
		}
		if time.Since(began) >= stableAfter {
			delay = 0
		}
		delay = min(max(2*delay, restartMin), restartMax)
		log.Warn("instance ended by itself, starting it again", "error", err, "delay", delay)
		select {
		case <-time.After(delay):
		case <-s.stopC:
		}
	}
}

// runOnce starts one process and returns when it and its process group are gone.
func (s *slot) runOnce() error {
	// The kernel sends the parent-death signal when the thread that started the child ends, so that thread has to stay.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()

	ports, release, err := s.group.takePorts()
	if err != nil {
		return err
	}
	defer s.group.givePortsBack(ports)
	vars := map[string]string{"ARGOSY_INSTANCE": strconv.Itoa(s.index)}
	for label, port := range ports {
		vars[PortVariable(label)] = strconv.Itoa(port)
	}
	cmd := s.command(vars)
	release()
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("starting instance: %w", err)
	}
	pid := cmd.Process.Pid
	s.group.logger.Debug("instance started", "instance", s.index, "pid", pid)
	s.group.setInstance(s, Instance{Index: s.index, Pid: pid, Ports: ports, Started: time.Now()})
	defer s.group.setInstance(s, Instance{})

	ended := make(chan error, 1)
	go func() {
		err := wait(cmd)
		cmd.Stdout.(*lines).end()
		ended <- err
	}()
	select {
	case err := <-ended:
		return exitReason(err)
	case <-s.stopC:
	}
	s.group.tell() // it is not one of the running ones any more
	killGroup(pid, syscall.SIGTERM)
	grace := time.NewTimer(s.group.spec.StopGrace)
	defer grace.Stop()
	select {
	case <-ended:
		return nil
	case <-grace.C:
		s.group.logger.Warn("instance did not end in time, killing it", "instance", s.index, "pid", pid, "grace", s.group.spec.StopGrace)
	case <-s.cutC:
	}
	killGroup(pid, syscall.SIGKILL)
	<-ended
	return nil
}

func (s *slot) command(vars map[string]string) *exec.Cmd {
	spec := s.group.spec
	args := make([]string, len(spec.Command))
	for i, a := range spec.Command {
		args[i] = expand(a, vars)
	}
	cmd := exec.CommandContext(context.Background(), args[0], args[1:]...)
	cmd.Dir = spec.Dir
	cmd.Env = append(os.Environ(), spec.Env...)
	for k, v := range vars {
		cmd.Env = append(cmd.Env, k+"="+v)
	}
	cmd.SysProcAttr = childAttributes()
	// A grandchild in a group of its own may keep the pipe open; the instance is over all the same.
	cmd.WaitDelay = 2 * time.Second
	out := &lines{write: func(line string) {
		if spec.Output != nil {
			spec.Output(s.index, line)
			return
		}
		s.group.logger.Debug(line, "instance", s.index)
	}}
	cmd.Stdout, cmd.Stderr = out, out // the same writer: os/exec then uses one pipe and one goroutine for both
	return cmd
}

func exitReason(err error) error {
	if err == nil {
		return fmt.Errorf("it exited with status 0")
	}
	return err
}

// PortVariable is the environment variable for a port label: ARGOSY_PORT_ADMIN for "admin".
func PortVariable(label string) string {
	return "ARGOSY_PORT_" + strings.Map(func(r rune) rune {
		switch {
		case r >= 'a' && r <= 'z':
			return r - 'a' + 'A'
		case r >= 'A' && r <= 'Z', r >= '0' && r <= '9':
			return r
		}
		return '_'
	}, label)
}

// expand fills ${NAME} for the names in vars and leaves every other text alone.
func expand(s string, vars map[string]string) string {
	for k, v := range vars {
		s = strings.ReplaceAll(s, "${"+k+"}", v)
	}
	return s
}
