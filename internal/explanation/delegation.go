package explanation

import (
	"encoding/json"
	"net"
	"strconv"
	"time"

	"argosy/dtab"
	"argosy/namerd/wire"
)

// OfDelegation makes an explanation of what a Namerd 1.x tells by delegate. It numbers the entries by the table that
// the namespace has now, and works out what is taken by Finagle's rules.
func OfDelegation(ns, name string, n *wire.Node, stored, local dtab.Dtab, at time.Time) *Explanation {
	d := &delegation{index: map[wire.Dentry]int{}, entries: []Entry{}}
	d.number(Stored, stored)
	d.number(Request, local)
	x := &Explanation{Name: name, Namespace: ns, At: at, Total: len(stored) + len(local)}
	x.Tree, _ = d.step(n, nil)
	x.Tree.take(true, 1)
	x.Entries = d.entries
	return x
}

type delegation struct {
	index   map[wire.Dentry]int
	entries []Entry
}

// number notes where entries stand. The same entry twice is the one that counts: the last.
func (d *delegation) number(table string, entries dtab.Dtab) {
	for i, e := range entries {
		key := wire.Dentry{Prefix: e.Prefix.String(), Dst: dtab.TreeString(e.Dst)}
		d.index[key] = len(d.entries)
		d.entries = append(d.entries, Entry{Table: table, Number: i + 1, Prefix: key.Prefix, Dst: key.Dst})
	}
}

func (d *delegation) entry(e *wire.Dentry) *int {
	if e == nil {
		return nil
	}
	i, ok := d.index[*e]
	if !ok { // the table has changed in between
		i = len(d.entries)
		d.index[*e] = i
		d.entries = append(d.entries, Entry{Prefix: e.Prefix, Dst: e.Dst})
	}
	return &i
}

// step makes a step of a node, and says whether it comes to something: neg, fail, or any other kind.
func (d *delegation) step(n *wire.Node, weight *float64) (s Step, comes string) {
	if n == nil {
		return Step{Kind: "neg"}, "neg"
	}
	s = Step{Kind: n.Type, Path: n.Path, Entry: d.entry(n.Dentry), Weight: weight}
	switch n.Type {
	case "delegate":
		return s.under(d.step(n.Delegate, nil))
	case "transformation":
		return s.under(d.step(n.Tree, nil))
	case "alt":
		comes = "neg"
		for i := range n.Alt {
			child, c := d.step(&n.Alt[i], nil)
			switch {
			case comes != "neg":
				child.Why = "not looked at: an alternative before it is used"
			case c == "neg":
				child.Why = "is nothing"
			default:
				comes, child.Taken = c, true
			}
			s.Steps = append(s.Steps, child)
		}
		return s, comes
	case "union":
		return d.union(s, n.Union)
	case "leaf":
		s.Bound = boundOfWire(n.Bound)
	case "exception":
		s.Error = n.Message
	}
	return s, n.Type
}

// union makes the steps of the branches: what is known counts, and only if nothing is, the union fails.
func (d *delegation) union(s Step, branches []wire.Branch) (Step, string) {
	var known, left []string // what branches come to: those that have not failed, and those of them that are something
	for i := range branches {
		w := float64(branches[i].Weight)
		child, c := d.step(&branches[i].Tree, &w)
		switch c {
		case "exception":
			child.Why = "failed: its weight goes to the others"
		case "neg", "fail":
			child.Why = "is nothing: its weight goes to the others"
			known = append(known, c)
		default:
			child.Taken = true
			known, left = append(known, c), append(left, c)
		}
		s.Steps = append(s.Steps, child)
	}
	switch {
	case len(branches) > 0 && len(known) == 0:
		for i := range s.Steps {
			s.Steps[i].Taken, s.Steps[i].Why = true, ""
		}
		return s, "exception"
	case len(known) == 1:
		return s, known[0]
	case len(left) == 0:
		return s, "neg"
	case len(left) == 1:
		return s, left[0]
	}
	return s, "union"
}

// under puts a step's only child below it.
func (s Step) under(child Step, comes string) (Step, string) {
	child.Taken = true
	s.Steps = []Step{child}
	return s, comes
}

// take passes on what is taken, and with which share, from the top down.
func (s *Step) take(taken bool, share float64) {
	s.Taken, s.Share = taken, 0
	if taken {
		s.Share = share
	}
	total, branches := 0.0, 0.0
	for _, c := range s.Steps {
		if c.Taken && c.Weight != nil {
			total += *c.Weight
			branches++
		}
	}
	for i := range s.Steps {
		c := &s.Steps[i]
		part := share
		switch {
		case c.Weight != nil && total > 0:
			part *= *c.Weight / total
		case c.Weight != nil && branches > 0: // all of weight zero share evenly
			part /= branches
		}
		c.take(taken && c.Taken, part)
	}
}

func boundOfWire(b *wire.Bound) *Bound {
	t := &Bound{Status: "pending", Endpoints: []Endpoint{}}
	if b == nil {
		return t
	}
	t.ID = b.ID
	if b.Path != "/" {
		t.Residual = b.Path
	}
	var addr struct {
		Type, Cause string
		Addrs       []struct {
			IP   string
			Port int
			Meta struct {
				Weight *float64 `json:"endpoint_addr_weight"`
			}
		}
	}
	if json.Unmarshal(wire.Encode(b.Addr), &addr) != nil {
		return t
	}
	t.Error, t.Count = addr.Cause, len(addr.Addrs)
	if t.Status = addr.Type; t.Status == "bound" {
		t.Status = "ok"
	}
	for _, a := range addr.Addrs {
		e := Endpoint{Address: net.JoinHostPort(a.IP, strconv.Itoa(a.Port)), Weight: 1}
		if a.Meta.Weight != nil {
			e.Weight = *a.Meta.Weight
		}
		t.Endpoints = append(t.Endpoints, e)
	}
	return t
}
