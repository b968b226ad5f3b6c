//go:build unix && !linux

package process

import (
	"os/exec"
	"syscall"
)

// childAttributes puts a child into a process group of its own, so that a Ctrl-C in the terminal reaches only us. There
// is no parent-death signal outside Linux: after a SIGKILL of this process its children live on.
func childAttributes() *syscall.SysProcAttr { return &syscall.SysProcAttr{Setpgid: true} }

// wait returns when the child has exited and what it left behind in its process group has been killed.
func wait(cmd *exec.Cmd) error {
	err := cmd.Wait()
	killGroup(cmd.Process.Pid, syscall.SIGKILL)
	return err
}

func killGroup(pid int, signal syscall.Signal) { _ = syscall.Kill(-pid, signal) }
