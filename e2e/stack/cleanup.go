package stack

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sort"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// sweep kills what carries the stack's mark and is still there: a Nomad that was killed leaves its tasks, and the two
// helper processes of each, behind.
func sweep(dir string) error {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	mark := []byte(marker + "=" + dir + "\x00")
	return Eventually(ctx, 20*time.Millisecond, func(context.Context) error {
		pids := marked(mark)
		for _, pid := range pids {
			syscall.Kill(pid, syscall.SIGKILL)
		}
		if len(pids) > 0 {
			return fmt.Errorf("sweep: processes %v do not end", pids)
		}
		return nil
	})
}

// marked lists the processes whose environment holds the mark. Those of other users cannot be read and are not ours.
func marked(mark []byte) []int {
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return nil
	}
	var pids []int
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil || pid == os.Getpid() {
			continue
		}
		env, err := os.ReadFile(filepath.Join("/proc", e.Name(), "environ"))
		if err == nil && bytes.Contains(append(env, 0), mark) {
			pids = append(pids, pid)
		}
	}
	return pids
}

// unmount takes away the file systems that Nomad mounted into its allocations, the innermost first.
func unmount(dir string) error {
	b, err := os.ReadFile("/proc/mounts")
	if err != nil {
		return nil // no Linux: Nomad mounts nothing
	}
	var points []string
	for line := range strings.Lines(string(b)) {
		f := strings.Fields(line)
		if len(f) > 1 && strings.HasPrefix(f[1], dir+"/") {
			points = append(points, f[1])
		}
	}
	sort.Sort(sort.Reverse(sort.StringSlice(points)))
	var errs []error
	for _, p := range points {
		if err := unmountPoint(p); err != nil {
			errs = append(errs, fmt.Errorf("unmount %s: %w", p, err))
		}
	}
	return errors.Join(errs...)
}

// removeCgroups removes the empty groups that a killed Nomad leaves for its tasks. They do no harm, so that what cannot
// be removed stays.
func removeCgroups(dir string) {
	allocs, _ := filepath.Glob(filepath.Join(dir, "nomad", "alloc", "*-*-*-*-*"))
	for _, a := range allocs {
		for _, pattern := range []string{"/sys/fs/cgroup/*/nomad/", "/sys/fs/cgroup/nomad.slice/*/"} {
			groups, _ := filepath.Glob(pattern + filepath.Base(a) + ".*")
			for _, g := range groups {
				os.Remove(g)
			}
		}
	}
}
