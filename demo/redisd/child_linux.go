package redisd

import (
	"os/exec"
	"runtime"
	"syscall"
)

// dieWithParent has the kernel end redis-server when this process dies without having stopped it.
func dieWithParent() *syscall.SysProcAttr { return &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL} }

// startPinned starts cmd from a thread that stays until cmd has ended: the parent-death signal belongs to the thread.
func startPinned(cmd *exec.Cmd, ended chan<- error) error {
	started := make(chan error, 1)
	go func() {
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		err := cmd.Start()
		started <- err
		if err == nil {
			ended <- cmd.Wait()
		}
	}()
	return <-started
}
