package suite

import (
	"errors"
	"fmt"
	"net"
	"time"
)

// loads are the cases with much of something.
func loads() []Case {
	return []Case{
		{Name: "bulk", Title: "a long stream each way at once arrives byte for byte", test: bulk, extra: bulkTime},
		{Name: "many", Title: "many connections at once keep their bytes apart", test: many, extra: func(Config) time.Duration { return 30 * time.Second }},
		{Name: "left-at-once", Title: "clients that leave as soon as they are connected do no harm", test: leftAtOnce},
	}
}

// bulkTime allows for 8 MB a second, since the machine may be busy.
func bulkTime(c Config) time.Duration {
	return time.Duration(c.Bulk/(8<<20)) * time.Second
}

func bulk(b *bed) error {
	client, server, err := b.open()
	if err != nil {
		return err
	}
	var done []<-chan error
	for _, way := range [][2]*conn{{client, server}, {server, client}} {
		done = append(done, b.start(func() error {
			if err := way[0].send(b.config.Bulk); err != nil {
				return err
			}
			return way[0].closeWrite()
		}), b.start(func() error {
			err := way[1].expect(b.config.Bulk)
			if err == nil {
				err = way[1].expectEnd()
			}
			if err != nil { // nobody has to wait for what will not come
				client.raw.Close()
				server.raw.Close()
			}
			return err
		}))
	}
	for i := range done { // what the readers saw tells more than what the senders felt
		if e := <-done[len(done)-1-i]; err == nil || errors.Is(err, net.ErrClosed) && e != nil {
			err = e
		}
	}
	return err
}

func many(b *bed) error {
	type pair struct{ client, server *conn }
	pairs := make([]pair, b.config.Many)
	for i := range pairs {
		client, server, err := b.open()
		if err != nil {
			return fmt.Errorf("connection %d: %w", i+1, err)
		}
		pairs[i] = pair{client, server}
	}
	var done []<-chan error
	for i, p := range pairs {
		done = append(done, b.start(func() error {
			for n := range int64(5) {
				if err := pass(p.client, p.server, 1+n*1009); err != nil {
					return fmt.Errorf("connection %d: %w", i+1, err)
				}
				if err := pass(p.server, p.client, 1+n*7001); err != nil {
					return fmt.Errorf("connection %d: %w", i+1, err)
				}
			}
			if i%2 == 0 {
				return endBoth(p.client, p.server)
			}
			return endBoth(p.server, p.client)
		}))
	}
	var first error
	for _, d := range done {
		if err := <-d; first == nil {
			first = err
		}
	}
	return first
}

func leftAtOnce(b *bed) error {
	for range 50 {
		c, err := b.dial()
		if err != nil {
			return err
		}
		c.Close()
	}
	// Whatever the proxy had begun ends; then it serves as before.
	if err := b.wait(b.patience); err != nil {
		return err
	}
	return b.works()
}

// works tells whether the proxy still serves.
func (b *bed) works() error {
	if err := b.ready(); err != nil {
		return fmt.Errorf("afterwards: %w", err)
	}
	return exchange(b)
}
