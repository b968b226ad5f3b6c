package namerd_test

import (
	"errors"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/hashicorp/go-hclog"

	"argosy/dtab"
	"argosy/namer"
	"argosy/namer/manual"
	"argosy/namerd"
	"argosy/namerd/names"
	"argosy/namerd/store"
)

// world is a namerd that binds names, by namers that are driven by hand.
type world struct {
	tables  *store.Memory
	namer   *manual.Namer // at /#/io.l5d.namer
	address string
}

func newWorld(t *testing.T, options namerd.Options) world {
	t.Helper()
	w := world{tables: fixture(), namer: manual.New(1)}
	w.namer.SetEndpoints("foo", "127.0.0.1:1")
	w.namer.SetEndpoints("bar", "127.0.0.1:2")
	must(t, w.tables.Create(t.Context(), "default", parse("/foo=>/#/io.l5d.namer/foo ; /bar=>/#/io.l5d.namer/bar")))
	options.Names = naming(t, w.tables, namer.Options{Mounts: []namer.Mount{{Prefix: dtab.MustParsePath("/#/io.l5d.namer"), Namer: w.namer}}})
	w.address = serve(t, w.tables, options)
	return w
}

func naming(t *testing.T, s store.Store, o namer.Options) *names.Names {
	o.Linger = -1
	n := names.New(s, o, hclog.NewNullLogger())
	t.Cleanup(n.Close)
	return n
}

// set is an address set without metadata.
func set(addrs ...string) string {
	var all []string
	for _, a := range addrs {
		ip, port, _ := strings.Cut(a, ":")
		all = append(all, `{"ip":"`+ip+`","port":`+port+`,"meta":{}}`)
	}
	return `{"type":"bound","addrs":[` + strings.Join(all, ",") + `],"meta":{}}`
}

// leaf is a bound tree of one name.
func leaf(addr, id, residual string) string {
	return `{"type":"leaf","bound":{"addr":` + addr + `,"id":"` + id + `","path":"` + residual + `"}}`
}

const neg = `{"type":"neg"}`

// TestNames replays what Namerd's own tests ask, and the rules of its routes, in the order of the routes.
func TestNames(t *testing.T) {
	t.Parallel()
	w := newWorld(t, namerd.Options{})
	w.namer.SetEndpoints("empty")
	w.namer.SetAddr("gone", namer.Addr{Status: namer.Neg})
	w.namer.SetAddr("bad", namer.Addr{Status: namer.Failed, Err: errors.New("malformed address: x")})
	w.namer.Fail("broken", errors.New("no cluster leader"))
	w.namer.Remove("none")
	w.namer.SetAddr("rich", namer.Addr{Status: namer.OK, Meta: map[string]string{"authority": "acme.co"}, Endpoints: []namer.Endpoint{
		{Addr: "10.0.0.1:8080", Weight: 2, Meta: map[string]string{"node": "n1"}}, {Addr: "/run/x.sock", Weight: 1}}})
	fooLeaf, barLeaf := leaf(set("127.0.0.1:1"), "/#/io.l5d.namer/foo", "/"), leaf(set("127.0.0.1:2"), "/#/io.l5d.namer/bar", "/")
	const rich = `{"type":"bound","addrs":[{"ip":"10.0.0.1","port":8080,"meta":{"endpoint_addr_weight":2.0,"nodeName":"n1"}}],"meta":{"authority":"acme.co"}}`
	weighed := func(addr, weight string) string {
		return strings.TrimSuffix(addr, "{}}") + `{"namer_nametree_weight":` + weight + `}}`
	}
	const invalid = `Invalid path: invalid / '/' expected but 'i' found at '[i]nvalid'`
	const absent = "Invalid path: the parameter is missing"
	const deep = "Max recursion level: 100 reached in Namer lookup"
	for _, test := range []struct {
		method, target string
		status         int
		contentType    string
		body           string
	}{
		{"GET", "/api/1/bind/default?path=/foo", 200, "", fooLeaf + "\n"},
		{"POST", "/api/1/bind/default?path=/foo", 200, "", fooLeaf + "\n"},
		{"BREW", "/api/1/bind/default?path=/foo", 200, "", fooLeaf + "\n"},
		{"HEAD", "/api/1/bind/default?path=/foo", 200, "", ""},
		{"HEAD", "/api/1/bind/default?path=/foo&watch=true", 200, "", ""},
		{"GET", "/api/1/bind/default?path=%2Ffoo%2fx&watch=0", 200, "", leaf(set("127.0.0.1:1"), "/#/io.l5d.namer/foo", "/x") + "\n"},
		{"GET", "/api/1/bind/default?path=/foo&path=/bar", 200, "", fooLeaf + "\n"},
		{"GET", "/api/1/bind/default?path=/foo&dtab=/foo=>/bar", 200, "", barLeaf + "\n"},
		{"GET", "/api/1/bind/default?dtab=/foo%3D%3E/nope%3B/foo%3D%3E/bar&path=/foo", 200, "", barLeaf + "\n"},
		{"GET", "/api/1/bind/default?path=/foo&dtab=/foo=>/nope;/foo=>/bar", 200, "", fooLeaf + "\n"}, // a bare ; ends the parameter, as in Namerd
		{"GET", "/api/1/bind/default?dtab=;path=/foo;", 200, "", fooLeaf + "\n"},
		{"GET", "/api/1/bind/default?path=/foo&dtab=/foo+=>+~+|+/bar", 200, "", barLeaf + "\n"},
		{"GET", "/api/1/bind/default?path=/nope", 200, "", neg + "\n"},
		{"GET", "/api/1/bind/default?path=/", 200, "", neg + "\n"},
		{"GET", "/api/1/bind/nowhere?path=/foo", 200, "", neg + "\n"},
		{"GET", "/api/1/bind/?path=/foo", 200, "", neg + "\n"},
		{"GET", "/api/1/bind/a/b%20c?path=/foo&dtab=/foo=>/#/io.l5d.namer/foo", 200, "", fooLeaf + "\n"},
		{"GET", "/api/1/bind/default?path=/x&dtab=/x=>!", 200, "", `{"type":"fail"}` + "\n"},
		{"GET", "/api/1/bind/default?path=/x&dtab=/x=>$", 200, "", `{"type":"empty"}` + "\n"},
		{"GET", "/api/1/bind/default?path=/x&dtab=/x=>0.9*/foo%26/bar%26/nope", 200, "", `{"type":"union","union":[` +
			`{"weight":0.9,"tree":` + leaf(weighed(set("127.0.0.1:1"), "0.9"), "/#/io.l5d.namer/foo", "/") + `},` +
			`{"weight":1.0,"tree":` + leaf(weighed(set("127.0.0.1:2"), "1.0"), "/#/io.l5d.namer/bar", "/") + `}]}` + "\n"},
		{"GET", "/api/1/bind/default?path=/x&dtab=/x=>3*/foo%26/nope", 200, "", leaf(weighed(set("127.0.0.1:1"), "3.0"), "/#/io.l5d.namer/foo", "/") + "\n"},
		{"GET", "/api/1/bind/default?path=/$/inet/127.1/8080/x", 200, "", leaf(set("127.0.0.1:8080"), "/$/inet/127.1/8080", "/x") + "\n"},
		{"GET", `/api/1/bind/default?path=/%5Cx00/%5Cxff&dtab=/%5Cx00/*=>/$/inet/1`, 200, "", leaf(set("127.0.0.1:1"), "/$/inet/1", "/") + "\n"},
		{"GET", "/api/1/bind/default?path=/#/io.l5d.namer/foo", 200, "", fooLeaf + "\n"}, // not encoded, as people type it
		{"GET", "/api/1/bind/default?path=/%23/io.l5d.namer/empty", 200, "", leaf(set(), "/#/io.l5d.namer/empty", "/") + "\n"},
		{"GET", "/api/1/bind/default?path=/%23/io.l5d.namer/bad", 200, "", leaf(`{"type":"failed","cause":"malformed address: x"}`, "/#/io.l5d.namer/bad", "/") + "\n"},
		{"GET", "/api/1/bind/default?path=/%23/io.l5d.namer/broken", 500, "text/plain", "no cluster leader"},
		{"GET", "/api/1/bind/default?path=/x&dtab=/x=>/x/x", 500, "text/plain", deep},
		{"GET", "/api/1/bind/default?path=/$/nope", 500, "text/plain", "Unknown namer: nope for path: /$/nope"},
		{"GET", "/api/1/bind/default?path=/foo&dtab=/foo", 400, "text/plain", `Invalid dtab: '=' expected but end of input found at '/foo[]'`},
		{"GET", "/api/1/bind/default?path=/foo&dtab=%zz", 400, "text/plain", `Invalid dtab: it is not percent-encoded as it should be`},
		{"GET", "/api/1/bind/default?path=%zz", 400, "text/plain", `Invalid path: it is not percent-encoded as it should be`},
		{"GET", "/api/1/bind/default?path=invalid", 400, "text/plain", invalid},
		{"GET", "/api/1/bind/default?path=", 400, "text/plain", `Invalid path:  / '/' expected but end of input found at '[]'`},
		{"GET", "/api/1/bind/default?path=/a%20b", 400, "text/plain", `Invalid path: /a b / end of input expected but 'b' found at '/a [b]'`},
		{"GET", "/api/1/bind/default", 400, "text/plain", absent},
		{"GET", "/api/1/bind/default?pathology=/foo", 400, "text/plain", absent},
		{"GET", "/api/1/bind?path=/foo", 404, "", ""},
		{"GET", "/api/1/bindfoo?path=/x", 404, "", ""},
		{"GET", "/api/1/bindfoo/default?path=/x", 404, "", ""},
		{"GET", "/api/1/bindfoo?path=invalid", 400, "text/plain", invalid},
		{"GET", "/api/1/%62ind/default?path=/foo", 404, "", ""},

		{"GET", "/api/1/addr/default?path=/%23/io.l5d.namer/foo", 200, "", set("127.0.0.1:1") + "\n"},
		{"PUT", "/api/1/addr/nowhere?path=/%23/io.l5d.namer/foo", 200, "", set("127.0.0.1:1") + "\n"},
		{"GET", "/api/1/addr/default?path=/%23/io.l5d.namer/rich", 200, "", rich + "\n"},
		{"GET", "/api/1/addr/default?path=/%25/io.l5d.transformer/x/%23/io.l5d.namer/foo", 200, "", set("127.0.0.1:1") + "\n"},
		{"GET", "/api/1/addr/default?path=/%23/io.l5d.namer/empty", 200, "", set() + "\n"},
		{"GET", "/api/1/addr/default?path=/%23/io.l5d.namer/none", 200, "", neg + "\n"},
		{"GET", "/api/1/addr/default?path=/%23/io.l5d.namer/gone", 200, "", neg + "\n"},
		{"GET", "/api/1/addr/default?path=/%23/io.l5d.namer/bad", 200, "", `{"type":"failed","cause":"malformed address: x"}` + "\n"},
		{"GET", "/api/1/addr/default?path=/$/inet/127.1/80", 200, "", set("127.0.0.1:80") + "\n"},
		{"GET", "/api/1/addr/default?path=/$/nil", 200, "", set() + "\n"},
		{"GET", "/api/1/addr/default?path=/foo&dtab=x", 200, "", neg + "\n"},
		{"GET", "/api/1/addr/default?path=/$/fail", 500, "text/plain", "name tree failed"},
		{"GET", "/api/1/addr/default?path=/%23/io.l5d.namer/broken", 500, "text/plain", "no cluster leader"},
		{"GET", "/api/1/addr/default?path=invalid", 400, "text/plain", invalid},
		{"GET", "/api/1/addr/default", 400, "text/plain", absent},
		{"GET", "/api/1/addr?path=/foo", 404, "", ""},
		{"GET", "/api/1/addressbook?path=/foo", 404, "", ""},

		{"GET", "/api/1/resolve/default?path=/foo", 200, "application/json", set("127.0.0.1:1") + "\n"},
		{"GET", "/api/1/resolve/default?path=%2Ffoo%2Fresidual", 200, "application/json", set("127.0.0.1:1") + "\n"},
		{"GET", "/api/1/resolve/default?path=/yeezy&dtab=/yeezy=>/%23/io.l5d.namer/rich", 200, "application/json", rich + "\n"},
		{"GET", "/api/1/resolve/default?path=/x&dtab=/x=>3*/foo%26/nope", 200, "application/json", set("127.0.0.1:1") + "\n"},
		{"GET", "/api/1/resolve/default?path=/nope", 200, "application/json", neg + "\n"},
		{"GET", "/api/1/resolve/default?path=/x&dtab=/x=>!", 200, "application/json", neg + "\n"},
		{"GET", "/api/1/resolve/default?path=/x&dtab=/x=>$", 200, "application/json", neg + "\n"},
		{"GET", "/api/1/resolve/nowhere?path=/foo", 200, "application/json", neg + "\n"},
		{"GET", "/api/1/resolve/default?path=/%23/io.l5d.namer/bad", 200, "application/json", `{"type":"failed","cause":"malformed address: x"}` + "\n"},
		{"GET", "/api/1/resolve/default?path=/%23/io.l5d.namer/broken", 500, "text/plain", "no cluster leader"},
		{"GET", "/api/1/resolve/default?path=invalid", 400, "text/plain", invalid},
		{"GET", "/api/1/resolve/default?path=/foo&dtab=/foo=>/bar,", 400, "text/plain", `Invalid dtab: end of input expected but ',' found at '/foo=>/bar[,]'`},
		{"GET", "/api/1/resolve?path=/foo", 404, "", ""},

		{"GET", "/api/1/delegate/yeezus?path=/yeezy", 200, "application/json", `{"type":"delegate","path":"/yeezy","delegate":{"type":"neg","path":"/yeezus","dentry":{"prefix":"/yeezy","dst":"/yeezus"}}}`},
		{"DELETE", "/api/1/delegate/yeezus?path=/yeezy", 200, "application/json", `{"type":"delegate","path":"/yeezy","delegate":{"type":"neg","path":"/yeezus","dentry":{"prefix":"/yeezy","dst":"/yeezus"}}}`},
		{"GET", "/api/1/delegate/yeezus?path=/yeezy&watch=true", 200, "application/json", `{"type":"delegate","path":"/yeezy","delegate":{"type":"neg","path":"/yeezus","dentry":{"prefix":"/yeezy","dst":"/yeezus"}}}`},
		{"GET", "/api/1/delegate?dtab=/foo=>/bar&path=/foo", 200, "application/json", `{"type":"delegate","path":"/foo","delegate":{"type":"neg","path":"/bar","dentry":{"prefix":"/foo","dst":"/bar"}}}`},
		{"GET", "/api/1/delegatefoo?path=/x", 200, "application/json", `{"type":"neg","path":"/x"}`},
		{"GET", "/api/1/delegatefoo/yeezus?path=/yeezy", 200, "application/json", `{"type":"neg","path":"/yeezy"}`},
		{"GET", "/api/1/delegate/yeezus?path=/yeezy&dtab=/yeezy=>/bar", 200, "application/json", `{"type":"alt","path":"/yeezy","alt":[` +
			`{"type":"neg","path":"/bar","dentry":{"prefix":"/yeezy","dst":"/bar"}},{"type":"neg","path":"/yeezus","dentry":{"prefix":"/yeezy","dst":"/yeezus"}}]}`},
		{"GET", "/api/1/delegate?namespace=yeezus&path=/yeezy&dtab=/yeezy=>/bar", 200, "application/json", `{"type":"alt","path":"/yeezy","alt":[` +
			`{"type":"neg","path":"/bar","dentry":{"prefix":"/yeezy","dst":"/bar"}},{"type":"neg","path":"/yeezus","dentry":{"prefix":"/yeezy","dst":"/yeezus"}}]}`},
		{"GET", "/api/1/delegate/nowhere?path=/yeezy", 200, "application/json", `{"type":"neg","path":"/yeezy"}`},
		{"GET", "/api/1/delegate/?path=/yeezy", 200, "application/json", `{"type":"neg","path":"/yeezy"}`},
		{"GET", "/api/1/delegate/default?path=/x&dtab=/x=>~", 200, "application/json", `{"type":"delegate","path":"/x","delegate":{"type":"neg","path":"~","dentry":{"prefix":"/x","dst":"~"}}}`},
		{"GET", "/api/1/delegate/default?path=/x/y&dtab=/x=>/$/fail", 200, "application/json", `{"type":"delegate","path":"/x/y","delegate":{"type":"fail","path":"/$/fail/y","dentry":{"prefix":"/x","dst":"/$/fail"}}}`},
		{"GET", "/api/1/delegate/default?path=/x&dtab=/x=>!", 200, "application/json", `{"type":"delegate","path":"/x","delegate":{"type":"fail","path":"!","dentry":{"prefix":"/x","dst":"!"}}}`},
		{"GET", "/api/1/delegate/default?path=/$/nope/x", 200, "application/json", `{"type":"exception","path":"/$/nope/x","message":"Unknown namer: nope for path: /$/nope/x"}`},
		{"GET", "/api/1/delegate/default?path=/%23/io.l5d.namer/broken/x", 200, "application/json", `{"type":"exception","path":"/#/io.l5d.namer/broken/x","message":"no cluster leader"}`},
		{"GET", "/api/1/delegate/default?path=/x&dtab=/x=>3*/foo%26/$/nil", 200, "application/json", `{"type":"union","path":"/x","union":[` +
			`{"weight":3.0,"tree":{"type":"delegate","path":"/foo","dentry":{"prefix":"/x","dst":"3.00*/foo & /$/nil"},"delegate":{"type":"leaf","path":"/#/io.l5d.namer/foo",` +
			`"dentry":{"prefix":"/foo","dst":"/#/io.l5d.namer/foo"},"bound":{"addr":` + set("127.0.0.1:1") + `,"id":"/#/io.l5d.namer/foo","path":"/"}}}},` +
			`{"weight":1.0,"tree":{"type":"empty","path":"/$/nil","dentry":{"prefix":"/x","dst":"3.00*/foo & /$/nil"}}}]}`},
		{"GET", "/api/1/delegate/default?path=/x&dtab=/x=>/x/x", 500, "text/plain", "Max recursion level reached."},
		{"GET", "/api/1/delegate/default?path=/foo&dtab=x", 400, "text/plain", `Invalid dtab: '/' expected but 'x' found at '[x]'`},
		{"GET", "/api/1/delegate/default?path=invalid", 400, "text/plain", invalid},
		{"GET", "/api/1/delegate/default", 400, "text/plain", absent},
		{"POST", "/api/1/delegate/default", 400, "text/plain", absent},
		{"GET", "/api/1/delegate?path=/x&dtab=invalid-param", 400, "text/plain", `Invalid dtab: '/' expected but 'i' found at '[i]nvalid-param'`},
		{"GET", "/api/1/delegate?path=invalid", 400, "text/plain", invalid},
		{"GET", "/api/1/delegate", 400, "text/plain", absent},
		{"PUT", "/api/1/delegate?path=/x", 405, "", ""},
		{"HEAD", "/api/1/delegate?path=/x", 405, "", ""},
		{"POST", "/api/1/delegate?path=/x", 415, "text/plain", "a delegation is asked for with the Content-Type application/json"},

		{"GET", "/api/1/bound-names", 200, "application/json", "[]\n"},
		{"POST", "/api/1/bound-names", 404, "", ""},
		{"HEAD", "/api/1/bound-names", 404, "", ""},
		{"GET", "/api/1/bound-names/", 404, "", ""},
		{"GET", "/api/1/bound-namesfoo", 404, "", ""},
	} {
		r, body := send(t, w.address, test.method, test.target, "")
		if test.method == "HEAD" {
			test.body = ""
		}
		if r.StatusCode != test.status || r.Header.Get("Content-Type") != test.contentType || body != test.body {
			t.Errorf("%s %s:\n got %d %q %q\nwant %d %q %q", test.method, test.target, r.StatusCode, r.Header.Get("Content-Type"), body,
				test.status, test.contentType, test.body)
		}
		if _, sent := r.Header["Content-Type"]; sent && test.contentType == "" {
			t.Errorf("%s %s: a Content-Type is sent", test.method, test.target)
		}
	}
}

func TestDelegatePost(t *testing.T) {
	t.Parallel()
	w := newWorld(t, namerd.Options{})
	const asJSON = "Content-Type: application/json"
	const toBar = `{"type":"delegate","path":"/foo","delegate":{"type":"neg","path":"/bar","dentry":{"prefix":"/foo","dst":"/bar"}}}`
	const malformed = "Malformed delegation request: "
	for _, test := range []struct {
		target, contentType, body string
		status                    int
		answer                    string
	}{
		{"/api/1/delegate?path=/x", asJSON, `{"dtab":"/foo=>/bar","path":"/foo"}`, 200, toBar},
		{"/api/1/delegate", asJSON, `{"dtab":"/foo => /bar ;","path":"/foo"}`, 200, toBar},
		{"/api/1/delegatefoo", asJSON, `{"path":"/foo","dtab":"/foo=>/bar","namespace":null,"more":[]}`, 200, toBar},
		{"/api/1/delegate", asJSON, `{"namespace":"yeezus","dtab":"","path":"/yeezy"}`, 200, `{"type":"delegate","path":"/yeezy","delegate":{"type":"neg","path":"/yeezus","dentry":{"prefix":"/yeezy","dst":"/yeezus"}}}`},
		{"/api/1/delegate", asJSON, `{"dtab":"","path":"/yeezy"}`, 200, `{"type":"neg","path":"/yeezy"}`},
		{"/api/1/delegate", asJSON, `{"path":"/yeezy"}`, 200, `{"type":"neg","path":"/yeezy"}`},
		{"/api/1/delegate?path=invalid", asJSON, `{"dtab":"","path":"/yeezy"}`, 400, `Invalid path: invalid / '/' expected but 'i' found at '[i]nvalid'`},
		{"/api/1/delegate", asJSON, `{"dtab":"invalid-param","path":"/x"}`, 400, `Invalid dtab: '/' expected but 'i' found at '[i]nvalid-param'`},
		{"/api/1/delegate", asJSON, `{"dtab":"","path":"invalid-param"}`, 400, `Invalid path: '/' expected but 'i' found at '[i]nvalid-param'`},
		{"/api/1/delegate", asJSON, `{"dtab":""`, 400, malformed + `{"dtab":""`},
		{"/api/1/delegate", asJSON, `{"dtab":"","path":7}`, 400, malformed + `{"dtab":"","path":7}`},
		{"/api/1/delegate", asJSON, `{"dtab":""}`, 400, malformed + `{"dtab":""}`},
		{"/api/1/delegate", asJSON, `null`, 400, malformed + `null`},
		{"/api/1/delegate", asJSON, ``, 400, malformed},
		{"/api/1/delegate?path=/x", "Content-Type: application/json; charset=utf-8", `{"dtab":"","path":"/x"}`, 415, "a delegation is asked for with the Content-Type application/json"},
		{"/api/1/delegate?path=/x", "X: y", `{"dtab":"","path":"/x"}`, 415, "a delegation is asked for with the Content-Type application/json"},
		{"/api/1/bind/default?path=/bar", "Content-Type: application/x-www-form-urlencoded", `path=/foo&dtab=/foo%3D%3E!`, 200, `{"type":"fail"}` + "\n"},
		{"/api/1/delegate/default", "Content-Type: application/x-www-form-urlencoded; charset=utf-8", `path=/nope`, 200, `{"type":"neg","path":"/nope"}`},
		{"/api/1/bind/default", "Content-Type: application/x-www-form-urlencoded", "path=" + strings.Repeat("/x", 1<<15), 413, "a form has at most 65536 bytes"},
	} {
		r, body := send(t, w.address, "POST", test.target, test.body, test.contentType)
		if r.StatusCode != test.status || body != test.answer {
			t.Errorf("POST %s %s %.100s:\n got %d %.300q\nwant %d %q", test.target, test.contentType, test.body, r.StatusCode, body, test.status, test.answer)
		}
	}
}

// Every byte may stand in a name, and comes back escaped.
func TestNamesOfAllBytes(t *testing.T) {
	t.Parallel()
	w := newWorld(t, namerd.Options{})
	for c := range 256 {
		id := dtab.Path{"#", "io.l5d.namer", string([]byte{byte(c)})}
		w.namer.SetEndpoints(dtab.Path{id[2]}.String()[1:], "127.0.0.1:3")
		target := "?path=" + url.QueryEscape(id.String())
		printed := strings.ReplaceAll(id.String(), `\`, `\\`)
		if _, body := send(t, w.address, "GET", "/api/1/bind/default"+target, ""); body != leaf(set("127.0.0.1:3"), printed, "/")+"\n" {
			t.Errorf("bind %s: %s", id, body)
		}
		if _, body := send(t, w.address, "GET", "/api/1/addr/default"+target, ""); body != set("127.0.0.1:3")+"\n" {
			t.Errorf("addr %s: %s", id, body)
		}
		if _, body := send(t, w.address, "GET", "/api/1/delegate/default"+target, ""); !strings.Contains(body, `"path":"`+printed+`"`) {
			t.Errorf("delegate %s: %s", id, body)
		}
		// The byte itself, not escaped in the name, is a bad request where it is no letter, and never more.
		raw := "?path=" + url.QueryEscape("/x"+string([]byte{byte(c)})+"y") + "&dtab=" + url.QueryEscape("/x"+string([]byte{byte(c)})+"=>/y")
		for _, route := range []string{"bind", "resolve", "delegate"} {
			if r, body := send(t, w.address, "GET", "/api/1/"+route+"/default"+raw, ""); r.StatusCode != http.StatusOK && r.StatusCode != http.StatusBadRequest || r.StatusCode == 400 && body == "" {
				t.Errorf("%s of %#x: %s %q", route, c, r.Status, body)
			}
		}
	}
}

func TestLongNames(t *testing.T) {
	t.Parallel()
	w := newWorld(t, namerd.Options{})
	for n, want := range map[int]int{1000: 200, 30_000: 200, 200_000: 431} {
		if r, _ := send(t, w.address, "GET", "/api/1/bind/default?path="+strings.Repeat("/x", n/2), ""); r.StatusCode != want {
			t.Errorf("a path of %d bytes: %s, want %d", n, r.Status, want)
		}
	}
}
