package config

import "argosy/internal/hclx"

// rawListener needs either `destination` or an `sni` block.
type rawListener struct {
	Name      string     `hcl:"name,label"`
	NameRange hclx.Range `hcl:"name,label_range"`
	// `host:port` to listen on; port 0 takes a free one, `:7474` stands for all addresses of the machine. Or the absolute
	// path of a Unix socket, such as `/run/argosy/redis.sock`. Required.
	Address hclx.Attr `hcl:"address,optional" type:"address" required:"true"`
	// The permissions of a Unix socket.
	SocketMode hclx.Attr `hcl:"socket_mode,optional" type:"string" default:"0660"`
	// The owner of a Unix socket, `user` or `user:group`. The process's own unless set.
	SocketOwner hclx.Attr `hcl:"socket_owner,optional" type:"string"`
	// Several agents may listen on this port at once; the kernel spreads connections over them.
	ReusePort hclx.Attr `hcl:"reuse_port,optional" type:"boolean" default:"false"`
	// The name that all connections go to, such as `/svc/redis`.
	Destination hclx.Attr `hcl:"destination,optional" type:"path"`
	// At most so many connections are open at once; for more see `at_limit` in `limits`. 0 is no limit.
	MaxConnections hclx.Attr `hcl:"max_connections,optional" type:"number" default:"0"`
	// Further limits, and what happens at them.
	Limits *rawLimits `hcl:"limits,block"`
	// For a client's PROXY header and TLS handshake together. 0 is no limit but `connect_timeout`.
	HandshakeTimeout hclx.Attr `hcl:"handshake_timeout,optional" type:"duration" default:"10s"`
	// From accepting a connection until one to an endpoint stands, all attempts together.
	ConnectTimeout hclx.Attr `hcl:"connect_timeout,optional" type:"duration" default:"10s"`
	// Connections over which nothing moves for so long are closed. 0 is never.
	IdleTimeout hclx.Attr `hcl:"idle_timeout,optional" type:"duration" default:"0s"`
	// Clients that send nothing for so long after their connection stands are closed. 0 is never, as protocols need in which
	// the server speaks first and the client may wait.
	FirstByteTimeout hclx.Attr `hcl:"first_byte_timeout,optional" type:"duration" default:"0s"`
	// When one side has ended its output, the other may be silent for so long. 0 is for ever.
	HalfCloseTimeout hclx.Attr `hcl:"half_close_timeout,optional" type:"duration" default:"5m"`
	// Connections are closed after so long. 0 is never.
	MaxLifetime hclx.Attr `hcl:"max_lifetime,optional" type:"duration" default:"0s"`
	// By up to this share `max_lifetime` is shortened at random, so that connections that began together do not end
	// together.
	LifetimeJitter hclx.Attr `hcl:"lifetime_jitter,optional" type:"number" default:"0.1"`
	// Connections start with a PROXY header (v1 or v2) that tells the client's address.
	ProxyProtocol *rawProxyProtocol `hcl:"proxy_protocol,block"`
	// The settings of accepted sockets.
	Socket *rawListenerSocket `hcl:"socket,block"`
	// Take the name from the server name that TLS clients send.
	SNI *rawSNI `hcl:"sni,block"`
	// Terminate TLS. Without this block bytes are passed on as they come.
	TLS *rawServerTLS `hcl:"tls,block"`
	// Put the listener into Consul's catalog as a service of its own.
	Register *rawListenerEntry `hcl:"register,block"`
	Range    hclx.Range        `hcl:",def_range"`
}

// rawLimits are those of a listener beside `max_connections`.
type rawLimits struct {
	// At most so many connections are open from one IP address. 0 is no limit.
	ConnectionsPerSource hclx.Attr `hcl:"connections_per_source,optional" type:"number" default:"0"`
	// New connections per second. 0 is no limit.
	Rate hclx.Attr `hcl:"rate,optional" type:"number" default:"0"`
	// So many may come at once above the rate. As many as come in a second unless set.
	Burst hclx.Attr `hcl:"burst,optional" type:"number"`
	// What happens to a connection at a limit: `refuse` closes it, `queue` lets it wait.
	AtLimit hclx.Attr `hcl:"at_limit,optional" type:"string" default:"refuse"`
	// At most so many connections wait; more are refused.
	Queue hclx.Attr `hcl:"queue,optional" type:"number" default:"100"`
	// They wait for so long, and then are refused.
	QueueTimeout hclx.Attr `hcl:"queue_timeout,optional" type:"duration" default:"1s"`
	// At most so many clients are in their TLS handshake at a time, from their ClientHello on. Ten times as many wait for
	// their turn, for half of `handshake_timeout`; more are refused. 0 is no limit.
	Handshakes hclx.Attr `hcl:"handshakes,optional" type:"number" default:"1000"`
}

// rawProxyProtocol says whose PROXY headers are believed. In connections from elsewhere one is nothing but bytes. Over Unix
// sockets all are believed.
type rawProxyProtocol struct {
	// Networks such as `10.0.0.0/8`, or addresses. Required.
	From hclx.Attr `hcl:"from,optional" type:"list of strings" required:"true"`
	// Connections from there may also come without a header.
	Optional hclx.Attr  `hcl:"optional,optional" type:"boolean" default:"false"`
	Range    hclx.Range `hcl:",def_range"`
}

// rawListenerSocket has the settings of accepted sockets.
type rawListenerSocket struct {
	// Send small segments at once (TCP_NODELAY).
	NoDelay hclx.Attr `hcl:"no_delay,optional" type:"boolean" default:"true"`
	// Ask a quiet peer so often whether it is still there. 0 is never.
	KeepAlive hclx.Attr `hcl:"keepalive,optional" type:"duration" default:"15s"`
	// Give a connection up when sent bytes stay unacknowledged for so long (TCP_USER_TIMEOUT). 0 is as the system has it.
	UserTimeout hclx.Attr `hcl:"user_timeout,optional" type:"duration" default:"0s"`
	// The mark of the packets (SO_MARK), which needs CAP_NET_ADMIN. 0 is none.
	Mark hclx.Attr `hcl:"mark,optional" type:"number" default:"0"`
	// The length of the queue for TCP Fast Open; 0 is off.
	FastOpen hclx.Attr `hcl:"fast_open,optional" type:"number" default:"0"`
}

// rawSNI makes a name of the prefix and the lower-cased server name: `db.example` becomes `/sni/db.example`. A Postgres
// client's request for TLS is recognised and answered on the way.
type rawSNI struct {
	// What stands before the server name.
	Prefix hclx.Attr `hcl:"prefix,optional" type:"path" default:"/sni"`
	// The name for clients that send none. Without it they are refused.
	Default hclx.Attr `hcl:"default,optional" type:"path"`
	// For the client's first message to arrive.
	Timeout hclx.Attr `hcl:"timeout,optional" type:"duration" default:"3s"`
	// Names for clients that offer a protocol by ALPN, whatever their server name, such as `{ h2 = "/svc/web" }`.
	ALPN hclx.Attr `hcl:"alpn,optional" type:"map of strings"`
}

// rawServerTLS needs either certificates with their keys, or `connect`.
type rawServerTLS struct {
	// The certificate chain (PEM). Read again when it changes.
	CertFile hclx.Attr `hcl:"cert_file,optional" type:"file"`
	// Its private key (PEM).
	KeyFile hclx.Attr `hcl:"key_file,optional" type:"file"`
	// An OCSP response (DER) to staple to it while it is valid. Read again when it changes.
	OCSPFile hclx.Attr `hcl:"ocsp_file,optional" type:"file"`
	// Further certificates. A client gets the first one that has its server name in it, also by a wildcard, and else the
	// first of all.
	Certificates []rawCertificate `hcl:"certificate,block"`
	// Ask for client certificates signed by these CA certificates (PEM).
	ClientCAFile hclx.Attr `hcl:"client_ca_file,optional" type:"file"`
	// Whether clients have to show one: `required` or `optional`. One that is shown has to be good in both cases.
	ClientAuth hclx.Attr `hcl:"client_auth,optional" type:"string" default:"required"`
	// Clients' certificates must have one of these SPIFFE ids, such as `spiffe://example.org/web`; one that ends in `/*` stands for
	// all ids below it. Any that the CA has signed unless set.
	ClientSPIFFEIDs hclx.Attr `hcl:"client_spiffe_ids,optional" type:"list of strings"`
	// `1.2` or `1.3`.
	MinVersion hclx.Attr `hcl:"min_version,optional" type:"string" default:"1.2"`
	// Protocols to agree on by ALPN, the best first. Clients that offer only others are refused.
	ALPN hclx.Attr `hcl:"alpn,optional" type:"list of strings"`
	// Be this service in Consul Connect: its certificate is shown, and clients must be Connect services that
	// intentions allow.
	Connect hclx.Attr `hcl:"connect,optional" type:"string"`
	// What happens to open connections of clients that may not connect any more: `drain` lets them go on for `deny_grace`,
	// `close` cuts them, `keep` leaves them alone. See [deny.md](deny.md).
	OnDeny hclx.Attr `hcl:"on_deny,optional" type:"string" default:"drain"`
	// For how long they go on with `drain`. Those of a client that is allowed again meanwhile are not cut.
	DenyGrace hclx.Attr `hcl:"deny_grace,optional" type:"duration" default:"10s"`
	// At most so many are cut per second. 0 is no limit.
	DenyRate hclx.Attr  `hcl:"deny_rate,optional" type:"number" default:"1000"`
	Range    hclx.Range `hcl:",def_range"`
}

// rawCertificate is one of several.
type rawCertificate struct {
	// The certificate chain (PEM). Read again when it changes.
	CertFile hclx.Attr `hcl:"cert_file" type:"file"`
	// Its private key (PEM).
	KeyFile hclx.Attr `hcl:"key_file" type:"file"`
	// An OCSP response (DER) to staple to it while it is valid.
	OCSPFile hclx.Attr  `hcl:"ocsp_file,optional" type:"file"`
	Range    hclx.Range `hcl:",def_range"`
}

// rawListenerEntry may be empty: `register {}`.
type rawListenerEntry struct {
	// The Consul service name. The fleet's name unless set.
	Service hclx.Attr `hcl:"service,optional" type:"string"`
	// The port to advertise. The listener's own unless set.
	Port hclx.Attr `hcl:"port,optional" type:"number"`
}
