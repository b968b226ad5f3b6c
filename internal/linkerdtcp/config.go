package linkerdtcp

import (
	"math"
	"net"
	"net/netip"
	"strconv"

	"go.yaml.in/yaml/v3"

	"argosy/dtab"
)

// The configuration of linkerd-tcp, with the places of what may be impossible to carry over. Numbers are -1 where they
// are not given.
type config struct {
	admin   *admin
	routers []router
}

type admin struct {
	address   string
	graceSecs int
}

type router struct {
	label       string
	node        *yaml.Node
	interpreter interpreter
	servers     []server
	clients     []client // of io.l5d.static; that of io.l5d.global has no prefix
}

type interpreter struct {
	node       *yaml.Node
	baseURL    string
	namespace  string
	periodSecs int
}

type server struct {
	node      *yaml.Node
	address   string
	dst       dtab.Path
	timeoutMs int
	limit     int
	tls       *identity
}

// identity is a certificate with its key.
type identity struct{ cert, key string }

type client struct {
	node      *yaml.Node
	prefix    dtab.Path // nil for all names
	timeoutMs int
	tls       *clientTLS
}

type clientTLS struct {
	dnsName string
	ca      string
}

const (
	kindNamerd = "io.l5d.namerd.http"
	kindGlobal = "io.l5d.global"
	kindStatic = "io.l5d.static"
)

func (r *reader) config(n *yaml.Node) config {
	o := r.object(n, "", "admin", "routers", "bufferSizeBytes")
	if b := o.keys["bufferSizeBytes"]; b != nil {
		o.number("bufferSizeBytes", 1, math.MaxInt32)
		r.note(b, "bufferSizeBytes", "", "is not needed: buffers are taken when there is something to move, or data stays in the kernel")
	}
	c := config{admin: r.admin(o.keys["admin"])}
	o.need("routers", "")
	for i, item := range o.list("routers") {
		if r.tooMuch(item) {
			break
		}
		c.routers = append(c.routers, r.router(item, o.item("routers", i)))
	}
	if n := o.keys["routers"]; n != nil && len(c.routers) == 0 && len(r.problems) == 0 {
		r.wrong(n, "", "there is no router")
	}
	return c
}

func (r *reader) admin(n *yaml.Node) *admin {
	if n == nil {
		return nil
	}
	o := r.object(n, "admin", "ip", "port", "metricsIntervalSecs", "graceSecs")
	if m := o.keys["metricsIntervalSecs"]; m != nil {
		o.number("metricsIntervalSecs", 0, math.MaxInt32)
		r.note(m, "admin.metricsIntervalSecs", "", "is not needed: /metrics shows the values of the moment")
	}
	return &admin{address: o.address(9989), graceSecs: o.number("graceSecs", 0, math.MaxInt32)}
}

// address is made of ip and port.
func (o object) address(port int) string {
	if p := o.number("port", 0, 65535); p >= 0 {
		port = p
	}
	ip := o.text("ip")
	if ip == "" {
		ip = "127.0.0.1"
	} else if _, err := netip.ParseAddr(ip); err != nil {
		o.wrong(o.keys["ip"], "", "%s must be an IP address", o.at("ip"))
	}
	return net.JoinHostPort(ip, strconv.Itoa(port))
}

func (r *reader) router(n *yaml.Node, path string) router {
	o := r.object(n, path, "label", "servers", "interpreter", "client")
	out := router{node: n, label: o.text("label")}
	o.need("label", "")
	if i := o.need("interpreter", "kind: "+kindNamerd); i != nil {
		out.interpreter = r.interpreter(i, o.at("interpreter"))
	}
	o.need("servers", "")
	for i, item := range o.list("servers") {
		if r.tooMuch(item) {
			break
		}
		out.servers = append(out.servers, r.server(item, o.item("servers", i)))
	}
	if s := o.keys["servers"]; s != nil && len(out.servers) == 0 {
		r.wrong(s, "", "%s has no server", path)
	}
	if c := o.keys["client"]; c != nil {
		out.clients = r.clients(c, o.at("client"))
	}
	return out
}

func (r *reader) interpreter(n *yaml.Node, path string) interpreter {
	o := r.object(n, path, "kind", "baseUrl", "namespace", "periodSecs")
	if kind := o.text("kind"); kind != kindNamerd && o.need("kind", "kind: "+kindNamerd) != nil {
		r.wrong(o.keys["kind"], "the only kind is "+kindNamerd, "unknown kind of interpreter %q", kind)
	}
	for _, key := range []string{"baseUrl", "namespace", "periodSecs"} {
		o.need(key, "")
	}
	return interpreter{node: n, baseURL: o.text("baseUrl"), namespace: o.text("namespace"), periodSecs: o.number("periodSecs", 1, math.MaxInt32)}
}

func (r *reader) server(n *yaml.Node, path string) server {
	o := r.object(n, path, "port", "ip", "dstName", "connectTimeoutMs", "connectionLifetimeSecs", "maxConcurrency", "tls")
	out := server{node: n, timeoutMs: o.number("connectTimeoutMs", 0, math.MaxInt32), limit: o.number("maxConcurrency", 0, math.MaxInt32)}
	o.need("port", "")
	out.address = o.address(0)
	if dst := o.need("dstName", "dstName: /svc/redis"); dst != nil {
		out.dst = o.name("dstName")
	}
	if l := o.keys["connectionLifetimeSecs"]; l != nil {
		o.number("connectionLifetimeSecs", 0, math.MaxInt32)
		r.lost(l, o.at("connectionLifetimeSecs"), "end connections that do nothing with idle_timeout in the listener",
			"there is no limit on how long a connection may live")
	}
	if o.keys["maxConcurrency"] != nil {
		r.note(o.keys["maxConcurrency"], o.at("maxConcurrency"), "", "becomes max_connections: at the limit connections are refused, not left waiting")
	}
	if t := o.keys["tls"]; t != nil {
		out.tls = r.serverTLS(t, o.at("tls"))
	}
	return out
}

// name takes a path that is not the root.
func (o object) name(key string) dtab.Path {
	text := o.text(key)
	p, err := dtab.ParsePath(text)
	if err != nil || len(p) == 0 {
		o.wrong(o.keys[key], key+": /svc/redis", "%s %q is no name", o.at(key), text)
		return nil
	}
	return p
}

func (r *reader) serverTLS(n *yaml.Node, path string) *identity {
	o := r.object(n, path, "defaultIdentity", "identities", "alpnProtocols")
	if a := o.keys["alpnProtocols"]; a != nil {
		o.texts("alpnProtocols")
		r.lost(a, o.at("alpnProtocols"), "", "protocols are not negotiated when TLS is terminated")
	}
	var found *identity
	if d := o.keys["defaultIdentity"]; d != nil {
		i := r.identity(d, o.at("defaultIdentity"))
		found = &i
	}
	if all := o.keys["identities"]; all != nil {
		names := r.object(all, o.at("identities"))
		at := r.real(all)
		for i := 0; at.Kind == yaml.MappingNode && i+1 < len(at.Content) && !r.tooMuch(all); i += 2 {
			name := at.Content[i].Value
			identity := r.identity(at.Content[i+1], names.at(name))
			if found == nil {
				found = &identity
				continue
			}
			r.lost(at.Content[i], names.at(name), "give the name a listener of its own, or pass TLS on with an sni block and let the service show its certificate",
				"a listener has one certificate, whatever name the client asks for")
		}
	}
	if found == nil {
		r.wrong(n, "", "%s has no identity", path)
	}
	return found
}

func (r *reader) identity(n *yaml.Node, path string) identity {
	o := r.object(n, path, "certs", "privateKey")
	out := identity{cert: o.oneFile("certs"), key: o.text("privateKey")}
	for _, key := range []string{"certs", "privateKey"} {
		o.need(key, "")
	}
	return out
}

// oneFile is the file of a list; linkerd-tcp takes several as if they were one.
func (o object) oneFile(key string) string {
	files := o.texts(key)
	switch len(files) {
	case 0:
		return ""
	case 1:
	default:
		o.lost(o.keys[key], o.at(key), "put them into one file, in this order, and name that", "%d files: only the first is in the result", len(files))
	}
	return files[0]
}

func (r *reader) clients(n *yaml.Node, path string) []client {
	kind := r.object(n, path).text("kind")
	switch kind {
	case "", kindGlobal:
		return []client{r.client(n, path, "kind")}
	case kindStatic:
	default:
		r.wrong(n, "the kinds are "+kindGlobal+" and "+kindStatic, "unknown kind of client %q", kind)
		return nil
	}
	o := r.object(n, path, "kind", "configs")
	o.need("configs", "")
	var all []client
	for i, item := range o.list("configs") {
		if r.tooMuch(item) {
			break
		}
		all = append(all, r.client(item, o.item("configs", i), "prefix"))
	}
	return all
}

// client reads one block; more is the key that it has besides.
func (r *reader) client(n *yaml.Node, path, more string) client {
	o := r.object(n, path, more, "connectTimeoutMs", "tls", "maxWaiters", "minConnections", "failFast")
	out := client{node: n, timeoutMs: o.number("connectTimeoutMs", 0, math.MaxInt32)}
	if more == "prefix" && o.need("prefix", "prefix: /svc/redis") != nil {
		out.prefix = o.name("prefix")
	}
	if w := o.keys["maxWaiters"]; w != nil {
		o.number("maxWaiters", 0, math.MaxInt32)
		r.lost(w, o.at("maxWaiters"), "bound the listener's connections with max_connections, and their waiting with connect_timeout", "there is no queue to bound")
	}
	if m := o.keys["minConnections"]; m != nil && o.number("minConnections", 0, math.MaxInt32) != 0 {
		r.lost(m, o.at("minConnections"), "", "no spare connections are kept: each is dialled for the client that needs it")
	}
	if f := o.keys["failFast"]; f != nil {
		fast := r.object(f, o.at("failFast"), "maxConsecutiveFailures", "failurePenaltySecs")
		fast.number("maxConsecutiveFailures", 0, math.MaxInt32)
		fast.number("failurePenaltySecs", 0, math.MaxInt32)
		r.lost(f, o.at("failFast"), "", "an endpoint that cannot be connected is left alone for a while by itself, for longer each time; there is nothing to set")
	}
	if t := o.keys["tls"]; t != nil {
		tls := r.object(t, o.at("tls"), "dnsName", "trustCerts")
		out.tls = &clientTLS{dnsName: tls.text("dnsName"), ca: tls.oneFile("trustCerts")}
		tls.need("dnsName", "")
		if tls.keys["trustCerts"] == nil {
			r.note(t, tls.at("trustCerts"), "", "is not given: the system's roots are trusted, where linkerd-tcp trusts nobody")
		}
	}
	return out
}
