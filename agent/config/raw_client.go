package config

import "argosy/internal/hclx"

// rawClient holds for new connections only.
type rawClient struct {
	Prefix      string     `hcl:"prefix,label"`
	PrefixRange hclx.Range `hcl:"prefix,label_range"`
	// For one attempt to connect, with its TLS handshake.
	ConnectTimeout hclx.Attr `hcl:"connect_timeout,optional" type:"duration" default:"1s"`
	// After a failed attempt, at most so many other endpoints are tried.
	Retries hclx.Attr `hcl:"retries,optional" type:"number" default:"2"`
	// Retries per new connection to the name, over the last ten seconds and beside three per second: a cluster in trouble is
	// not to get many times its load.
	RetryBudget hclx.Attr `hcl:"retry_budget,optional" type:"number" default:"0.2"`
	// At most so many connections are open to one cluster. 0 is no limit.
	MaxConnections hclx.Attr `hcl:"max_connections,optional" type:"number" default:"0"`
	// What happens to a connection at that limit: `refuse` closes it, `queue` lets it wait, at most for the listener's
	// `connect_timeout`.
	AtLimit hclx.Attr `hcl:"at_limit,optional" type:"string" default:"refuse"`
	// Endpoints get a PROXY header first: `v1` or `v2`. That of v2 also tells the client's server name, ALPN protocol and
	// verified identity.
	ProxyProtocol hclx.Attr `hcl:"proxy_protocol,optional" type:"string"`
	// Goes before the listener's.
	IdleTimeout hclx.Attr `hcl:"idle_timeout,optional" type:"duration"`
	// Goes before the listener's.
	FirstByteTimeout hclx.Attr `hcl:"first_byte_timeout,optional" type:"duration"`
	// Goes before the listener's.
	HalfCloseTimeout hclx.Attr `hcl:"half_close_timeout,optional" type:"duration"`
	// Goes before the listener's.
	MaxLifetime hclx.Attr `hcl:"max_lifetime,optional" type:"duration"`
	// The settings of dialled sockets.
	Socket *rawClientSocket `hcl:"socket,block"`
	// How to choose among the endpoints of a cluster.
	Balance *rawBalance `hcl:"balance,block"`
	// When to keep connections away from an endpoint that fails.
	Ejection *rawEjection `hcl:"ejection,block"`
	// What becomes of the connections of endpoints that have left.
	Removed *rawRemoved `hcl:"removed,block"`
	// Move the excess of connections to endpoints that have come.
	Rebalance *rawRebalance `hcl:"rebalance,block"`
	// Originate TLS. Without this block bytes are passed on as they come.
	TLS   *rawClientTLS `hcl:"tls,block"`
	Range hclx.Range    `hcl:",def_range"`
}

// rawClientSocket has the settings of dialled sockets.
type rawClientSocket struct {
	// Send small segments at once (TCP_NODELAY).
	NoDelay hclx.Attr `hcl:"no_delay,optional" type:"boolean" default:"true"`
	// Ask a quiet peer so often whether it is still there. 0 is never.
	KeepAlive hclx.Attr `hcl:"keepalive,optional" type:"duration" default:"15s"`
	// Give a connection up when sent bytes stay unacknowledged for so long (TCP_USER_TIMEOUT). 0 is as the system has it.
	UserTimeout hclx.Attr `hcl:"user_timeout,optional" type:"duration" default:"0s"`
	// The mark of the packets (SO_MARK), which needs CAP_NET_ADMIN. 0 is none.
	Mark hclx.Attr `hcl:"mark,optional" type:"number" default:"0"`
	// Send the first bytes along with the SYN where the endpoint allows it (TCP Fast Open).
	FastOpen hclx.Attr `hcl:"fast_open,optional" type:"boolean" default:"false"`
}

// rawBalance chooses after a cluster has been drawn by its weight.
type rawBalance struct {
	// `p2c`: the less loaded of two that are drawn by weight. `least_loaded`: the least loaded of all. `hash`: always the same
	// one for the same client, as long as it is there (rendezvous hashing, by weight).
	Policy hclx.Attr `hcl:"policy,optional" type:"string" default:"p2c"`
	// What `hash` looks at: `source`, the client's IP address, or `sni`, its server name.
	HashOn hclx.Attr `hcl:"hash_on,optional" type:"string" default:"source"`
	// For so long the weight of an endpoint that has come grows to its full value. 0 is at once.
	SlowStart hclx.Attr `hcl:"slow_start,optional" type:"duration" default:"0s"`
}

// rawEjection takes an endpoint out for a while. Then one connection is let through to it, and only if that succeeds do
// others follow.
type rawEjection struct {
	// After so many failed attempts to connect in a row. 0 is never.
	Failures hclx.Attr `hcl:"failures,optional" type:"number" default:"1"`
	// After so many connections in a row that it accepted and then reset without a byte. 0 is never.
	Resets hclx.Attr `hcl:"resets,optional" type:"number" default:"5"`
	// For so long the first time, and twice as long each further time.
	Time hclx.Attr `hcl:"time,optional" type:"duration" default:"1s"`
	// At most for so long.
	MaxTime hclx.Attr `hcl:"max_time,optional" type:"duration" default:"10s"`
	// At most this share of a cluster's endpoints is out at a time.
	MaxShare hclx.Attr `hcl:"max_share,optional" type:"number" default:"1"`
}

// rawRemoved is about open connections; new ones never go to an endpoint that has left.
type rawRemoved struct {
	// `drain` lets them go on until they end by themselves, `cut` ends them.
	Action hclx.Attr `hcl:"action,optional" type:"string" default:"drain"`
	// How long they may go on before the first one is cut.
	After hclx.Attr `hcl:"after,optional" type:"duration" default:"0s"`
	// So many are cut per second.
	Rate hclx.Attr `hcl:"rate,optional" type:"number" default:"10"`
}

// rawRebalance ends connections of endpoints that have more than their fair share after others have come, so that their
// clients connect anew: never more than the excess, the quietest first.
type rawRebalance struct {
	// So many are ended per second.
	Rate hclx.Attr `hcl:"rate,optional" type:"number" default:"1"`
	// Only those over which nothing has moved for so long.
	Quiet hclx.Attr `hcl:"quiet,optional" type:"duration" default:"1s"`
}

// rawClientTLS needs one of `server_name`, `spiffe_id`, `pins` and `connect`.
type rawClientTLS struct {
	// The name that is asked for (SNI), and that the endpoint's certificate must have unless `spiffe_id` says otherwise.
	ServerName hclx.Attr `hcl:"server_name,optional" type:"string"`
	// The SPIFFE id that the endpoint's certificate must have, such as `spiffe://example.org/db`.
	SPIFFEID hclx.Attr `hcl:"spiffe_id,optional" type:"string"`
	// The SHA-256 of a public key (SubjectPublicKeyInfo, base64); one of them must be that of the endpoint's certificate or
	// of one that signed it. With `ca_file` or a name these must be right, too; alone they are enough.
	Pins hclx.Attr `hcl:"pins,optional" type:"list of strings"`
	// Protocols to offer by ALPN.
	ALPN hclx.Attr `hcl:"alpn,optional" type:"list of strings"`
	// Ask for TLS in the protocol's own way first: `postgres`.
	StartTLS hclx.Attr `hcl:"starttls,optional" type:"string"`
	// `1.2` or `1.3`.
	MinVersion hclx.Attr `hcl:"min_version,optional" type:"string" default:"1.2"`
	// The CA certificates (PEM) to check it against. The system's unless set.
	CAFile hclx.Attr `hcl:"ca_file,optional" type:"file"`
	// The client certificate (PEM) to show; with `key_file`.
	CertFile hclx.Attr `hcl:"cert_file,optional" type:"file"`
	// The private key (PEM) of `cert_file`.
	KeyFile hclx.Attr `hcl:"key_file,optional" type:"file"`
	// Be this service in Consul Connect; the endpoint must prove to be the service that was asked for.
	Connect hclx.Attr  `hcl:"connect,optional" type:"string"`
	Range   hclx.Range `hcl:",def_range"`
}
