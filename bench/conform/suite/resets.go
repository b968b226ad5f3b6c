package suite

import "fmt"

// resets are the cases in which one end breaks off. The other end must see that it was no orderly end: a reset, or under
// TLS at least an end without close_notify.
func resets() []Case {
	all := []Case{
		{Name: "reset-connect", Title: "the server sees the reset of a client that has sent nothing", test: resetFirst(fromClient, 0)},
		{Name: "accept-reset", Title: "the client sees the reset of a server that has sent nothing", test: resetFirst(fromServer, 0)},
		{Name: "reset-request", Title: "the server sees the reset of a client in the middle of its request", test: resetFirst(fromClient, shorter)},
		{Name: "reset-answer", Title: "the client sees the reset of a server in the middle of its answer", test: resetFirst(fromServer, shorter)},
		{Name: "reset-reader-client", Title: "a server that is sending sees the reset of its client", test: resetReader(fromClient)},
		{Name: "reset-reader-server", Title: "a client that is sending sees the reset of its server", test: resetReader(fromServer)},
		{Name: "reset-half-client", Title: "the server sees the reset of a client after having ended its own output", test: resetHalf(fromClient)},
		{Name: "reset-half-server", Title: "the client sees the reset of a server after having ended its own output", test: resetHalf(fromServer)},
		{Name: "reset-own-half", Title: "a reset after the end of the same side's output is seen by the other, too", test: resetOwnHalf},
		{Name: "reset-full-client", Title: "the reset of a client comes through although the server takes no bytes", test: resetFull(fromClient), extra: stalling},
		{Name: "reset-full-server", Title: "the reset of a server comes through although the client takes no bytes", test: resetFull(fromServer), extra: stalling},
	}
	for i := range all {
		all[i].without = noUnix
	}
	return all
}

// which says from which end something comes.
type which bool

const (
	fromClient which = true
	fromServer which = false
)

// pair opens a connection and names its ends by their parts.
func (b *bed) pair(w which) (actor, other *conn, err error) {
	client, server, err := b.open()
	if w == fromServer {
		return server, client, err
	}
	return client, server, err
}

// used is pair, and n bytes have gone from the actor to the other.
func (b *bed) used(w which, n int64) (actor, other *conn, err error) {
	if actor, other, err = b.pair(w); err == nil {
		err = pass(actor, other, n)
	}
	return actor, other, err
}

// How often a reset is tried that may meet a proxy at any stage of its own.
const rounds = 20

// resetFirst breaks off after some bytes. The last of them may be lost on the way, as TCP says; that is only noted.
func resetFirst(w which, n int64) func(*bed) error {
	return func(b *bed) error {
		worst := int64(0)
		for i := range rounds {
			lost, err := b.resetAfter(w, n)
			if err != nil && i > 0 {
				err = fmt.Errorf("the first times all was well, then %w", err)
			}
			if err != nil {
				return err
			}
			worst = max(worst, lost)
		}
		if worst > 0 {
			b.note("up to %d of the last %d bytes before the reset were lost", worst, lastWords)
		}
		return nil
	}
}

const lastWords = 1000

func (b *bed) resetAfter(w which, n int64) (lost int64, err error) {
	actor, other, err := b.used(w, n)
	if err != nil {
		return 0, err
	}
	if n > 0 {
		if err := actor.send(lastWords); err != nil {
			return 0, err
		}
	}
	actor.abort()
	err = other.expectBroken()
	return actor.sent.Load() - other.received, err
}

// resetReader breaks off while the other end is sending.
func resetReader(w which) func(*bed) error {
	return func(b *bed) error {
		reader, sender, err := b.pair(w)
		if err != nil {
			return err
		}
		sending := b.start(sender.expectRefusal)
		if err := reader.expect(1 << 20); err != nil {
			return err
		}
		reader.abort()
		return <-sending
	}
}

// resetHalf breaks off after the other end has ended its output.
func resetHalf(w which) func(*bed) error {
	return func(b *bed) error {
		actor, other, err := b.pair(w)
		if err != nil {
			return err
		}
		if err := pass(other, actor, 1000); err != nil {
			return err
		}
		if err := other.closeWrite(); err != nil {
			return err
		}
		if err := actor.expectEnd(); err != nil {
			return err
		}
		if err := actor.send(1000); err != nil {
			return err
		}
		if err := other.expect(1000); err != nil {
			return err
		}
		actor.abort()
		return other.expectBroken()
	}
}

// resetOwnHalf ends an output in order and then breaks off: the other end, which goes on sending, must not go on for ever.
func resetOwnHalf(b *bed) error {
	for _, w := range []which{fromClient, fromServer} {
		actor, other, err := b.pair(w)
		if err != nil {
			return err
		}
		if err := actor.closeWrite(); err != nil {
			return err
		}
		if err := other.expectEnd(); err != nil {
			return err
		}
		if err := pass(other, actor, shorter); err != nil {
			return err
		}
		actor.abort()
		if err := other.expectRefusal(); err != nil {
			return err
		}
	}
	return nil
}

// resetFull breaks off when the other end has not read for long and everything between the two is full. The other end
// must see the reset when it reads on.
func resetFull(w which) func(*bed) error {
	return func(b *bed) error {
		actor, other, err := b.full(w)
		if err != nil {
			return err
		}
		actor.abort()
		if err := b.wait(b.patience); err != nil {
			return err
		}
		if err := other.expectBroken(); err != nil {
			return fmt.Errorf("%w, after %d of %d bytes", err, other.received, actor.sent.Load())
		}
		return nil
	}
}
