package suite

import (
	"fmt"
	"time"
)

// tooMuch is what no sender may get rid of while nobody reads. Sockets alone can hold some 20 MB on the way.
const tooMuch = 192 << 20

// mostMemory is by how much a proxy may grow meanwhile.
const mostMemory = 48 << 20

// slow are the cases in which one end is slow.
func slow() []Case {
	return []Case{
		{Name: "no-reader-client", Title: "a client that does not read stops the server, costs bounded memory, and can read all later", test: noReader(fromServer), extra: stalling},
		{Name: "no-reader-server", Title: "a server that does not read stops the client, costs bounded memory, and can read all later", test: noReader(fromClient), extra: stalling},
		{Name: "other-way", Title: "while one direction is blocked, the other one flows", test: otherWay, extra: stalling},
		{Name: "drip", Title: "single bytes after long pauses come through at once, both ways", test: drip, extra: dripping},
		{Name: "slow-reader", Title: "an answer comes through whole to a client that reads a little at a time", test: slowReader, extra: dripping},
		{Name: "single-bytes", Title: "thousands of segments of one byte come through, both ways", test: singleBytes},
	}
}

const drips = 5

func stalling(c Config) time.Duration { return 20*time.Second + 4*c.Patience }

func dripping(c Config) time.Duration { return 2 * (drips + 1) * c.Patience }

// stalled waits until a sender has got rid of nothing for a while.
func (b *bed) stalled(sender *conn) error {
	quiet := max(b.patience, time.Second) // a busy machine may hold it up for a moment
	last, since := int64(-1), time.Now()
	for {
		switch n := sender.sent.Load(); {
		case n >= tooMuch:
			return fmt.Errorf("the %s was not stopped: the proxy took %d MiB that nobody read", sender.side, n>>20)
		case n != last:
			last, since = n, time.Now()
		case n > 0 && time.Since(since) > quiet:
			return nil
		}
		if err := b.wait(10 * time.Millisecond); err != nil {
			return fmt.Errorf("the %s was not stopped: it still sends, after %d MiB", sender.side, last>>20)
		}
	}
}

// full is a pair whose sender has been stopped, since the other end does not read.
func (b *bed) full(w which) (sender, reader *conn, err error) {
	if sender, reader, err = b.pair(w); err == nil {
		b.start(func() error { return sender.send(tooMuch) })
		err = b.stalled(sender)
	}
	return sender, reader, err
}

func noReader(w which) func(*bed) error {
	return func(b *bed) error {
		before, _ := memory(b.config.Pids)
		sender, reader, err := b.full(w)
		if err != nil {
			return err
		}
		if after, err := memory(b.config.Pids); err == nil && len(b.config.Pids) > 0 && after-before > mostMemory {
			return fmt.Errorf("the proxy grew by %d MiB", (after-before)>>20)
		}
		// Enough to see that it goes on where it stopped.
		if err := reader.expect(sender.sent.Load() + 8<<20); err != nil {
			return fmt.Errorf("when the %s read on: %w", reader.side, err)
		}
		return nil
	}
}

func otherWay(b *bed) error {
	for _, w := range []which{fromClient, fromServer} {
		sender, reader, err := b.full(w)
		if err != nil {
			return err
		}
		for range 100 {
			if err := pass(reader, sender, 1000); err != nil {
				return fmt.Errorf("while the %s does not read: %w", reader.side, err)
			}
		}
		reader.raw.Close()
	}
	return nil
}

func drip(b *bed) error {
	client, server, err := b.open()
	if err != nil {
		return err
	}
	for range drips {
		for _, way := range [][2]*conn{{client, server}, {server, client}} {
			if err := b.wait(b.patience); err != nil {
				return err
			}
			if err := pass(way[0], way[1], 1); err != nil {
				return err
			}
		}
	}
	return endBoth(client, server)
}

func slowReader(b *bed) error {
	client, server, err := b.open()
	if err != nil {
		return err
	}
	const size = 24 << 20
	sent := b.start(func() error {
		if err := server.send(size); err != nil {
			return err
		}
		return server.closeWrite()
	})
	read := int64(0)
	for range drips {
		if err := b.wait(b.patience); err != nil {
			return err
		}
		if err := client.expect(1); err != nil {
			return err
		}
		read++
	}
	if err := client.expect(size - read); err != nil {
		return err
	}
	if err := client.expectEnd(); err != nil {
		return err
	}
	return <-sent
}

func singleBytes(b *bed) error {
	client, server, err := b.open()
	if err != nil {
		return err
	}
	const n = 5000
	var sent []<-chan error
	for _, c := range []*conn{client, server} {
		sent = append(sent, b.start(func() error { // Go has set TCP_NODELAY
			for range n {
				if err := c.send(1); err != nil {
					return err
				}
			}
			return nil
		}))
	}
	read := b.start(func() error { return client.expect(n) })
	if err := server.expect(n); err != nil {
		return err
	}
	for _, done := range append(sent, read) {
		if err := <-done; err != nil {
			return err
		}
	}
	return endBoth(client, server)
}
