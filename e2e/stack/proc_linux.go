package stack

import "syscall"

// processAttributes puts a process into a group of its own, and sends it a signal when its parent dies.
func processAttributes(orphaned syscall.Signal) *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: orphaned}
}

func unmountPoint(path string) error { return syscall.Unmount(path, syscall.MNT_DETACH) }

func loopbackInterface() string { return "lo" }
