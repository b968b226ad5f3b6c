// Package usage reads from /proc what processes use.
package usage

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"
)

// The kernel counts a process's time in hundredths of a second on every Linux that Go runs on.
const tick = 10 * time.Millisecond

// Usage is what a process, or a group of them, has used.
type Usage struct {
	CPU    time.Duration // user and system, so far
	Memory float64       // resident, KiB; pages that processes share count for each
	Files  int           // open descriptors
}

// Process looks at one process.
func Process(pid int) (u Usage, err error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return u, fmt.Errorf("read the CPU time: %w", err)
	}
	s, err := parseStat(text)
	if err != nil {
		return u, err
	}
	u.CPU = s.cpu
	if u.Memory, err = resident(pid); err != nil {
		return u, err
	}
	files, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", pid))
	if err != nil {
		return u, fmt.Errorf("read the open files: %w", err)
	}
	u.Files = len(files)
	return u, nil
}

// Group adds up the processes of a group: workers and children stay in that of their first process. One that ends
// meanwhile takes its CPU time along, so a group is to be looked at while its processes live.
func Group(group int) (total Usage, err error) {
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return total, fmt.Errorf("read the processes: %w", err)
	}
	found := false
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil {
			continue
		}
		text, err := os.ReadFile("/proc/" + e.Name() + "/stat")
		if err != nil {
			continue // it has ended
		}
		s, err := parseStat(text)
		if err != nil {
			return total, err
		}
		if s.group != group {
			continue
		}
		u, err := Process(pid)
		if err != nil {
			continue // likewise
		}
		found = true
		total.CPU += u.CPU
		total.Memory += u.Memory
		total.Files += u.Files
	}
	if !found {
		return total, errors.New("read the CPU time: the process has ended")
	}
	return total, nil
}

type stat struct {
	group int
	cpu   time.Duration
}

// parseStat reads /proc/PID/stat.
func parseStat(text []byte) (s stat, err error) {
	// The name, in parentheses, may have anything in it; the group is the third field after it, utime and stime the 12th
	// and 13th.
	fields := strings.Fields(string(text[bytes.LastIndexByte(text, ')')+1:]))
	if len(fields) < 13 {
		return s, errors.New("read the CPU time: /proc has another form than expected")
	}
	group, err1 := strconv.Atoi(fields[2])
	user, err2 := strconv.ParseInt(fields[11], 10, 64)
	system, err3 := strconv.ParseInt(fields[12], 10, 64)
	if err := errors.Join(err1, err2, err3); err != nil {
		return s, fmt.Errorf("read the CPU time: %w", err)
	}
	return stat{group: group, cpu: time.Duration(user+system) * tick}, nil
}

// resident is the memory of a process in KiB.
func resident(pid int) (float64, error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0, fmt.Errorf("read the memory: %w", err)
	}
	for line := range strings.Lines(string(text)) {
		if rest, ok := strings.CutPrefix(line, "VmRSS:"); ok {
			return strconv.ParseFloat(strings.TrimSpace(strings.TrimSuffix(strings.TrimSpace(rest), "kB")), 64)
		}
	}
	return 0, errors.New("read the memory: the process has ended")
}
