//go:build !linux

package listen

func gone(fd uintptr) bool { return ended(fd) }
