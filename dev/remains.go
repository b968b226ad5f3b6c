package dev

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"

	"argosy/scheduler/target/process"
)

// trail remembers every port that has been in use, to check afterwards that nothing is left.
type trail struct {
	mu    sync.Mutex
	ports map[int]string
}

func newTrail() *trail { return &trail{ports: map[int]string{}} }

func (t *trail) add(group string, instances []process.Instance) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, i := range instances {
		for label, port := range i.Ports {
			t.ports[port] = group + " " + label
		}
	}
}

// Remains lists what Stop has left behind; it is to be called after Stop and is then expected to be empty: processes
// that have to do with the scratch folder, which all of ours do, ports that something still listens on, and the folder
// itself.
func (e *Env) Remains() []string {
	e.trail.mu.Lock()
	defer e.trail.mu.Unlock()
	var left []string
	left = append(left, ProcessesIn(e.dir)...)
	addresses := map[string]string{}
	if e.namerd != "" {
		addresses[e.namerd] = namerdGroup
	}
	for name, a := range e.addresses {
		addresses[a] = name
	}
	for port, whose := range e.trail.ports {
		addresses[net.JoinHostPort("127.0.0.1", strconv.Itoa(port))] = whose
	}
	for address, whose := range addresses {
		l, err := net.Listen("tcp", address)
		if err != nil {
			left = append(left, fmt.Sprintf("port of %s: %v", whose, err))
			continue
		}
		l.Close()
	}
	if _, err := os.Stat(e.dir); err == nil {
		left = append(left, "folder "+e.dir)
	}
	slices.Sort(left)
	return slices.Compact(left)
}

// ProcessesIn lists the processes, but this one, that work in a folder or name it in their command line; it finds none
// where there is no /proc.
func ProcessesIn(dir string) []string {
	var found []string
	lines, _ := filepath.Glob("/proc/[0-9]*/cmdline")
	for _, path := range lines {
		pid := filepath.Base(filepath.Dir(path))
		if pid == strconv.Itoa(os.Getpid()) {
			continue
		}
		line, _ := os.ReadFile(path)
		cwd, _ := os.Readlink(filepath.Join(filepath.Dir(path), "cwd"))
		if strings.Contains(string(line), dir) || strings.HasPrefix(cwd, dir) {
			found = append(found, fmt.Sprintf("process %s: %s", pid, strings.TrimSpace(strings.ReplaceAll(string(line), "\x00", " "))))
		}
	}
	return found
}
