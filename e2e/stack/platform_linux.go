package stack

import "syscall"

func unmountPoint(path string) error { return syscall.Unmount(path, syscall.MNT_DETACH) }

func loopbackInterface() string { return "lo" }
