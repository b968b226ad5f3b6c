package stack

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"sync"
	"syscall"
)

// Each stack has a block of ports to itself, all below the range from which the system takes the ports of outgoing
// connections (32768 and up on Linux). The first ones of a block are for servers and tests, the rest for Nomad's tasks.
const (
	firstPort  = 20000
	portsEach  = 400
	portsOwn   = 100
	portBlocks = 31
)

// portLocks is the folder of the files by which the processes of one machine agree on blocks. It is the same for all
// of them, whatever their TMPDIR.
const portLocks = "/tmp/argosy-ports"

// ports is a block that is reserved until release is called or the process ends.
type ports struct {
	base int
	file *os.File

	mu   sync.Mutex
	next int
}

// reservePorts takes a block that no other process has reserved and on which nothing listens. It begins to look anywhere,
// so that what still knocks at the ports of an earlier stack does not find the next one there.
func reservePorts(dir string) (*ports, error) {
	if err := os.MkdirAll(dir, 0o777); err != nil {
		return nil, fmt.Errorf("reserve ports: %w", err)
	}
	os.Chmod(dir, 0o777|os.ModeSticky) // for other users of the machine; fails for all but the folder's owner
	start := rand.IntN(portBlocks)
	for n := range portBlocks {
		i := (start + n) % portBlocks
		path := filepath.Join(dir, fmt.Sprintf("%d.lock", firstPort+i*portsEach))
		f, err := os.Open(path) // to lock it, reading is enough, which works with another user's file, too
		if err != nil {
			if f, err = os.OpenFile(path, os.O_CREATE|os.O_RDONLY, 0o644); err != nil {
				continue
			}
		}
		if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
			f.Close()
			continue
		}
		p := &ports{base: firstPort + i*portsEach, file: f}
		if p.free() {
			return p, nil
		}
		f.Close()
	}
	return nil, errors.New("reserve ports: all blocks from 20000 to 32399 are in use")
}

// free tries every port of the block, since the leftovers of a process that was killed may still listen on one.
func (p *ports) free() bool {
	for port := p.base; port < p.base+portsEach; port++ {
		l, err := net.Listen("tcp4", fmt.Sprintf("127.0.0.1:%d", port))
		if err != nil {
			return false
		}
		l.Close()
	}
	return true
}

func (p *ports) take() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.next == portsOwn {
		panic("stack: more than 100 ports asked for")
	}
	p.next++
	return p.base + p.next - 1
}

// dynamic is the part of the block for Nomad's tasks, both ends included.
func (p *ports) dynamic() (first, last int) { return p.base + portsOwn, p.base + portsEach - 1 }

func (p *ports) release() { p.file.Close() }
