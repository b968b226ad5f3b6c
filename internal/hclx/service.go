package hclx

import (
	"fmt"
	"strings"
)

// longestService is the longest name of a Connect service: it is a label of DNS names (RFC 1035, 2.3.4).
const longestService = 63

// Service takes the name of a Connect service. Consul takes names as they come, in certificates and in intentions, and
// compares them exactly; so only such are allowed that cannot be mistaken for others, or for parts of a request.
func (d *Decoder) Service(a Attr) string {
	name := d.String(a)
	bad := strings.Trim(name, "abcdefghijklmnopqrstuvwxyz0123456789-_")
	small := strings.ToLower(name)
	switch {
	case a == nil || d.Failed(a):
	case name == "":
		d.Errorf(Place(a), `write connect = "web"`, "%s is empty", a.Name)
	case bad != "" && small != name && strings.Trim(small, "abcdefghijklmnopqrstuvwxyz0123456789-_") == "":
		d.Errorf(Place(a), fmt.Sprintf("write connect = %q", small),
			"the Connect service %q has capital letters: intentions know it by another name", name)
	case bad != "":
		d.Errorf(Place(a), "lower-case letters, digits, - and _ are allowed", "the Connect service %q has %q in it", name, string([]rune(bad)[0]))
	case name[0] == '-' || name[0] == '_':
		d.Errorf(Place(a), "it begins with a letter or a digit", "the Connect service %q begins with %q", name, name[:1])
	case len(name) > longestService:
		d.Errorf(Place(a), fmt.Sprintf("it may have %d", longestService), "the name of the Connect service has %d letters", len(name))
	default:
		return name
	}
	return ""
}
