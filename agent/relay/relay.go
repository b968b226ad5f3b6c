// Package relay moves the bytes between two connections.
//
//	r := relay.New()
//	link := r.Join(relay.Pair{Client: c, Server: s, Meter: &m}, func(res relay.Result) { log(res.Outcome) })
//	...
//	link.Cut(outcome.Drained) // or wait for one of the two to close
//	r.Wait()
//
// The two directions are independent: the end of input on one side (a FIN, or close_notify under TLS) becomes the end of
// output on the other, and the opposite direction goes on. What breaks on one side is broken on the other: a reset is
// passed on as a reset, and so is a TLS connection that ends without close_notify, unless the other side has ended
// before. A side that does not take its bytes stops the reading of the other one; what is held meanwhile is bounded, and
// a connection on which nothing moves holds no buffer unless it is TLS.
//
// Goroutines is the implementation with one goroutine per direction. Whatever else moves bytes has to pass relaytest.
package relay

import (
	"net"
	"sync/atomic"
	"time"

	"argosy/agent/outcome"
)

// Relay moves bytes. Its methods may be called from any goroutine.
type Relay interface {
	// Join moves bytes until both directions have ended, closes both connections, and then calls done once, from any
	// goroutine; done must not block. Join returns at once.
	Join(p Pair, done func(Result)) Link
	// Wait returns when every pair has ended. It must not be called while Join may still be.
	Wait()
}

// Link is a pair that has been joined. Its methods may be called from any goroutine, also after the pair's end.
type Link interface {
	// Cut ends the pair early with an outcome. It does nothing after the first time or the pair's end. With outcome denied
	// both sides see a reset, and what has not been taken by then is dropped; else they see an orderly end.
	Cut(o outcome.Outcome)
	// Quiet is for how long nothing has moved in either direction, to a second or so.
	Quiet() time.Duration
}

// Pair is two open connections that are to be joined. The relay owns them from Join on and closes both.
type Pair struct {
	// Client and Server are *net.TCPConn, *net.UnixConn, *tls.Conn after its handshake, or anything else that may
	// have a CloseWrite method; without that, the end of one direction ends both. TLS should sit on a Carrier.
	Client, Server net.Conn

	// Early was read from the client before and is what the server gets first.
	Early []byte

	// Idle ends the pair, with outcome idle, when nothing has moved in either direction for so long; 0 means never.
	Idle time.Duration
	// HalfClose ends the pair, with outcome half_close, when one side has ended its output and since then the other has
	// neither sent nor taken anything for so long; 0 means never. Who has ended may still be taking, too.
	HalfClose time.Duration
	// Lifetime ends the pair, with outcome lifetime, so long after Join; 0 means never.
	Lifetime time.Duration
	// FirstByte ends the pair, with outcome idle, when the client has sent nothing for so long after Join; 0 means never.
	// Early is something that it has sent.
	FirstByte time.Duration

	// Meter counts, live; may be nil.
	Meter *Meter
}

// Meter counts the bytes that have been passed on. Its fields may be read at any time. Under a bulk transfer they lag
// by up to a megabyte, and never by more than a second while bytes arrive slowly.
type Meter struct {
	In  atomic.Int64 // from the client to the server
	Out atomic.Int64 // from the server to the client

	// Parent, if set before the meter is used, counts the same bytes for a group of pairs.
	Parent *Meter
}

func (m *Meter) add(from Side, n int64) {
	for ; m != nil; m = m.Parent {
		if from == Client {
			m.In.Add(n)
		} else {
			m.Out.Add(n)
		}
	}
}

// Side is one of the two connections of a pair.
type Side uint8

// The sides.
const (
	Neither Side = iota
	Client
	Server
)

func (s Side) String() string { return [...]string{"neither", "client", "server"}[s] }

// Result tells how a pair ended.
type Result struct {
	// Outcome is OK when both sides have closed in an orderly way, Reset when one broke off or was cut off, Denied when
	// the server refused us by a TLS alert before its first byte (TLS 1.3 tells that only after the handshake), TLS when
	// what came was not TLS any more, one of the limits' outcomes, or what the pair was cut with.
	Outcome outcome.Outcome
	// First is the side that closed or broke first; Neither when the relay did.
	First Side
	// Err is what broke, for Reset, Denied and TLS.
	Err error
	// Answered is how long after Join the server's first byte came; 0 if none did.
	Answered time.Duration
}
