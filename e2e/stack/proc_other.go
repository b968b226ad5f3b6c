//go:build !linux

package stack

import "syscall"

// processAttributes puts a process into a group of its own. Only Linux can tie its life to its parent's.
func processAttributes(syscall.Signal) *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true}
}

func unmountPoint(string) error { return nil }

func loopbackInterface() string { return "lo0" }
