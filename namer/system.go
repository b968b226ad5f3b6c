package namer

import (
	"context"
	"fmt"
	"strconv"

	"argosy/dtab"
	"argosy/namer/inet"
)

// SystemPrefix is where the system namer is mounted, behind all others.
const SystemPrefix = "$"

// UnknownClassError says that a name below /$/ asks for a namer that does not exist.
type UnknownClassError struct{ Path dtab.Path }

func (e *UnknownClassError) Error() string {
	return fmt.Sprintf("Unknown namer: %s for path: %s", dtab.Path{e.Path[1]}.String()[1:], e.Path)
}

// System is the namer of /$/: /$/inet/host/port and /$/inet/port (loopback), the same as fixedinet, /$/fail, /$/nil, and
// the utility namers /$/io.buoyant.*. Every other class is an error.
type System struct{ Resolver inet.Resolver }

var _ Constant = System{}

// Split takes host and port, or port, as the key of inet and rinet, the class as that of fail and nil, and the whole name
// where it is rewritten.
func (s System) Split(name dtab.Path) (key, residual dtab.Path, ok bool) {
	if len(name) == 0 {
		return nil, nil, false
	}
	n := len(name)
	switch name[0] {
	case "inet", "fixedinet":
		if len(name) > 2 && isInteger(name[2]) {
			n = 3
		} else if len(name) > 1 && isInteger(name[1]) {
			n = 2
		}
	case classRinet:
		n = min(n, 3)
	case "fail", "nil":
		n = 1
	}
	return name[:n], name[n:], true
}

// isInteger reports whether s is what is taken for a port, also if there can be no such port.
func isInteger(s string) bool {
	_, err := strconv.ParseInt(s, 10, 32)
	return err == nil
}

// Constant answers all but DNS names.
func (s System) Constant(prefix, name dtab.Path) (Answer, bool) {
	key, residual, ok := s.Split(name)
	if !ok {
		return NoAnswer(), true
	}
	a, ok := s.Peek(prefix, key)
	if ok && a.Tree.Kind == dtab.Leaf && a.Tree.Leaf.Bound != nil {
		a.Tree.Leaf.Bound.Residual = residual.Concat()
	}
	return a, ok
}

// Peek answers all but DNS names.
func (s System) Peek(prefix, key dtab.Path) (Answer, bool) {
	switch key[0] {
	case "fail":
		return Answer{Status: OK, Tree: dtab.Tree[Leaf]{Kind: dtab.Fail}}, true
	case "nil":
		return Answer{Status: OK, Tree: dtab.Tree[Leaf]{Kind: dtab.Empty}}, true
	}
	if a, ok := utilityAnswer(prefix, key); ok {
		return a, true
	}
	target, ok := inetTarget(key)
	if !ok {
		return notInet(prefix, key), true
	}
	if addr, ok := FixedTargets([]Target{target}); ok {
		return BoundAnswer(prefix.Concat(key), addr), true
	}
	return Answer{}, false
}

// Watch publishes what Peek says, or the addresses of a DNS name.
func (s System) Watch(ctx context.Context, prefix, key dtab.Path, publish func(Answer)) {
	if a, ok := s.Peek(prefix, key); ok {
		if ctx.Err() == nil {
			publish(a)
		}
		<-ctx.Done()
		return
	}
	target, _ := inetTarget(key)
	id := prefix.Concat(key)
	publish(BoundAnswer(id, Addr{Status: Pending}))
	WatchTargets(ctx, s.Resolver, []Target{target}, func(a Addr) { publish(BoundAnswer(id, a)) })
}

// inetTarget reads the whole key of inet, fixedinet or rinet.
func inetTarget(key dtab.Path) (Target, bool) {
	t := Target{Host: "localhost", Weight: 1}
	port := ""
	switch {
	case key[0] == classRinet && len(key) == 3:
		port, t.Host = key[1], key[2]
	case key[0] != "inet" && key[0] != "fixedinet":
	case len(key) == 2:
		port = key[1]
	case len(key) == 3:
		t.Host, port = key[1], key[2]
	}
	var ok bool
	t.Port, ok = inet.ParsePort(port)
	return t, ok
}

// notInet is the answer for what is no inet, fixedinet or rinet that can be used. With a number that is no port it is a
// concrete name all the same, whose addresses cannot be had.
func notInet(prefix, key dtab.Path) Answer {
	id := prefix.Concat(key)
	port := key[len(key)-1]
	switch {
	case key[0] == classRinet && len(key) < 3:
		return NoAnswer()
	case key[0] == classRinet:
		port = key[1]
	case (key[0] == "inet" || key[0] == "fixedinet") && (len(key) == 2 || len(key) == 3) && isInteger(port):
	default:
		return Answer{Status: Failed, Err: &UnknownClassError{Path: id}}
	}
	return BoundAnswer(id, Addr{Status: Failed, Err: fmt.Errorf("resolve %s: %q is not a port", id, port)})
}

// BoundAnswer is the answer of one concrete name.
func BoundAnswer(id dtab.Path, addr Addr) Answer {
	return Answer{Status: OK, Tree: dtab.LeafOf(Leaf{Bound: &Bound{ID: id, Addr: addr}})}
}

// NoAnswer is the answer for a name that is nothing.
func NoAnswer() Answer { return Answer{Status: OK} }
