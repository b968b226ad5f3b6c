// Package settings holds the parts that the configurations of agent, namerd and scheduler share.
package settings

import (
	"log/slog"
	"os"
	"strings"
	"time"
)

// Log says how to log.
type Log struct {
	Level  string // trace, debug, info, warn, error; info unless set
	Format string // text or json; text unless set
}

// Consul says how to reach the local Consul agent. What is not set comes from Consul's usual environment variables.
type Consul struct {
	Address    string // host:port, URL, or unix:///path; 127.0.0.1:8500 unless set
	Token      Secret
	TokenFile  string // read again whenever it changes; goes before Token
	Datacenter string
	CAFile     string
	CertFile   string
	KeyFile    string
	ServerName string        // that Consul's certificate is for; that of Address unless set
	Timeout    time.Duration // for requests that do not block; 10s unless set

	// WatchConnections is how many watched services have a connection of their own; 0: DefaultWatchConnections.
	WatchConnections int
}

// Consul answers at most 200 connections of one address (http_max_conns_per_client).
const (
	DefaultWatchConnections = 80
	MostWatchConnections    = 96
)

// Nomad says how to reach Nomad. What is not set comes from Nomad's usual environment variables.
type Nomad struct {
	Address                   string // base URL, or unix:///path; http://127.0.0.1:4646 unless set
	Token                     Secret
	TokenFile                 string // read again for every request; goes before Token
	Region                    string // that of the agent that is asked unless set
	CAFile, CertFile, KeyFile string
}

// Secret is a value that never prints.
type Secret struct{ value string }

// NewSecret wraps a secret value.
func NewSecret(v string) Secret { return Secret{v} }

// SecretFromFile reads a secret, without surrounding white space, from a file.
func SecretFromFile(path string) (Secret, error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return Secret{}, err
	}
	return Secret{strings.TrimSpace(string(b))}, nil
}

// TokenFromFile reads the first token of a file that has one on each line.
func TokenFromFile(path string) (Secret, error) {
	all, err := SecretFromFile(path)
	if err != nil {
		return Secret{}, err
	}
	first, _, _ := strings.Cut(all.value, "\n")
	return Secret{strings.TrimSpace(first)}, nil
}

// Reveal returns the value, for the one place that sends it.
func (s Secret) Reveal() string { return s.value }

// IsZero reports whether there is no value.
func (s Secret) IsZero() bool { return s.value == "" }

const hidden = "(secret)"

// String, GoString, MarshalText and LogValue keep the value out of every kind of output.
func (s Secret) String() string               { return hidden }
func (s Secret) GoString() string             { return hidden }
func (s Secret) MarshalText() ([]byte, error) { return []byte(hidden), nil }
func (s Secret) LogValue() slog.Value         { return slog.StringValue(hidden) }
