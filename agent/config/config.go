// Package config is the agent's configuration: the HCL that operators write, checked as a whole, with every complaint
// at its file, line and column.
package config

import (
	"time"

	"argosy/dtab"
	"argosy/internal/settings"
	"argosy/namer/mounts"
)

// Config is a validated agent configuration. It is a value that is not changed after loading.
type Config struct {
	Name      string // of the fleet, "argosy" unless set; also the default Consul service name
	Log       settings.Log
	Admin     Admin
	Consul    settings.Consul
	Connect   Connect
	Dtab      Dtab
	Namers    []mounts.Namer // in the order of the files; the last one is asked first, as Linkerd does
	Listeners []Listener
	Clients   []Client // in the order of the files; the first whose prefix matches applies
	Register  *Register
	Drain     Drain
	Relay     Relay
	AccessLog *AccessLog // nil: none
	Handover  string     // absolute path of a Unix socket to hand the listening sockets over; "": they are not

	Interpreter *Interpreter // set: binds all names, and Dtab and Namers are empty
}

// Admin is the HTTP endpoint for /metrics, /health and /v1/, at "127.0.0.1:9990" unless set.
type Admin = settings.Door

// Dtab says where the table comes from: exactly one of Consul, Namerd and Static.
type Dtab struct {
	Namespace string // "default" unless set
	Consul    *DtabConsul
	Namerd    *Namerd
	Static    *dtab.Dtab
	Local     dtab.Dtab // entries appended to the table, so they win

	EmptyStops         bool          // an alternative without endpoints is used all the same
	AlternativeTimeout time.Duration // how long one that is not known holds up the next; 0: for ever
	SnapshotDir        string        // keeps the table over a restart; "": it is not kept
	MaxNames           int           // that clients choose, at a time; 0: 1000
	MaxWatches         int           // at a time; 0: 10,000
}

// DtabConsul reads the table from Consul's KV store, in the layout of Namerd.
type DtabConsul struct {
	PathPrefix string // "namerd/dtabs" unless set; without slashes at its ends
}

// Namerd is one that tables are read from, or that binds names.
type Namerd struct {
	Address           string // base URL, such as http://127.0.0.1:4180
	TokenFile         string
	CAFile            string // for https; the system's roots unless set
	CertFile, KeyFile string // to show over https
}

// Interpreter has names bound by a namerd.
type Interpreter struct {
	Namerd
	Namespace    string // "default" unless set
	Local        dtab.Dtab
	Mode         string        // "auto" unless set; "stream" or "poll"
	PollInterval time.Duration // 10s unless set
	MaxStreams   int           // 1000 unless set
}

// Register puts the agent into Consul's catalog.
type Register struct {
	ID              string // unique; made from service, node and admin port unless set
	Tags            []string
	Meta            map[string]string
	Address         string        // to advertise; the listener's address unless set
	Registration    string        // "auto" unless set; "self" or "external"
	Check           string        // "ttl" unless set; "http" or "none"
	TTL             time.Duration // 30s unless set, and at least
	TCPCheck        bool          // for listeners that do not speak Connect
	CheckInterval   time.Duration // of HTTP and TCP checks; 5s unless set
	CheckTimeout    time.Duration // 2s unless set
	DeregisterAfter time.Duration // 10m unless set: when critical for so long, Consul removes it
}

// ListenerEntry is a listener's own entry in the catalog.
type ListenerEntry struct {
	Service string // Config.Name unless set
	Port    int    // to advertise; the listener's own unless set
	Native  bool   // the port speaks Connect: set from the listener's TLS
}

// Relay says how bytes are moved.
type Relay struct {
	Engine  string // "auto" unless set; "loop" or "goroutines"
	Workers int    // of the event loop; 0: one for each CPU
}

// AccessLog writes a line of JSON for each connection.
type AccessLog struct {
	File     string        // "stdout", "stderr" or a path
	Open     bool          // also when a connection has been opened
	Interval time.Duration // also so often while it is open; 0: not
}

// Drain is the order of leaving.
type Drain struct {
	Propagation time.Duration // after deregistering, how long connections are still accepted; 3s unless set, 0 without registration
	Timeout     time.Duration // how long open connections may then go on; 30s unless set
}
