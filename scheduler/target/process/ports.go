package process

import (
	"fmt"
	"net"
)

// takePorts finds a free loopback port for each label that no other instance of the group has been given. The ports are
// bound until release is called; between that and the child's own bind a stranger can take one, in which case the child
// fails and its next start gets others.
func (g *Group) takePorts() (ports map[string]int, release func(), err error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	var held []net.Listener
	release = func() {
		for _, l := range held {
			l.Close()
		}
	}
	ports = make(map[string]int, len(g.spec.Ports))
	for _, label := range g.spec.Ports {
		for ports[label] == 0 {
			l, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				release()
				return nil, nil, fmt.Errorf("finding a free port for %q: %w", label, err)
			}
			held = append(held, l)
			if port := l.Addr().(*net.TCPAddr).Port; !g.ports[port] { // given out, and not bound yet
				ports[label] = port
			}
		}
	}
	for _, port := range ports {
		g.ports[port] = true
	}
	return ports, release, nil
}

func (g *Group) givePortsBack(ports map[string]int) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, port := range ports {
		delete(g.ports, port)
	}
}
