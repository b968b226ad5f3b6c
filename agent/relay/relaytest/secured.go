package relaytest

import (
	"crypto/tls"
	"errors"
	"io"
	"net"
	"os"
	"testing"
	"time"

	"argosy/agent/outcome"
	"argosy/agent/relay"
)

// secured are the sides of a pair that speak TLS.
func (e *env) secured() (sides []relay.Side) {
	if e.tlsClient {
		sides = append(sides, relay.Client)
	}
	if e.tlsServer {
		sides = append(sides, relay.Server)
	}
	return sides
}

// tlsCut: TLS that ends without close_notify, between two records or within one, is no orderly end for the other side.
func tlsCut(t *testing.T, e *env) {
	for _, side := range e.secured() {
		for _, last := range [][]byte{nil, {23, 3, 3, 0, 100, 1, 2, 3}} {
			w := e.join(nil)
			it, other := w.far(side)
			write(t, it, []byte("pay 100"))
			read(t, other, 7)
			write(t, bare(it), last)
			if err := bare(it).CloseWrite(); err != nil {
				t.Fatal(err)
			}
			readReset(t, other)
			w.expect(outcome.Reset, side, -1, -1)
		}
	}
}

// tlsCutAnswer: whoever has been told the end may close without a word.
func tlsCutAnswer(t *testing.T, e *env) {
	for _, side := range e.secured() {
		w := e.join(nil)
		it, other := w.far(side)
		write(t, it, []byte("hello"))
		read(t, other, 5)
		closeWrite(t, other)
		readEnd(t, it)
		if err := bare(it).Close(); err != nil {
			t.Fatal(err)
		}
		readEnd(t, other)
		if r := w.end(); r.Outcome != outcome.OK || r.First == side {
			t.Errorf("ended as %s, %s first (%v)", r.Outcome, r.First, r.Err)
		}
	}
}

// tlsEndAndReset: a side that ends its output, and at once has its socket reset, is gone for the other one, which may be
// waiting for it without a word. Where the end is seen before the reset comes, the other one is told of that.
func tlsEndAndReset(t *testing.T, e *env) {
	for _, side := range e.secured() {
		for range 50 {
			w := e.join(nil)
			it, other := w.far(side)
			write(t, other, []byte("hello"))
			closeWrite(t, it)
			relay.Abort(bare(it))
			other.SetReadDeadline(time.Now().Add(patience))
			if _, err := io.Copy(io.Discard, other); errors.Is(err, os.ErrDeadlineExceeded) {
				t.Fatalf("the %s has reset its connection, and the other side has not been told", side)
			}
			other.Close()
			w.end()
		}
	}
}

// tlsGarbage: what is no TLS record, and a record that does not decrypt.
func tlsGarbage(t *testing.T, e *env) {
	for _, side := range e.secured() {
		for _, garbage := range [][]byte{
			[]byte("GET / HTTP/1.1\r\nHost: example.com\r\n\r\n"),
			append([]byte{23, 3, 3, 0, 40}, make([]byte, 40)...),
		} {
			w := e.join(nil)
			it, other := w.far(side)
			write(t, it, []byte("hello"))
			read(t, other, 5)
			write(t, bare(it), garbage)
			readReset(t, other)
			w.expect(outcome.TLS, side, -1, -1)
		}
	}
}

// tlsDenied: a server that wants a certificate says so only after the client's handshake, under TLS 1.3.
func tlsDenied(t *testing.T, e *env) {
	far, secured := refused(t)
	w := e.join(func(p *relay.Pair) {
		p.Server.Close()
		p.Server = secured
	})
	w.expectDenied()
	far.Close()
}

// tlsDeniedAndGone: the server has refused us and is gone before the client's first bytes come. That they cannot be
// written is noticed first, and the alert that says why all the same.
func tlsDeniedAndGone(t *testing.T, e *env) {
	far, secured := refused(t)
	far.Close()
	write(t, secured, []byte("x")) // is answered with a reset
	for range 100 {
		time.Sleep(5 * time.Millisecond)
		if _, err := bare(secured).Write([]byte("x")); err != nil {
			break // it is here
		}
	}
	w := e.join(func(p *relay.Pair) {
		p.Server.Close()
		p.Server, p.Early = secured, []byte("hello")
	})
	w.expectDenied()
}

// refused is a connection whose server refuses us after our handshake.
func refused(t *testing.T) (far net.Conn, secured *tls.Conn) {
	t.Helper()
	far, near := sockets(t, false, true)
	server, client := Certificate(t)
	server.ClientAuth = tls.RequireAnyClientCert
	refusing := make(chan struct{})
	go func() {
		defer close(refusing)
		if tls.Server(far, server).Handshake() == nil {
			t.Error("the server asks for no certificate")
		}
	}()
	secured = tls.Client(relay.Carry(near), client)
	if err := secured.Handshake(); err != nil {
		t.Fatalf("handshake: %v", err)
	}
	<-refusing
	return far, secured
}

func (w *world) expectDenied() {
	w.t.Helper()
	readReset(w.t, w.client)
	r := w.end()
	if r.Outcome != outcome.Denied || r.First != relay.Server || r.Err == nil || r.Answered != 0 {
		w.t.Errorf("ended as %s, %s first (%v), answered after %v", r.Outcome, r.First, r.Err, r.Answered)
	}
}

// tlsTickets: what a TLS server sends on its own after the handshake is no answer.
func tlsTickets(t *testing.T, e *env) {
	w := e.join(func(p *relay.Pair) { p.FirstByte = 600 * time.Millisecond })
	since := time.Now()
	r := w.end()
	if r.Outcome != outcome.Idle || r.Answered != 0 {
		t.Errorf("ended as %s, answered after %v: tickets are no bytes of the server", r.Outcome, r.Answered)
	}
	if took := time.Since(since); took < 300*time.Millisecond {
		t.Errorf("ended after %v", took)
	}
	if n := w.meter.Out.Load(); n != 0 {
		t.Errorf("counted %d bytes", n)
	}
	if _, err := w.client.Read(make([]byte, 1)); err != io.EOF {
		t.Errorf("the client reads %v", err)
	}
}
