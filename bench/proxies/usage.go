//go:build linux

package proxies

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

// usage is what a process group has used.
type usage struct {
	cpu    time.Duration // user and system
	memory float64       // resident, KiB; pages that processes share count for each
	files  int           // open descriptors
}

// groupUsage adds up the processes of a group: workers and children stay in that of their first process. One that ends
// meanwhile takes its CPU time along, so a group is to be looked at while its processes live.
func groupUsage(group int) (total usage, err error) {
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
		found = true
		total.cpu += s.cpu
		if kb, err := resident(pid); err == nil {
			total.memory += kb
		}
		if files, err := os.ReadDir("/proc/" + e.Name() + "/fd"); err == nil {
			total.files += len(files)
		}
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
