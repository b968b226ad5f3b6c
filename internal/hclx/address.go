package hclx

import (
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"strconv"
	"strings"

	"github.com/zclconf/go-cty/cty"
)

// Address takes "host:port". The host may be empty, for all of the machine's addresses, and the port 0, for a free one.
func (d *Decoder) Address(a Attr) string {
	s, ok := d.address(a)
	if !ok {
		return ""
	}
	return d.CheckAddress(a.Name, Text{s, Place(a)})
}

// AddressOrPath takes what Address does, or the absolute path of a Unix socket.
func (d *Decoder) AddressOrPath(a Attr) (address string, path bool) {
	s, ok := d.address(a)
	if !ok {
		return "", false
	}
	if strings.HasPrefix(s, "/") {
		return s, true
	}
	return d.CheckAddress(a.Name, Text{s, Place(a)}), false
}

func (d *Decoder) address(a Attr) (string, bool) {
	if a == nil {
		return "", false
	}
	v, ok := d.eval(a.Name, a.Expr)
	if !ok {
		return "", false
	}
	if v.Type() == cty.Number {
		n := v.AsBigFloat().Text('f', -1)
		d.Errorf(Place(a), fmt.Sprintf("write \"127.0.0.1:%s\"", n), "%s must be a string \"host:port\"", a.Name)
		return "", false
	}
	return d.text(a.Name, a.Expr)
}

// CheckAddress reports what is no "host:port", and returns the address, or "" if it is none.
func (d *Decoder) CheckAddress(what string, t Text) string {
	if problem, hint := addressProblem(t.Value); problem != "" {
		d.Errorf(t.Range, hint, "%s %q %s", what, t.Value, problem)
		return ""
	}
	return t.Value
}

func addressProblem(s string) (problem, hint string) {
	host, port, err := net.SplitHostPort(s)
	if err != nil {
		_, numeric := strconv.Atoi(s)
		ip, isIP := netip.ParseAddr(s)
		switch {
		case strings.Contains(s, "://"):
			return "is a URL, not host:port", "write \"127.0.0.1:8080\""
		case numeric == nil:
			return "has no host", fmt.Sprintf("write \"127.0.0.1:%s\"", s)
		case isIP == nil && ip.Is6():
			host, port := s[:strings.LastIndex(s, ":")], s[strings.LastIndex(s, ":")+1:]
			if _, err := netip.ParseAddr(host); err == nil && len(port) > 1 && strings.Trim(port, "0123456789") == "" {
				return "is an IPv6 address without a port", fmt.Sprintf("write \"[%s]:%s\"", host, port)
			}
			return "has no port", fmt.Sprintf("write \"[%s]:8080\"", s)
		case strings.Count(s, ":") > 1:
			return "is no address", "an IPv6 address goes in brackets: \"[::1]:8080\""
		}
		return "has no port", fmt.Sprintf("write \"%s:8080\"", strings.TrimSuffix(s, ":"))
	}
	n, err := strconv.Atoi(port)
	switch {
	case port == "":
		return "has no port", fmt.Sprintf("write %q", net.JoinHostPort(host, "8080"))
	case err != nil || strings.HasPrefix(port, "+"):
		return fmt.Sprintf("has the port %q", port), "a port is a number from 1 to 65535"
	case n < 0 || n > 65535:
		return fmt.Sprintf("has the port %s", port), "a port is a number from 1 to 65535"
	}
	if host == "" {
		return "", ""
	}
	if _, err := netip.ParseAddr(host); err == nil {
		return "", ""
	}
	if strings.ContainsAny(host, " /\\@[]*'\"=;,") || strings.HasPrefix(host, "-") || allDigitsAndDots(host) {
		return fmt.Sprintf("has the host %q", host), "a host is an IP address or a DNS name"
	}
	return "", ""
}

func allDigitsAndDots(s string) bool { return strings.Trim(s, "0123456789.") == "" }

// URL takes an http or https base URL, without query and fragment; slashes at its end are cut off.
func (d *Decoder) URL(a Attr) string {
	if a == nil {
		return ""
	}
	s, ok := d.text(a.Name, a.Expr)
	if !ok {
		return ""
	}
	u, err := url.Parse(s)
	switch {
	case err == nil && (u.Scheme == "http" || u.Scheme == "https") && u.Host != "" && u.RawQuery == "" && u.Fragment == "" && u.User == nil:
		return strings.TrimRight(s, "/")
	case err == nil && u.User != nil:
		d.Errorf(Place(a), "credentials go into token_file", "%s has a user name in it", a.Name)
	case !strings.Contains(s, "://"):
		d.Errorf(Place(a), fmt.Sprintf("write \"http://%s\"", s), "%s %q is no URL", a.Name, s)
	default:
		d.Errorf(Place(a), `write a URL such as "http://127.0.0.1:4180"`, "%s %q is no URL", a.Name, s)
	}
	return ""
}

// consulAddress takes what Consul's client takes, but for a user: it would go into the name of the host, and into logs.
func (d *Decoder) consulAddress(a Attr) string {
	s := d.String(a)
	if strings.Contains(s, "@") {
		d.Errorf(Place(a), "user and password go into the environment variable CONSUL_HTTP_AUTH, as user:password", "%s has a user name in it", a.Name)
		return ""
	}
	return s
}

// SamePort reports whether two addresses "host:port" cannot be listened on side by side: their ports are equal and not
// 0, and their hosts are equal or one stands for all.
func SamePort(a, b string) bool {
	ha, pa, errA := net.SplitHostPort(a)
	hb, pb, errB := net.SplitHostPort(b)
	na, _ := strconv.Atoi(pa)
	nb, _ := strconv.Atoi(pb)
	if errA != nil || errB != nil || na != nb || na == 0 {
		return false
	}
	ia, anyA := listenHost(ha)
	ib, anyB := listenHost(hb)
	return anyA || anyB || ia == ib
}

func listenHost(h string) (same string, wildcard bool) {
	if strings.EqualFold(h, "localhost") {
		h = "127.0.0.1"
	}
	ip, err := netip.ParseAddr(h)
	if h == "" || err == nil && ip.Unmap().IsUnspecified() {
		return "", true
	}
	if err == nil {
		return ip.Unmap().String(), false
	}
	return strings.ToLower(h), false
}

// FreePort reports whether an address "host:port" has the port 0, so that the system chooses one.
func FreePort(address string) bool {
	_, port, err := net.SplitHostPort(address)
	n, notNumber := strconv.Atoi(port)
	return err == nil && notNumber == nil && n == 0
}

// HasPort reports whether s is "host:port" rather than a host.
func HasPort(s string) bool {
	_, _, err := net.SplitHostPort(s)
	return err == nil
}
