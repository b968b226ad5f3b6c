package main

import (
	"fmt"
	"os"
	"strings"
	"syscall"
	"time"

	"argosy/bench/usage"
)

// cpu is the time that a process has used so far, in user mode and in the kernel.
func cpu(pid int) (time.Duration, error) {
	u, err := usage.Process(pid)
	return u.CPU, err
}

// memory is the resident memory of a process, in MiB.
func memory(pid int) (float64, error) {
	u, err := usage.Process(pid)
	return u.Memory / 1024, err
}

// load is the machine's load of the last minute, or nothing.
func load() string {
	text, err := os.ReadFile("/proc/loadavg")
	if err != nil {
		return ""
	}
	first, _, _ := strings.Cut(string(text), " ")
	return first
}

// needDescriptors is an error when a process of ours may not open so many files. What we start inherits the limit.
func needDescriptors(n int, what string) error {
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		return fmt.Errorf("read the limit of open files: %w", err)
	}
	// Go has raised the limit as far as it may be raised.
	if limit.Cur < uint64(n) {
		return fmt.Errorf("%s need %d open files in one process, and %d are allowed: raise the hard limit (ulimit -Hn), or ask for fewer with -%s",
			what, n, limit.Cur, what)
	}
	return nil
}
