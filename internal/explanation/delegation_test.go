package explanation

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"argosy/dtab"
	"argosy/namerd/wire"
)

// What is taken of a delegation that a Namerd has told, by Finagle's rules.
func TestOfDelegation(t *testing.T) {
	neg := wire.Node{Type: "neg", Path: "/n"}
	fail := wire.Node{Type: "fail", Path: "!"}
	broken := wire.Node{Type: "exception", Path: "/e", Message: "no"}
	good := wire.Node{Type: "leaf", Path: "/l", Bound: &wire.Bound{ID: "/l", Path: "/"}}
	alt := func(nodes ...wire.Node) wire.Node { return wire.Node{Type: "alt", Path: "/a", Alt: nodes} }
	union := func(weight wire.Double, nodes ...wire.Node) wire.Node {
		n := wire.Node{Type: "union", Path: "/u"}
		for _, c := range nodes {
			n.Union = append(n.Union, wire.Branch{Weight: weight, Tree: c})
		}
		return n
	}
	for want, n := range map[string]wire.Node{
		"alt 1 [neg - leaf 1 leaf -]":                                 alt(neg, good, good),
		"alt 1 [fail 1 leaf -]":                                       alt(fail, good),
		"alt 1 [exception 1 leaf -]":                                  alt(broken, good),
		"union 1 [leaf 0.5 leaf 0.5]":                                 union(3, good, good),
		"union 1 [leaf 0.5 leaf 0.5 neg -]":                           union(0, good, good, neg),
		"union 1 [exception - leaf 1]":                                union(0, broken, good),
		"alt 1 [union - [neg - neg -] leaf 1]":                        alt(union(1, neg, neg), good),
		"alt 1 [union - [neg - fail - exception -] leaf 1]":           alt(union(1, neg, fail, broken), good),
		"alt 1 [union 1 [fail - exception -] leaf -]":                 alt(union(1, fail, broken), good),
		"alt 1 [union 1 [exception 0.5 exception 0.5] leaf -]":        alt(union(1, broken, broken), good),
		"alt 1 [union 1 [leaf 1 neg -] leaf -]":                       alt(union(1, good, neg), good),
		"alt 1 [union - [neg - exception -] union 1 [leaf 1] leaf -]": alt(union(1, neg, broken), union(1, good), good),
	} {
		if got := showTaken(OfDelegation("default", "/a", &n, dtab.Dtab{}, nil, time.Time{}).Tree); got != want {
			t.Errorf("got %s, want %s", got, want)
		}
	}
}

func showTaken(s Step) string {
	text := s.Kind + " -"
	if s.Taken {
		text = fmt.Sprint(s.Kind, " ", s.Share)
	}
	var steps []string
	for _, c := range s.Steps {
		steps = append(steps, showTaken(c))
	}
	if len(steps) > 0 {
		text += " [" + strings.Join(steps, " ") + "]"
	}
	return text
}
