package namer

import (
	"fmt"
	"slices"
	"strings"

	"argosy/dtab"
)

// utilityPrefix starts the classes of Linkerd's utility namers, which are named as its Java classes are.
const utilityPrefix = "io.buoyant."

// classRinet is /$/inet with the port first. It alone of the utility namers is the end of a name.
const classRinet = utilityPrefix + "rinet"

// utilities are the rewriting namers below /$/, by class. Each makes another path of the one below its class; not ok: the
// name is nothing.
var utilities = map[string]func(dtab.Path) (rewritten dtab.Path, ok bool){
	utilityPrefix + "hostportPfx":          func(p dtab.Path) (dtab.Path, bool) { return splitPort(p, false) },
	utilityPrefix + "porthostPfx":          func(p dtab.Path) (dtab.Path, bool) { return splitPort(p, true) },
	utilityPrefix + "http.anyMethod":       func(p dtab.Path) (dtab.Path, bool) { return without(p, 0, isMethod) },
	utilityPrefix + "http.anyMethodPfx":    func(p dtab.Path) (dtab.Path, bool) { return without(p, 1, isMethod) },
	utilityPrefix + "http.anyHost":         func(p dtab.Path) (dtab.Path, bool) { return without(p, 0, isHost) },
	utilityPrefix + "http.anyHostPfx":      func(p dtab.Path) (dtab.Path, bool) { return without(p, 1, isHost) },
	utilityPrefix + "http.subdomainOf":     func(p dtab.Path) (dtab.Path, bool) { return subdomain(p, 0) },
	utilityPrefix + "http.subdomainOfPfx":  func(p dtab.Path) (dtab.Path, bool) { return subdomain(p, 1) },
	utilityPrefix + "http.domainToPath":    func(p dtab.Path) (dtab.Path, bool) { return domainToPath(p, 0) },
	utilityPrefix + "http.domainToPathPfx": func(p dtab.Path) (dtab.Path, bool) { return domainToPath(p, 1) },
}

// utilityAnswer is the answer of a rewriting utility namer for name, whose first element is the class.
func utilityAnswer(prefix, name dtab.Path) (Answer, bool) {
	rewrite, ok := utilities[name[0]]
	if !ok {
		return Answer{}, false
	}
	path, ok := rewrite(name[1:])
	return RewriteAnswer(prefix.Concat(name), path, ok), true
}

// RewriteAnswer is the answer of a rewriting namer that makes another path of name; not ok: name is nothing.
func RewriteAnswer(name, path dtab.Path, ok bool) Answer {
	switch {
	case !ok:
		return NoAnswer()
	case slices.Contains(path, ""):
		return Answer{Status: Failed, Err: fmt.Errorf("rewrite %s: the new path would have an empty element", name)}
	}
	return Answer{Status: OK, Tree: dtab.LeafOf(Leaf{Path: path})}
}

// replaced is path with the elements from i to j replaced.
func replaced(path dtab.Path, i, j int, by ...string) dtab.Path {
	return path[:i].Concat(by, path[j:])
}

// splitPort makes P/host:port/rest of three elements where there are two.
func splitPort(path dtab.Path, portFirst bool) (dtab.Path, bool) {
	if len(path) < 2 {
		return nil, false
	}
	parts := splitAsJava(path[1], ":")
	if len(parts) != 2 || !isPortLabel(parts[1]) {
		return nil, false
	}
	if portFirst {
		slices.Reverse(parts)
	}
	return replaced(path, 1, 2, parts...), true
}

// without drops the element at i if it is what is asked for.
func without(path dtab.Path, i int, is func(string) bool) (dtab.Path, bool) {
	if len(path) <= i || !is(path[i]) {
		return nil, false
	}
	return replaced(path, i, i+1), true
}

// subdomain makes P/sub/rest of domain/P/sub.domain:port/rest, where P is so many elements.
func subdomain(path dtab.Path, between int) (dtab.Path, bool) {
	at := 1 + between
	if len(path) <= at || !isHost(path[0]) || !isHost(path[at]) {
		return nil, false
	}
	host := path[at]
	if i := strings.IndexByte(host, ':'); i > 0 {
		host = host[:i]
	}
	sub, ok := strings.CutSuffix(host, "."+path[0])
	if !ok || sub == "" {
		return nil, false
	}
	return replaced(path[1:], between, between+1, sub), true
}

// domainToPath turns the host at i around: a.b.c becomes c/b/a.
func domainToPath(path dtab.Path, i int) (dtab.Path, bool) {
	if len(path) <= i || !isHost(path[i]) {
		return nil, false
	}
	labels := splitAsJava(path[i], ".")
	slices.Reverse(labels)
	return replaced(path, i, i+1, labels...), true
}

// splitAsJava is String.split: empty parts at the end vanish.
func splitAsJava(s, separator string) []string {
	parts := strings.Split(s, separator)
	for len(parts) > 0 && parts[len(parts)-1] == "" {
		parts = parts[:len(parts)-1]
	}
	return parts
}

func isMethod(s string) bool {
	return s != "" && strings.Trim(s, "ABCDEFGHIJKLMNOPQRSTUVWXYZ") == ""
}

// isHost is true for names of hosts and addresses of both kinds, and for some that are neither.
func isHost(s string) bool {
	return s != "" && !strings.ContainsFunc(s, func(r rune) bool { return !letterOrDigit(r, true) && !strings.ContainsRune(".:_-", r) })
}

// isPortLabel is true for a port that is a number or the name of a service: a label in lower case.
func isPortLabel(s string) bool {
	return s != "" && len(s) <= 63 && s[0] != '-' &&
		!strings.ContainsFunc(s, func(r rune) bool { return !letterOrDigit(r, false) && r != '-' })
}

func letterOrDigit(r rune, upper bool) bool {
	return 'a' <= r && r <= 'z' || '0' <= r && r <= '9' || upper && 'A' <= r && r <= 'Z'
}
