package main

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// The kernel counts a process's time in hundredths of a second on every Linux that Go runs on.
const tick = 10 * time.Millisecond

// cpu is the time that a process has used so far, in user mode and in the kernel.
func cpu(pid int) (time.Duration, error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0, fmt.Errorf("read the CPU time: %w", err)
	}
	// The name, in parentheses, may have anything in it; utime and stime are the 12th and 13th field after it.
	i := strings.LastIndexByte(string(text), ')')
	fields := strings.Fields(string(text[i+1:]))
	if i < 0 || len(fields) < 13 {
		return 0, errors.New("read the CPU time: /proc has another form than expected")
	}
	user, err1 := strconv.ParseInt(fields[11], 10, 64)
	system, err2 := strconv.ParseInt(fields[12], 10, 64)
	if err := errors.Join(err1, err2); err != nil {
		return 0, fmt.Errorf("read the CPU time: %w", err)
	}
	return time.Duration(user+system) * tick, nil
}

// memory is the resident memory of a process, in MiB.
func memory(pid int) (float64, error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0, fmt.Errorf("read the memory: %w", err)
	}
	for line := range strings.Lines(string(text)) {
		if rest, ok := strings.CutPrefix(line, "VmRSS:"); ok {
			kb, err := strconv.ParseFloat(strings.TrimSpace(strings.TrimSuffix(strings.TrimSpace(rest), "kB")), 64)
			if err != nil {
				return 0, fmt.Errorf("read the memory: %w", err)
			}
			return kb / 1024, nil
		}
	}
	return 0, errors.New("read the memory: the process has ended")
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
