//go:build !linux

package socket

// FastOpenConnect does nothing: connections are opened as usual.
func FastOpenConnect(int) error { return nil }
