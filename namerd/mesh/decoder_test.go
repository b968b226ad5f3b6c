package mesh

import (
	"errors"
	"fmt"
	"math"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"google.golang.org/protobuf/encoding/protowire"

	"argosy/dtab"
)

// This file reads answers as Linkerd's own decoder does, from the bytes, without the generated code: an absent scalar is
// missing and not zero, a field that is not known derails the reading, and so does a second field of a oneof.

// shape is what a message may have in it.
type shape map[protowire.Number]field

type field struct {
	name  string
	wire  protowire.Type
	of    *shape // of an embedded message
	many  bool
	oneof bool
}

// message is a message that was read: values by field name, in their order.
type message map[string][]any

func (m message) embedded(name string) (message, bool) {
	if len(m[name]) == 0 {
		return nil, false
	}
	return m[name][0].(message), true
}

func scalar(name string, w protowire.Type) field { return field{name: name, wire: w} }
func one(name string, of *shape) field           { return field{name: name, wire: protowire.BytesType, of: of} }
func many(name string, of *shape) field {
	return field{name: name, wire: protowire.BytesType, of: of, many: true}
}
func choice(name string, of *shape) field {
	return field{name: name, wire: protowire.BytesType, of: of, oneof: true}
}

// read decodes a message.
func read(b []byte, s *shape) (message, error) {
	m := message{}
	chosen := ""
	for len(b) > 0 {
		number, w, n := protowire.ConsumeTag(b)
		if n < 0 {
			return nil, protowire.ParseError(n)
		}
		b = b[n:]
		f, ok := (*s)[number]
		if !ok {
			return nil, fmt.Errorf("field %d is not known: its payload would be taken for a tag", number)
		}
		if w != f.wire {
			return nil, fmt.Errorf("%s has wire type %d, not %d", f.name, w, f.wire)
		}
		if f.oneof {
			if chosen != "" {
				return nil, fmt.Errorf("%s beside %s", f.name, chosen)
			}
			chosen = f.name
		}
		v, rest, err := value(b, f)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", f.name, err)
		}
		b = rest
		if !f.many {
			m[f.name] = nil
		}
		m[f.name] = append(m[f.name], v)
	}
	return m, nil
}

func value(b []byte, f field) (v any, rest []byte, err error) {
	var n int
	switch f.wire {
	case protowire.VarintType:
		v, n = protowire.ConsumeVarint(b)
	case protowire.Fixed64Type:
		v, n = protowire.ConsumeFixed64(b)
	default:
		var body []byte
		body, n = protowire.ConsumeBytes(b)
		v = body
		if n >= 0 && f.of != nil {
			if v, err = read(body, f.of); err != nil {
				return nil, nil, err
			}
		}
	}
	if n < 0 {
		return nil, nil, protowire.ParseError(n)
	}
	return v, b[n:], nil
}

// shapes are the messages of section io.linkerd.mesh, field by field.
type shapes struct{ boundTree, replicas, dtab, delegateTree, readDtab, readPath, text *shape }

func newShapes() shapes {
	none := &shape{}
	elems := field{name: "elems", wire: protowire.BytesType, many: true}
	path := &shape{1: elems}
	weighted := func(tree *shape) *shape {
		return &shape{1: scalar("weight", protowire.Fixed64Type), 2: one("tree", tree)}
	}
	// tree is a tree whose leaves have a shape; the numbers of its nodes begin at first.
	nodes := func(tree *shape, first protowire.Number, leaf *shape) {
		(*tree)[first] = choice("neg", none)
		(*tree)[first+1] = choice("fail", none)
		(*tree)[first+2] = choice("empty", none)
		(*tree)[first+3] = choice("alt", &shape{1: many("trees", tree)})
		(*tree)[first+4] = choice("union", &shape{1: many("trees", weighted(tree))})
		(*tree)[first+5] = choice("leaf", leaf)
	}
	pathTree, boundTree := &shape{}, &shape{}
	nodes(pathTree, 1, &shape{1: one("id", path)})
	bound := &shape{1: one("id", path), 2: one("residual", path)}
	nodes(boundTree, 1, bound)

	elem := &shape{1: {name: "label", wire: protowire.BytesType, oneof: true}, 2: choice("wildcard", none)}
	dentry := &shape{1: one("prefix", &shape{1: many("elems", elem)}), 2: one("dst", pathTree)}
	table := &shape{1: many("dentries", dentry)}

	delegate := &shape{1: one("path", path), 2: one("dentry", dentry)}
	nodes(delegate, 3, bound)
	(*delegate)[9] = choice("delegate", delegate)
	(*delegate)[11] = field{name: "exception", wire: protowire.BytesType, oneof: true}

	entry := &shape{1: scalar("key", protowire.BytesType), 2: scalar("value", protowire.BytesType)}
	endpoint := &shape{
		1: scalar("inet_af", protowire.VarintType), 2: scalar("address", protowire.BytesType), 3: scalar("port", protowire.VarintType),
		4: one("meta", &shape{1: scalar("nodeName", protowire.BytesType)}), 5: many("metadata", entry),
	}
	return shapes{
		boundTree: &shape{1: one("tree", boundTree)},
		replicas: &shape{
			1: choice("pending", none), 2: choice("neg", none), 3: choice("failed", &shape{1: scalar("message", protowire.BytesType)}),
			4: choice("bound", &shape{1: many("endpoints", endpoint), 2: many("metadata", entry)}),
		},
		dtab:         &shape{1: one("dtab", &shape{1: one("version", &shape{1: scalar("id", protowire.BytesType)}), 2: one("dtab", table)})},
		delegateTree: &shape{1: one("tree", delegate)},
		readDtab:     &shape{1: one("dtab", table)},
		readPath:     &shape{1: one("path", path)},
		text:         &shape{1: scalar("text", protowire.BytesType)},
	}
}

// The rest is what Linkerd makes of a message. What it drops is dropped, what it throws at is an error.

func showPath(m message) string {
	p := dtab.Path{}
	for _, e := range m["elems"] {
		p = append(p, string(e.([]byte)))
	}
	return p.String()
}

func showBound(m message) (string, error) {
	id, ok := m.embedded("id")
	residual, also := m.embedded("residual")
	if !ok || !also {
		return "", errors.New("a leaf without id or residual")
	}
	if len(residual["elems"]) == 0 {
		return showPath(id), nil
	}
	return showPath(id) + "+" + showPath(residual), nil
}

func showPathLeaf(m message) (string, error) {
	id, ok := m.embedded("id")
	if !ok {
		return "", errors.New("a leaf without a path")
	}
	return showPath(id), nil
}

// showTree prints a tree; all unions and alternatives have parentheses.
func showTree(m message, leaf func(message) (string, error)) (string, error) {
	if l, ok := m.embedded("leaf"); ok {
		return leaf(l)
	}
	if _, ok := m["neg"]; ok {
		return "~", nil
	}
	if _, ok := m["fail"]; ok {
		return "!", nil
	}
	if _, ok := m["empty"]; ok {
		return "$", nil
	}
	return showBranches(m, func(m message) (string, error) { return showTree(m, leaf) })
}

func showBranches(m message, show func(message) (string, error)) (string, error) {
	var parts []string
	if alt, ok := m.embedded("alt"); ok {
		for _, t := range alt["trees"] {
			text, err := show(t.(message))
			if err != nil {
				return "", err
			}
			parts = append(parts, text)
		}
		return "(" + strings.Join(parts, " | ") + ")", nil
	}
	union, ok := m.embedded("union")
	if !ok {
		return "", errors.New("a node of no kind")
	}
	for _, t := range union["trees"] {
		w := t.(message)
		tree, ok := w.embedded("tree")
		if !ok || len(w["weight"]) == 0 {
			continue // dropped
		}
		text, err := show(tree)
		if err != nil {
			return "", err
		}
		parts = append(parts, fmt.Sprintf("%v*%s", math.Float64frombits(w["weight"][0].(uint64)), text))
	}
	return "(" + strings.Join(parts, " & ") + ")", nil
}

func showDentry(m message) (string, error) {
	prefix, ok := m.embedded("prefix")
	dst, also := m.embedded("dst")
	if !ok || !also {
		return "", errors.New("a dentry without prefix or destination")
	}
	p := dtab.Prefix{}
	for _, e := range prefix["elems"] {
		switch e := e.(message); {
		case len(e["label"]) > 0:
			p = append(p, dtab.Elem{Label: string(e["label"][0].([]byte))})
		case len(e["wildcard"]) > 0:
			p = append(p, dtab.Elem{Wild: true})
		default:
			return "", errors.New("a prefix element of no kind")
		}
	}
	tree, err := showTree(dst, showPathLeaf)
	return p.String() + "=>" + tree, err
}

// showDelegate prints a node of a delegation: path {entry} and what becomes of it.
func showDelegate(m message) (string, error) {
	path, ok := m.embedded("path")
	dentry, also := m.embedded("dentry")
	if !ok || !also {
		return "", errors.New("a node without path or dentry")
	}
	entry, err := showDentry(dentry)
	if err != nil {
		return "", err
	}
	here := showPath(path) + "{" + entry + "} "
	if child, ok := m.embedded("delegate"); ok {
		text, err := showDelegate(child)
		return here + "-> " + text, err
	}
	if e := m["exception"]; len(e) > 0 {
		return here + fmt.Sprintf("%q", e[0]), nil
	}
	var text string
	if _, ok := m["alt"]; ok {
		text, err = showBranches(m, showDelegate)
	} else if _, ok := m["union"]; ok {
		text, err = showBranches(m, showDelegate)
	} else {
		text, err = showTree(m, showBound)
	}
	return here + text, err
}

// showReplicas prints an address set as Linkerd takes it: without endpoints that lack family, address or port.
func showReplicas(m message) (string, error) {
	if _, ok := m["pending"]; ok {
		return "pending", nil
	}
	if f, ok := m.embedded("failed"); ok {
		if len(f["message"]) == 0 {
			return "failed", nil
		}
		return "failed: " + string(f["message"][0].([]byte)), nil
	}
	bound, ok := m.embedded("bound")
	if !ok {
		return "neg", nil
	}
	var all []string
	for _, e := range bound["endpoints"] {
		e := e.(message)
		if len(e["inet_af"]) == 0 || len(e["address"]) == 0 || len(e["port"]) == 0 {
			continue // dropped
		}
		ip, ok := netip.AddrFromSlice(e["address"][0].([]byte))
		if !ok || ip.Is6() != (e["inet_af"][0].(uint64) == 1) {
			return "", fmt.Errorf("address %v of family %v", e["address"][0], e["inet_af"][0])
		}
		meta, ok := e.embedded("meta")
		if !ok {
			return "", errors.New("an endpoint without meta")
		}
		text := netip.AddrPortFrom(ip, uint16(e["port"][0].(uint64))).String()
		if len(meta["nodeName"]) > 0 {
			text += "@" + string(meta["nodeName"][0].([]byte))
		}
		all = append(all, text+showMap(e["metadata"]))
	}
	return "bound " + strings.Join(all, " ") + showMap(bound["metadata"]), nil
}

func showMap(entries []any) string {
	var all []string
	for _, e := range entries {
		e := e.(message)
		if len(e["key"]) == 0 || len(e["value"]) == 0 {
			continue // dropped
		}
		all = append(all, fmt.Sprintf("%s=%s", e["key"][0], e["value"][0]))
	}
	if len(all) == 0 {
		return ""
	}
	slices.Sort(all)
	return "[" + strings.Join(all, " ") + "]"
}

// linkerdReads fails the test unless Linkerd reads b, and takes it for want.
func linkerdReads(t *testing.T, b []byte, s *shape, show func(message) (string, error), want string) {
	t.Helper()
	m, err := read(b, s)
	if err != nil {
		t.Errorf("Linkerd cannot read %x: %v", b, err)
		return
	}
	switch got, err := show(m); {
	case err != nil:
		t.Errorf("Linkerd refuses %v: %v", m, err)
	case got != want:
		t.Errorf("Linkerd takes it for\n    %s\nnot %s", got, want)
	}
}

// inside shows an embedded message.
func inside(name string, show func(message) (string, error)) func(message) (string, error) {
	return func(m message) (string, error) {
		e, ok := m.embedded(name)
		if !ok {
			return "", fmt.Errorf("no %s", name)
		}
		return show(e)
	}
}

func isBoundTree(t *testing.T, b []byte, want string) {
	t.Helper()
	linkerdReads(t, b, newShapes().boundTree, inside("tree", func(m message) (string, error) { return showTree(m, showBound) }), want)
}

func isReplicas(t *testing.T, b []byte, want string) {
	t.Helper()
	linkerdReads(t, b, newShapes().replicas, showReplicas, want)
}

func isDelegateTree(t *testing.T, b []byte, want string) {
	t.Helper()
	linkerdReads(t, b, newShapes().delegateTree, inside("tree", showDelegate), want)
}

func showTable(m message) (string, error) {
	var all []string
	for _, e := range m["dentries"] {
		text, err := showDentry(e.(message))
		if err != nil {
			return "", err
		}
		all = append(all, text)
	}
	return strings.Join(all, ";"), nil
}

// isTable expects "version table".
func isTable(t *testing.T, b []byte, want string) {
	t.Helper()
	linkerdReads(t, b, newShapes().dtab, inside("dtab", func(m message) (string, error) {
		version, ok := m.embedded("version")
		if !ok || len(version["id"]) == 0 {
			return "", errors.New("no version")
		}
		text, err := inside("dtab", showTable)(m)
		return fmt.Sprintf("%x %s", version["id"][0], text), err
	}), want)
}
