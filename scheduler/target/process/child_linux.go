package process

import (
	"os/exec"
	"syscall"

	"golang.org/x/sys/unix"
)

// childAttributes puts a child into a process group of its own, so that a Ctrl-C in the terminal reaches only us, and
// has the kernel kill it when we die without having stopped it.
func childAttributes() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
}

// wait returns when the child has exited and what it left behind in its process group has been killed.
func wait(cmd *exec.Cmd) error {
	for {
		// Not reaped yet, the child keeps the group's number from being given to anybody else.
		if err := unix.Waitid(unix.P_PID, cmd.Process.Pid, nil, unix.WEXITED|unix.WNOWAIT, nil); err != unix.EINTR {
			break
		}
	}
	killGroup(cmd.Process.Pid, syscall.SIGKILL)
	return cmd.Wait()
}

func killGroup(pid int, signal syscall.Signal) { _ = syscall.Kill(-pid, signal) }
