package relaytest

import (
	"io"
	"net"
	"testing"
	"time"

	"argosy/agent/outcome"
	"argosy/agent/relay"
)

// pace notes how long a case has been held up by a slow machine at worst.
type pace struct {
	last    time.Time
	longest time.Duration
}

func (p *pace) step() {
	now := time.Now()
	if !p.last.IsZero() {
		p.longest = max(p.longest, now.Sub(p.last))
	}
	p.last = now
}

// unhurried runs a case that has to do something again and again within a limit: anew and with more time, if it failed
// because it did not get its turn.
func unhurried(t *testing.T, limit time.Duration, attempt func(limit time.Duration, p *pace) error) {
	t.Helper()
	for {
		p := &pace{}
		err := attempt(limit, p)
		p.step()
		if err == nil {
			return
		}
		if p.longest < limit/2 || limit > patience/2 {
			t.Fatalf("with a limit of %v, held up for %v at most: %v", limit, p.longest, err)
		}
		limit *= 4
	}
}

// exchange sends one byte from one peer to the other.
func exchange(from, to net.Conn) error {
	if _, err := from.Write([]byte("x")); err != nil {
		return err
	}
	_, err := io.ReadFull(to, make([]byte, 1))
	return err
}

// limited checks that w ends by a limit, no sooner than after so long since, and that both peers see an orderly end.
func (w *world) limited(o outcome.Outcome, first relay.Side, since time.Time, least time.Duration) {
	w.t.Helper()
	r := w.end()
	if r.Outcome != o || r.First != first {
		w.t.Errorf("ended as %s, %s first (%v), want %s, %s", r.Outcome, r.First, r.Err, o, first)
	}
	if took := time.Since(since); took < least {
		w.t.Errorf("ended after %v, want %v at least", took, least)
	}
	readEnd(w.t, w.client)
	readEnd(w.t, w.server)
}

// halfCloseActive: a pair of which one side has ended goes on while the other side sends.
func halfCloseActive(t *testing.T, e *env) {
	unhurried(t, 700*time.Millisecond, func(limit time.Duration, p *pace) error {
		w := e.join(func(p *relay.Pair) { p.HalfClose = limit })
		closeWrite(t, w.client)
		readEnd(t, w.server)
		var last time.Time
		for range 20 { // twice the limit in all
			p.step()
			last = time.Now()
			if err := exchange(w.server, w.client); err != nil {
				return err
			}
			time.Sleep(limit / 10)
		}
		w.limited(outcome.HalfClose, relay.Client, last, limit)
		return nil
	})
}

// halfCloseSilent: the limit counts from the end of the first side, whichever that is, and not before.
func halfCloseSilent(t *testing.T, e *env) {
	const limit = 400 * time.Millisecond
	w := e.join(func(p *relay.Pair) { p.HalfClose = limit })
	write(t, w.client, []byte("x"))
	read(t, w.server, 1)
	time.Sleep(2 * limit) // both are open, so this is no matter
	since := time.Now()
	closeWrite(t, w.server)
	readEnd(t, w.client)
	w.limited(outcome.HalfClose, relay.Server, since, limit)
}

// halfCloseUntaken: a side that has ended, and takes nothing of what the other one sent before it ended, too.
func halfCloseUntaken(t *testing.T, e *env) {
	const limit = 500 * time.Millisecond
	w := e.join(func(p *relay.Pair) { p.HalfClose = limit })
	closeWrite(t, w.client)
	readEnd(t, w.server)
	stuck := w.fill(w.server)
	r := w.end()
	if r.Outcome != outcome.HalfClose || r.First != relay.Client {
		t.Errorf("ended as %s, %s first (%v), want half_close, client", r.Outcome, r.First, r.Err)
	}
	<-stuck
}

// halfCloseForever: without the limit a half-closed pair stays, and the idle limit holds for it as for others.
func halfCloseForever(t *testing.T, e *env) {
	unhurried(t, 800*time.Millisecond, func(limit time.Duration, p *pace) error {
		p.step()
		w := e.join(func(p *relay.Pair) { p.Idle = limit })
		closeWrite(t, w.client)
		readEnd(t, w.server)
		since := time.Now()
		if err := exchange(w.server, w.client); err != nil {
			return err
		}
		w.limited(outcome.Idle, relay.Client, since, limit)
		return nil
	})
}

// lifetime ends a pair that is as busy as can be.
func lifetime(t *testing.T, e *env) {
	const limit = 700 * time.Millisecond
	w := e.join(func(p *relay.Pair) { p.Lifetime, p.Idle = limit, time.Hour })
	since := time.Now()
	for {
		if _, err := w.client.Write([]byte("x")); err != nil {
			break
		}
		if _, err := w.server.Read(make([]byte, 10)); err != nil {
			break
		}
		if time.Since(since) > patience {
			t.Fatal("still open")
		}
	}
	r := w.end()
	if r.Outcome != outcome.Lifetime || r.First != relay.Neither {
		t.Errorf("ended as %s, %s first", r.Outcome, r.First)
	}
	if took := time.Since(since); took < limit-100*time.Millisecond { // since is after Join
		t.Errorf("ended after %v", took)
	}
}

// firstByte: a client that says nothing is sent away, whatever the server says.
func firstByte(t *testing.T, e *env) {
	const limit = 500 * time.Millisecond
	since := time.Now()
	w := e.join(func(p *relay.Pair) { p.FirstByte = limit })
	write(t, w.server, []byte("welcome"))
	read(t, w.client, 7)
	w.limited(outcome.Idle, relay.Neither, since, limit)
}

// firstByteCame: a client that has spoken, also before it was joined, may be silent for as long as it likes.
func firstByteCame(t *testing.T, e *env) {
	unhurried(t, 300*time.Millisecond, func(limit time.Duration, p *pace) error {
		before := e.join(func(p *relay.Pair) { p.FirstByte, p.Early = limit, []byte("e") })
		read(t, before.server, 1)
		p.step()
		spoken := e.join(func(p *relay.Pair) { p.FirstByte = limit })
		if err := exchange(spoken.client, spoken.server); err != nil {
			return err
		}
		p.step()
		time.Sleep(3 * limit)
		for _, w := range []*world{spoken, before} {
			if err := exchange(w.server, w.client); err != nil {
				t.Fatalf("%v, although the client has spoken", err)
			}
			w.client.Close()
			readEnd(t, w.server)
			w.server.Close()
			w.expect(outcome.OK, relay.Client, 1, 1)
		}
		return nil
	})
}

// answered: the time to the server's first byte, and not to its second.
func answered(t *testing.T, e *env) {
	const pause = 300 * time.Millisecond
	began := time.Now()
	w := e.join(nil)
	write(t, w.client, []byte("hello"))
	read(t, w.server, 5)
	time.Sleep(pause)
	write(t, w.server, []byte("1"))
	read(t, w.client, 1)
	most := time.Since(began)
	time.Sleep(pause)
	write(t, w.server, []byte("2"))
	read(t, w.client, 1)
	w.client.Close()
	readEnd(t, w.server)
	w.server.Close()
	r := w.end()
	if r.Answered < pause || r.Answered > most {
		t.Errorf("answered after %v, want between %v and %v", r.Answered, pause, most)
	}

	w = e.join(nil)
	write(t, w.client, []byte("hello"))
	read(t, w.server, 5)
	w.client.Close()
	readEnd(t, w.server)
	w.server.Close()
	if r := w.end(); r.Answered != 0 {
		t.Errorf("answered after %v although the server has said nothing", r.Answered)
	}
}

// quiet is the time since something has moved.
func quiet(t *testing.T, e *env) {
	w := e.join(nil)
	time.Sleep(200 * time.Millisecond)
	began := time.Now()
	write(t, w.client, []byte("hello"))
	read(t, w.server, 5)
	time.Sleep(300 * time.Millisecond)
	least, q, most := 200*time.Millisecond, w.link.Quiet(), time.Since(began)+time.Second
	if q < least || q > most {
		t.Errorf("quiet for %v, want between %v and %v", q, least, most)
	}
	w.link.Cut(outcome.Drained)
	w.end()
}
