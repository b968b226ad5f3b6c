//go:build !linux

package stack

func unmountPoint(string) error { return nil }

func loopbackInterface() string { return "lo0" }
