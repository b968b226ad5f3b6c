package config

import (
	"argosy/internal/hclx"
	"argosy/namer/mounts"
)

//go:generate go run argosy/internal/hclx/refgen -root ../..

// rawConfig is what stands in the files. Its comments are the reference that operators read.
type rawConfig struct {
	// The name of the fleet: in logs, and the Consul service name of listeners that do not give one.
	Name hclx.Attr `hcl:"name,optional" type:"string" default:"argosy"`
	// How to log.
	Log *hclx.LogBlock `hcl:"log,block"`
	// The HTTP endpoint for operators and Prometheus: `/metrics`, `/health`, `/ready`, `/drain` and `/v1/`.
	Admin *hclx.DoorBlock `hcl:"admin,block"`
	// How to reach the Consul agent of this machine.
	Consul *hclx.ConsulBlock `hcl:"consul,block"`
	// Where the certificates of `tls { connect = ... }` come from.
	Connect *rawConnect `hcl:"connect,block"`
	// Where the table comes from that names are looked up in. Required, unless there is an interpreter block.
	Dtab *rawDtab `hcl:"dtab,block"`
	// Have all names bound elsewhere, in place of a dtab and namers. The label is `namerd`.
	Interpreter *rawInterpreter `hcl:"interpreter,block"`
	// A catalog that names can end in. The label is its kind; the last one is asked first. Names below `/$/` need none.
	Namers []mounts.Block `hcl:"namer,block"`
	// A place to accept connections. The label is the listener's name in logs and metrics.
	Listeners []rawListener `hcl:"listener,block"`
	// How to dial endpoints. The label is a prefix of names, such as `/svc/redis` or `/#/io.l5d.consul/*/redis`; it is
	// compared with the name of the listener's destination and with the concrete name it ended in. The first block
	// that fits applies.
	Clients []rawClient `hcl:"client,block"`
	// What all listeners with a register block have in common in Consul's catalog.
	Register *rawRegister `hcl:"register,block"`
	// How bytes are moved.
	Relay *rawRelay `hcl:"relay,block"`
	// Write a line of JSON for each connection.
	AccessLog *rawAccessLog `hcl:"access_log,block"`
	// Hand the listening sockets to the process that follows this one.
	Handover *rawHandover `hcl:"handover,block"`
	// The order of leaving on SIGTERM.
	Drain *rawDrain `hcl:"drain,block"`
}

// rawDtab needs exactly one source: `consul`, `namerd`, `static` or `file`.
type rawDtab struct {
	// Which table, in a store that has several: letters, digits, `-` and `_`.
	Namespace hclx.Attr `hcl:"namespace,optional" type:"string" default:"default"`
	// The table itself: entries `/prefix => /path` with `;` between them. Later entries win.
	Static hclx.Attr `hcl:"static,optional" type:"dtab"`
	// A file that holds the table. Read at start and at every reload.
	File hclx.Attr `hcl:"file,optional" type:"file"`
	// Entries that are appended to the table, and so win over it, in this agent only.
	Local hclx.Attr `hcl:"local,optional" type:"dtab"`
	// What an alternative without endpoints is: in `/a | /b`, with `next`, b is used while a is known and has none; with
	// `stop`, a is used all the same, as in Linkerd, and connections fail.
	OnEmpty hclx.Attr `hcl:"on_empty,optional" type:"string" default:"next"`
	// How long an alternative of which nothing is known yet holds up the next one; it is used as soon as it is known. `0s`:
	// until it is known, as in Linkerd.
	AlternativeTimeout hclx.Attr `hcl:"alternative_timeout,optional" type:"duration" default:"2s"`
	// How many names that clients choose are followed at a time. One more takes the place of one without connections, or
	// is refused.
	MaxNames hclx.Attr `hcl:"max_names,optional" type:"number" default:"1000"`
	// How many services are watched at a time. Names that need more are refused; a tenth is not for names that clients
	// choose.
	MaxWatches hclx.Attr `hcl:"max_watches,optional" type:"number" default:"10000"`
	// A folder that keeps the table of `consul` or `namerd` for the next start, should the store not answer then. The same
	// folder may keep what namers know. Not kept unless set.
	SnapshotDir hclx.Attr `hcl:"snapshot_dir,optional" type:"folder"`
	// The table lives in Consul's KV store, and is watched there.
	Consul *rawDtabConsul `hcl:"consul,block"`
	// The table lives in a namerd, and is watched there.
	Namerd *rawNamerd `hcl:"namerd,block"`
	Range  hclx.Range `hcl:",def_range"`
}

// rawDtabConsul reads the layout that Namerd has in Consul: one key for each namespace.
type rawDtabConsul struct {
	// The folder of the keys.
	PathPrefix hclx.Attr `hcl:"path_prefix,optional" type:"string" default:"namerd/dtabs"`
}

// rawNamerd follows the table through the HTTP API of a namerd.
type rawNamerd struct {
	// The base URL.
	Address hclx.Attr `hcl:"address,optional" type:"url" default:"http://127.0.0.1:4180"`
	// A file that holds a bearer token to send.
	TokenFile hclx.Attr `hcl:"token_file,optional" type:"file"`
	// The CA certificates (PEM) that namerd's HTTPS certificate is checked against; the system's unless set.
	CAFile hclx.Attr `hcl:"ca_file,optional" type:"file"`
	// The client certificate (PEM) to show to namerd; with `key_file`.
	CertFile hclx.Attr `hcl:"cert_file,optional" type:"file"`
	// The private key (PEM) of `cert_file`.
	KeyFile hclx.Attr `hcl:"key_file,optional" type:"file"`
}

// rawInterpreter asks a namerd what each name stands for, this project's or Namerd 1.x: with its table, and its namers.
// Endpoints that come so have no Connect identity.
type rawInterpreter struct {
	Kind      string     `hcl:"kind,label"`
	KindRange hclx.Range `hcl:"kind,label_range"`
	// The base URL.
	Address hclx.Attr `hcl:"address,optional" type:"url" default:"http://127.0.0.1:4180"`
	// Which table, of those the namerd has: letters, digits, `-` and `_`.
	Namespace hclx.Attr `hcl:"namespace,optional" type:"string" default:"default"`
	// Entries that are sent along with each name, and so win over the table, in this agent only. Their weights have two
	// decimals.
	Local hclx.Attr `hcl:"local,optional" type:"dtab"`
	// A file that holds a bearer token to send.
	TokenFile hclx.Attr `hcl:"token_file,optional" type:"file"`
	// The CA certificates (PEM) that namerd's HTTPS certificate is checked against; the system's unless set.
	CAFile hclx.Attr `hcl:"ca_file,optional" type:"file"`
	// The client certificate (PEM) to show to namerd; with `key_file`.
	CertFile hclx.Attr `hcl:"cert_file,optional" type:"file"`
	// The private key (PEM) of `cert_file`.
	KeyFile hclx.Attr `hcl:"key_file,optional" type:"file"`
	// `stream` follows names by streams; `poll` asks again and again, as linkerd-tcp does; `auto` streams, and polls
	// where streams do not work.
	Mode hclx.Attr `hcl:"mode,optional" type:"string" default:"auto"`
	// Between two polls of a name.
	PollInterval hclx.Attr `hcl:"poll_interval,optional" type:"duration" default:"10s"`
	// At most so many streams are open: one for each name and one for each cluster. Each is a connection, unless the
	// namerd speaks HTTP/2.
	MaxStreams hclx.Attr  `hcl:"max_streams,optional" type:"number" default:"1000"`
	Range      hclx.Range `hcl:",def_range"`
}

// rawRegister may be left out when a listener's register block is all there is to say.
type rawRegister struct {
	// The id of the entries, unique in the whole of Consul; with several listeners their ports are added. Made from
	// service name, Nomad allocation or host name, and port unless set.
	ID hclx.Attr `hcl:"id,optional" type:"string"`
	// Tags.
	Tags hclx.Attr `hcl:"tags,optional" type:"list of strings"`
	// Further metadata; `version`, `admin` and `routes` are set by the agent.
	Meta hclx.Attr `hcl:"meta,optional" type:"map of strings"`
	// The address to advertise. The listener's unless set; that of the Consul agent where the listener has none.
	Address hclx.Attr `hcl:"address,optional" type:"string"`
	// Who registers. `self`: the agent. `external`: somebody else, and the agent only looks. `auto`: Nomad, where within 5 s of
	// the start it has registered a service of that name for the agent's allocation; else the agent.
	Registration hclx.Attr `hcl:"registration,optional" type:"string" default:"auto"`
	// What tells Consul that the agent can serve. `ttl`: the agent does. `http`: Consul asks the admin endpoint, which it must
	// reach. `none`: nothing.
	Check hclx.Attr `hcl:"check,optional" type:"string" default:"ttl"`
	// An agent that has told Consul nothing for so long is critical, with `ttl`. It tells three times as often. At least 30s:
	// without a leader Consul takes its time.
	TTL hclx.Attr `hcl:"ttl,optional" type:"duration" default:"30s"`
	// Have Consul connect the listeners as well. Each time is a connection like a client's. Not for listeners that speak
	// Connect, where it would be a handshake that fails.
	TCPCheck hclx.Attr `hcl:"tcp_check,optional" type:"boolean" default:"false"`
	// How often Consul asks, with `http`, or connects, with `tcp_check`.
	CheckInterval hclx.Attr `hcl:"check_interval,optional" type:"duration" default:"5s"`
	// How long Consul waits for the answer, or the connection.
	CheckTimeout hclx.Attr `hcl:"check_timeout,optional" type:"duration" default:"2s"`
	// An entry that is critical for so long is removed by Consul, which takes a minute at least.
	DeregisterAfter hclx.Attr  `hcl:"deregister_after,optional" type:"duration" default:"10m"`
	Range           hclx.Range `hcl:",def_range"`
}

// rawDrain has two times: the agent becomes critical in the catalog, goes on accepting for `propagation`, stops accepting,
// waits at most `timeout` for open connections, closes what is left, and leaves the catalog. A Nomad job's `kill_timeout` has
// to be longer than both together.
type rawDrain struct {
	// How long connections are still accepted after that. `3s` unless set, `0s` for agents that register nothing.
	Propagation hclx.Attr `hcl:"propagation,optional" type:"duration"`
	// How long open connections may then go on.
	Timeout hclx.Attr `hcl:"timeout,optional" type:"duration" default:"30s"`
}

// rawRelay is for those who compare.
type rawRelay struct {
	// `loop` is the event loop, on Linux; `goroutines` gives each connection two of them; `auto` takes the loop where there
	// is one. A change needs a restart.
	Engine hclx.Attr `hcl:"engine,optional" type:"string" default:"auto"`
	// Threads of the event loop; 0 is one for each CPU. A change needs a restart.
	Workers hclx.Attr `hcl:"workers,optional" type:"number" default:"0"`
}

// rawAccessLog tells of each connection who, by which entry of the table, to which endpoint, bytes, times and outcome.
type rawAccessLog struct {
	// `stdout`, `stderr`, or the file to append to. It is opened again on SIGHUP, so that it can be rotated.
	File hclx.Attr `hcl:"file,optional" type:"string" default:"stdout"`
	// Also when a connection has been opened.
	Open hclx.Attr `hcl:"open,optional" type:"boolean" default:"false"`
	// Also so often while a connection is open; 0 is not.
	Interval hclx.Attr `hcl:"interval,optional" type:"duration" default:"0s"`
}

// rawHandover lets a new process, started with the same block, take over from a running one: it gets the listening sockets,
// begins to serve, and only then the old one stops accepting and drains. No connection is refused meanwhile.
type rawHandover struct {
	// The path of a Unix socket in a folder that both can write to, such as `/run/argosy/edge.handover`. Required.
	Socket hclx.Attr  `hcl:"socket" type:"string"`
	Range  hclx.Range `hcl:",def_range"`
}
