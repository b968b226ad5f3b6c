package consulacl

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// Need is a right, and what it is needed for.
type Need struct {
	Right
	Why string
}

// Merged are the needs without those that others bring with them, sorted: services, nodes, keys, and the rest. Where one
// right serves several ends, Why has all of them.
func Merged(needs []Need) []Need {
	var all []Need
	for _, n := range needs {
		i := slices.IndexFunc(all, func(o Need) bool {
			return o.Resource == n.Resource && o.Name == n.Name && o.Prefix == n.Prefix
		})
		switch {
		case i < 0:
			all = append(all, n)
			continue
		case n.Access == Write:
			all[i].Access = Write
		}
		if !slices.Contains(strings.Split(all[i].Why, "; "), n.Why) {
			all[i].Why += "; " + n.Why
		}
	}
	order := []string{"service", "node", "key"}
	slices.SortFunc(all, func(a, b Need) int {
		return cmp.Or(
			cmp.Compare(uint(slices.Index(order, a.Resource)), uint(slices.Index(order, b.Resource))),
			cmp.Compare(fmt.Sprint(a.Prefix), fmt.Sprint(b.Prefix)), cmp.Compare(a.Name, b.Name))
	})
	return all
}

// Policy is the text of a policy that gives what is needed and nothing else, with comments that say why.
func Policy(needs []Need) string {
	var b strings.Builder
	for i, n := range Merged(needs) {
		if i > 0 {
			b.WriteString("\n")
		}
		fmt.Fprintf(&b, "# %s\n%s %s {\n  policy = %q\n}\n", n.Why, n.Kind(), quoted(n.Name), n.Access)
	}
	return b.String()
}
