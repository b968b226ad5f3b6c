package namer_test

import (
	"fmt"
	"math"
	"math/rand/v2"
	"strings"
	"testing"

	"argosy/dtab"
	"argosy/namer"
)

func boundTree(t *testing.T, text string) dtab.Tree[namer.Bound] {
	t.Helper()
	tree, err := dtab.ParseTree(text)
	if err != nil {
		t.Fatal(err)
	}
	return dtab.Map(tree, func(p dtab.Path) namer.Bound { return namer.Bound{ID: p} })
}

func TestShares(t *testing.T) {
	huge := "1" + strings.Repeat("0", 308)
	for _, c := range []struct{ tree, want string }{
		{"/a", "/a 1.000"},
		{"~", ""}, {"!", ""}, {"$", "- 1.000"},
		{"/a & /b", "/a 0.500 /b 0.500"},
		{"9*/a & /b", "/a 0.900 /b 0.100"},
		{"0.3*/a & 0.7*/b", "/a 0.300 /b 0.700"},
		{"3*(3*/a & 2*/b) & /c", "/a 0.450 /b 0.300 /c 0.250"},
		{"/a & /a & 2*/b", "/a 0.250 /a 0.250 /b 0.500"},
		{"/a & $", "/a 0.500 - 0.500"},
		{"/a & 0*$", "/a 1.000"},
		{"0*/a & 0*$", "/a 1.000"},
		{"0*$ & 0*$", "- 0.500 - 0.500"},
		{"0*/a & 0*/b & 0*/c", "/a 0.333 /b 0.333 /c 0.333"},
		{"0*/a & /b", "/a 0.000 /b 1.000"},
		{huge + "*/a & " + huge + "*/b & 1*/c", "/a 0.500 /b 0.500 /c 0.000"},
	} {
		got := ""
		for _, cluster := range namer.Clusters(boundTree(t, c.tree)) {
			id := "-"
			if cluster.ID != nil {
				id = cluster.ID.String()
			}
			got += fmt.Sprintf(" %s %.3f", id, cluster.Share)
		}
		if got = strings.TrimSpace(got); got != c.want {
			t.Errorf("%s: got %s, want %s", c.tree, got, c.want)
		}
	}
}

// The law: whatever the weights, the shares of a name that is something sum to 1, and none is negative.
func TestSharesSumToOne(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	var tree func(depth int) string
	tree = func(depth int) string {
		if depth == 0 || random.IntN(4) == 0 {
			return []string{"/a", "/b", "$"}[random.IntN(3)]
		}
		var branches []string
		for range 2 + random.IntN(3) {
			weight := []string{"0", "0.001", "1", "7.5", "1000000", fmt.Sprint(random.IntN(100))}[random.IntN(6)]
			branches = append(branches, weight+"*("+tree(depth-1)+")")
		}
		return strings.Join(branches, " & ")
	}
	for range 2000 {
		text := tree(4)
		sum := 0.0
		for _, c := range namer.Clusters(boundTree(t, text)) {
			if !(c.Share >= 0) {
				t.Errorf("%s: share %v", text, c.Share)
			}
			sum += c.Share
		}
		if math.Abs(sum-1) > 1e-9 {
			t.Errorf("%s: shares sum to %v", text, sum)
		}
	}
}

func TestResolve(t *testing.T) {
	state := map[string]namer.Addr{
		"/ok1": {Status: namer.OK, Endpoints: []namer.Endpoint{{Addr: "10.0.0.2:1", Weight: 1}}},
		"/ok2": {Status: namer.OK, Endpoints: []namer.Endpoint{{Addr: "10.0.0.1:1", Weight: 1}, {Addr: "10.0.0.2:1", Weight: 2}}},
		"/neg": {Status: namer.Neg}, "/neg2": {Status: namer.Neg}, "/pending": {},
		"/failed": {Status: namer.Failed, Err: fmt.Errorf("boom")}, "/failed2": {Status: namer.Failed, Err: fmt.Errorf("bang")},
	}
	for _, c := range []struct{ tree, want string }{
		{"~", "neg []"}, {"!", "neg []"}, {"$", "ok []"}, {"$ & $", "ok []"},
		{"/neg", "neg []"}, {"/pending", "pending []"}, {"/failed", "failed []"}, {"/ok1", "ok [10.0.0.2:1]"},
		{"/ok1 & /ok2", "ok [10.0.0.1:1 10.0.0.2:1]"}, {"/ok1 & /failed & /pending & /neg", "ok [10.0.0.2:1]"},
		{"/neg & /neg", "neg []"}, {"/neg & /neg2", "neg []"}, {"/failed & /failed2", "failed []"},
		{"/neg & /failed", "pending []"}, {"/neg & /pending", "pending []"}, {"/failed & /pending", "pending []"},
		{"/ok1 & $", "ok [10.0.0.2:1]"}, {"/neg & $", "neg []"},
	} {
		tree := dtab.Map(boundTree(t, c.tree), func(b namer.Bound) namer.Bound {
			b.Addr = state[b.ID.String()]
			return b
		})
		a := resolve(tree)
		if got := fmt.Sprint(a.Status, " ", addrsOf(a)); got != c.want {
			t.Errorf("%s: got %s, want %s", c.tree, got, c.want)
		}
	}
}
