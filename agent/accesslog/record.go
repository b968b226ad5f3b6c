// Package accesslog writes a line of JSON for what becomes of each connection.
//
//	sink, err := accesslog.Open("/var/log/argosy/access.log", os.Stdout, os.Stderr)
//	l := accesslog.New(logger, dropped)
//	l.Use(sink)                                   // from now on; Use(nil) stops it
//	l.Add(accesslog.Record{Event: "close", ...})  // never waits
//	l.Close(time.Second)                          // writes what is there, and ends
//
// A writer that is too slow, or stands still, holds up no connection: of what cannot be taken any more the lines are lost,
// and counted.
package accesslog

import (
	"encoding/json"
	"net/netip"
	"strconv"
	"time"
	"unicode/utf8"

	"argosy/dtab"
	"argosy/namer"
)

// The events of a connection.
const (
	EventOpen     = "open"     // an endpoint is connected
	EventPeriodic = "periodic" // still open
	EventClose    = "close"    // over, or refused
)

// Record is what one line tells. What is zero is left out, unless the line would be unclear without it. It is made into
// text by the writer, so that whoever moves bytes need not do so.
type Record struct {
	Time       time.Time // of the event
	Event      string
	ID         uint64
	Listener   string
	Client     netip.AddrPort // zero: a Unix socket
	Proxy      netip.AddrPort // who told the client's address in a PROXY header
	Peer       string         // who the client has proved to be
	ServerName string
	ALPN       string
	Name       dtab.Path      // where the client wanted to go
	Rewrites   *namer.Rewrite // the entries of the table that led from the name to the cluster, the last one first
	Cluster    string
	Endpoint   string
	Attempts   int // to connect an endpoint
	In, Out    int64

	// Durations since the connection was accepted; negative: not known.
	Named     time.Duration // until its name was known
	Connected time.Duration // until an endpoint was connected
	Answered  time.Duration // until the endpoint's first byte
	Duration  time.Duration // until now

	Outcome     string // of a close
	ClosedFirst string // client or server
	Error       string
}

// append writes the record as one line.
func (r *Record) append(b []byte) []byte {
	b = append(b, `{"time":"`...)
	b = r.Time.UTC().AppendFormat(b, "2006-01-02T15:04:05.000000Z07:00")
	b = append(b, `","event":"`...)
	b = append(b, r.Event...)
	b = append(b, '"')
	if r.ID > 0 { // else it was refused before it had one
		b = strconv.AppendUint(key(b, "id"), r.ID, 10)
	}
	b = member(b, "listener", r.Listener)
	if r.Client.IsValid() {
		b = address(b, "client", r.Client)
	} else {
		b = member(b, "client", "unix")
	}
	if r.Proxy.IsValid() {
		b = address(b, "proxy", r.Proxy)
	}
	b = member(b, "peer", r.Peer)
	b = member(b, "server_name", r.ServerName)
	b = member(b, "alpn", r.ALPN)
	if len(r.Name) > 0 {
		b = member(b, "name", r.Name.String())
	}
	b = rewrites(b, r.Rewrites)
	b = member(b, "cluster", r.Cluster)
	b = member(b, "endpoint", r.Endpoint)
	b = number(b, "attempts", int64(r.Attempts))
	b = number(b, "bytes_in", r.In)
	b = number(b, "bytes_out", r.Out)
	b = seconds(b, "name_seconds", r.Named)
	b = seconds(b, "connect_seconds", r.Connected)
	b = seconds(b, "first_byte_seconds", r.Answered)
	b = seconds(b, "duration_seconds", r.Duration)
	b = member(b, "outcome", r.Outcome)
	b = member(b, "closed_first", r.ClosedFirst)
	b = member(b, "error", r.Error)
	return append(b, '}', '\n')
}

// rewrites writes the entries in the order in which they were used.
func rewrites(b []byte, last *namer.Rewrite) []byte {
	if last == nil {
		return b
	}
	b = append(b, `,"dtab":[`...)
	for i, r := range last.All() {
		if i > 0 {
			b = append(b, ',')
		}
		b = append(b, `{"entry":`...)
		b = strconv.AppendInt(b, int64(r.Entry)+1, 10)
		b = append(b, `,"text":`...)
		b = quoted(b, r.Text)
		b = append(b, '}')
	}
	return append(b, ']')
}

func key(b []byte, name string) []byte {
	b = append(b, ',', '"')
	b = append(b, name...)
	return append(b, '"', ':')
}

// member writes a text, unless there is none.
func member(b []byte, name, value string) []byte {
	if value == "" {
		return b
	}
	return quoted(key(b, name), value)
}

func address(b []byte, name string, a netip.AddrPort) []byte {
	b = append(key(b, name), '"')
	return append(a.AppendTo(b), '"')
}

func number(b []byte, name string, n int64) []byte { return strconv.AppendInt(key(b, name), n, 10) }

// seconds writes a duration to the microsecond, unless it is not known.
func seconds(b []byte, name string, d time.Duration) []byte {
	if d < 0 {
		return b
	}
	return strconv.AppendFloat(key(b, name), d.Round(time.Microsecond).Seconds(), 'f', -1, 64)
}

// quoted writes a JSON string. Most need nothing but quotes.
func quoted(b []byte, s string) []byte {
	for i := range len(s) {
		if c := s[i]; c < ' ' || c == '"' || c == '\\' || c >= utf8.RuneSelf {
			text, err := json.Marshal(s)
			if err != nil { // a string has none
				text = []byte(`""`)
			}
			return append(b, text...)
		}
	}
	b = append(b, '"')
	b = append(b, s...)
	return append(b, '"')
}
