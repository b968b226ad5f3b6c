package config

import (
	"time"

	"argosy/agent/socket"
	"argosy/dtab"
)

// Client says how to dial the clusters whose bound id, or whose logical name, starts with Prefix.
type Client struct {
	Prefix         dtab.Prefix
	ConnectTimeout time.Duration // one dial with its TLS handshake; 1s unless set
	Retries        int           // further endpoints tried after a failed dial; 2 unless set
	RetryBudget    float64       // retries per new connection, over some seconds; 0.2 unless set
	MaxConnections int           // open to one cluster; 0: no limit
	AtLimit        string        // "refuse" unless set, or "queue" until the listener's ConnectTimeout
	ProxyProtocol  string        // "", "v1" or "v2": the header that endpoints get first
	Timeouts       ClientTimeouts
	Socket         socket.Options
	FastOpen       bool // TCP Fast Open
	TLS            *ClientTLS
	Balance        Balance
	Ejection       Ejection
	Removed        Removed
	Rebalance      *Rebalance // nil: connections stay where they are
}

// ClientTimeouts go before those of the listener; nil is not set, 0 is none.
type ClientTimeouts struct {
	FirstByte, Idle, HalfClose, Lifetime *time.Duration
}

// ClientTLS originates TLS: to a named server, or to a Connect service.
type ClientTLS struct {
	ServerName        string   // sent as SNI and, unless SPIFFEID says otherwise, expected in the certificate
	SPIFFEID          string   // expected in the certificate, in place of a name
	Pins              []string // SHA-256 of a public key (SPKI, base64); one of them must be in the chain
	ALPN              []string // offered
	StartTLS          string   // "" or "postgres": asked for before the handshake
	MinVersion        uint16   // tls.VersionTLS12 unless set
	CAFile            string   // the system's roots unless set
	CertFile, KeyFile string
	Connect           string // Consul service name to act as; the endpoint must prove the service that was asked for
}

// The policies of a balancer.
const (
	P2C         = "p2c"          // the less loaded of two drawn by weight
	LeastLoaded = "least_loaded" // the least loaded of all
	Hash        = "hash"         // rendezvous hash of what HashOn says
)

// Balance says how to choose among the endpoints of a cluster.
type Balance struct {
	Policy    string        // "p2c" unless set
	HashOn    string        // "source" unless set, or "sni"
	SlowStart time.Duration // for how long a new endpoint's weight grows from nearly nothing; 0: at once
}

// Ejection keeps connections away from endpoints that fail.
type Ejection struct {
	Failures int           // failed dials in a row; 0: never; 1 unless set
	Resets   int           // connections in a row that were accepted and reset without a byte; 0: never; 5 unless set
	Time     time.Duration // the first; doubled at each further one; 1s unless set
	MaxTime  time.Duration // 10s unless set
	MaxShare float64       // of a cluster's endpoints that may be ejected at a time; 1 unless set
}

// What becomes of the connections of an endpoint that has left.
const (
	ActionDrain = "drain" // they go on
	ActionCut   = "cut"   // they are ended, at a rate
)

// Removed says what becomes of the connections of endpoints that have left.
type Removed struct {
	Action string        // "drain" unless set, or "cut"
	After  time.Duration // how long they may go on before the first is cut
	Rate   float64       // cut per second; 10 unless set
}

// Rebalance moves the excess of connections to endpoints that have come.
type Rebalance struct {
	Rate  float64       // ended per second, so that their clients connect anew
	Quiet time.Duration // only those over which nothing has moved for so long
}
