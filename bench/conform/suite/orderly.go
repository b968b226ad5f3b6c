package suite

import "fmt"

// orderly are the cases in which both ends behave.
func orderly() []Case {
	return []Case{
		{Name: "exchange", Title: "questions and answers of unequal sizes come through", test: exchange},
		{Name: "server-first", Title: "a client that says nothing gets the server's greeting", test: serverFirst},
		{Name: "half-close-client", Title: "a client that has ended its output gets the whole of a long answer", test: halfCloseClient},
		{Name: "half-close-server", Title: "a server that has ended its output gets the whole of a long request", test: halfCloseServer},
		{Name: "half-close-both", Title: "both may end their output at once; nothing is lost", test: halfCloseBoth},
		{Name: "half-close-empty", Title: "the end of an output without any bytes comes through, both ways", test: halfCloseEmpty},
	}
}

func exchange(b *bed) error {
	client, server, err := b.open()
	if err != nil {
		return err
	}
	for i := range int64(30) {
		if err := pass(client, server, 1+i*i*i); err != nil {
			return err
		}
		if err := pass(server, client, 1+i*4001); err != nil {
			return err
		}
	}
	return endBoth(client, server)
}

// pass sends bytes from one end to the other. The other end reads meanwhile, since buffers may be small.
func pass(from, to *conn, n int64) error {
	sent := make(chan error, 1)
	go func() { sent <- from.send(n) }()
	err := to.expect(n)
	if err != nil {
		from.raw.Close() // what it waits for will not come
	}
	if e := <-sent; err == nil {
		err = e
	}
	return err
}

// endBoth ends both outputs, one after the other, and expects to see it.
func endBoth(first, second *conn) error {
	if err := first.closeWrite(); err != nil {
		return err
	}
	if err := second.expectEnd(); err != nil {
		return err
	}
	if err := second.closeWrite(); err != nil {
		return err
	}
	return first.expectEnd()
}

func serverFirst(b *bed) error {
	client, server, err := b.open()
	if err != nil {
		return err
	}
	if err := pass(server, client, 100); err != nil {
		return fmt.Errorf("the greeting did not come: %w", err)
	}
	if err := pass(client, server, 100); err != nil {
		return err
	}
	return endBoth(server, client)
}

const (
	shorter = 100_000
	longer  = 3_000_001
)

func halfCloseClient(b *bed) error {
	client, server, err := b.open()
	if err != nil {
		return err
	}
	return b.halfClose(client, server)
}

func halfCloseServer(b *bed) error {
	client, server, err := b.open()
	if err != nil {
		return err
	}
	return b.halfClose(server, client)
}

// halfClose ends one side's output. The other one sees that, thinks for a while, sends much, and ends its own.
func (b *bed) halfClose(first, second *conn) error {
	if err := pass(first, second, shorter); err != nil {
		return err
	}
	if err := first.closeWrite(); err != nil {
		return err
	}
	if err := second.expectEnd(); err != nil {
		return err
	}
	if err := b.wait(b.patience); err != nil {
		return err
	}
	if err := pass(second, first, longer); err != nil {
		return fmt.Errorf("after the %s had ended its output: %w", first.side, err)
	}
	if err := second.closeWrite(); err != nil {
		return err
	}
	return first.expectEnd()
}

func halfCloseBoth(b *bed) error {
	client, server, err := b.open()
	if err != nil {
		return err
	}
	var sent []<-chan error
	for _, side := range []struct {
		c *conn
		n int64
	}{{client, shorter}, {server, longer}} {
		sent = append(sent, b.start(func() error {
			if err := side.c.send(side.n); err != nil {
				return err
			}
			return side.c.closeWrite()
		}))
	}
	answered := b.start(func() error {
		if err := client.expect(longer); err != nil {
			return err
		}
		return client.expectEnd()
	})
	if err := server.expect(shorter); err != nil {
		return err
	}
	if err := server.expectEnd(); err != nil {
		return err
	}
	for _, done := range append(sent, answered) {
		if err := <-done; err != nil {
			return err
		}
	}
	return nil
}

func halfCloseEmpty(b *bed) error {
	for _, clientFirst := range []bool{true, false} {
		client, server, err := b.open()
		if err != nil {
			return err
		}
		if !clientFirst {
			client, server = server, client
		}
		if err := endBoth(client, server); err != nil {
			return err
		}
	}
	return nil
}
