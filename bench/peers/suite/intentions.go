package suite

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"time"
)

// afterDeny is for how long a connection that was denied later is watched.
const afterDeny = 15 * time.Second

// intentions are the cases of intentions that change.
func intentions() []Case {
	return []Case{
		{Name: "denied-resumes-1.2", Title: "a session of TLS 1.2 cannot be resumed by a client that has been denied since", test: resumes(tls.VersionTLS12)},
		{Name: "denied-resumes-1.3", Title: "nor can one of TLS 1.3", test: resumes(tls.VersionTLS13)},
		{Name: "denied-stays", Title: "a connection that is open when its client is denied ends within 15 s", test: stays, waits: afterDeny},
		{Name: "http-intention", Title: "an intention for some HTTP requests does not open a TCP connection", test: httpIntention},
		{Name: "early-dial", Title: "the service behind is not connected before the client is known and allowed", test: earlyDial},
	}
}

// asGuest lets a guest in for the case.
func (b *bed) asGuest() (*signer, error) {
	if err := b.allow(b.ctx, friend, guest); err != nil {
		return nil, err
	}
	b.later(func() {
		// Also after a case whose time has run out.
		ctx, cancel := context.WithTimeout(context.WithoutCancel(b.ctx), patience)
		defer cancel()
		b.allow(ctx, friend)
	})
	if err := b.admits(b.in.Listen, guest); err != nil {
		return nil, err
	}
	return b.leaf(guest)
}

// denyGuest returns when new connections of the guest are refused.
func (b *bed) denyGuest() error {
	if err := b.allow(b.ctx, friend); err != nil {
		return err
	}
	if err := b.rejects(b.in.Listen, guest); err != nil {
		return fmt.Errorf("a denied client gets through: %w", err)
	}
	return nil
}

func resumes(v uint16) func(*bed) error {
	return func(b *bed) error {
		leaf, err := b.asGuest()
		if err != nil {
			return err
		}
		sessions := tls.NewLRUClientSessionCache(4)
		config := b.client(leaf, version(v), func(c *tls.Config) { c.ClientSessionCache = sessions })
		for range 2 { // the second one shows whether there are tickets at all
			c, err := b.open(b.in.Listen, config)
			if err != nil {
				return err
			}
			if c.Conn.(*tls.Conn).ConnectionState().DidResume {
				b.note("sessions are resumed")
			}
			c.Close()
		}
		if err := b.denyGuest(); err != nil {
			return err
		}
		return b.refused("the client", config)
	}
}

func stays(b *bed) error {
	leaf, err := b.asGuest()
	if err != nil {
		return err
	}
	c, err := b.open(b.in.Listen, b.client(leaf))
	if err != nil {
		return err
	}
	denied := time.Now()
	if err := b.denyGuest(); err != nil {
		return err
	}
	for time.Since(denied) < afterDeny {
		if err := c.echo(); errors.Is(err, os.ErrDeadlineExceeded) {
			return err
		} else if err != nil {
			b.note("it ended after %.1f s", time.Since(denied).Seconds())
			return nil
		}
		if err := b.wait(100 * time.Millisecond); err != nil {
			return err
		}
	}
	return finding("it goes on after 15 s")
}

func httpIntention(b *bed) error {
	leaf, err := b.leaf(guest)
	if err != nil {
		return err
	}
	if err := b.protocol(b.ctx, "http"); err != nil {
		return err
	}
	b.later(func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(b.ctx), patience)
		defer cancel()
		b.allow(ctx, friend)
		b.protocol(ctx, "tcp")
	})
	// The witness tells that the proxy has heard of these intentions.
	if err := b.intend(b.ctx, source{friend, "allow"}, source{guest, ""}, source{"witness", "allow"}); err != nil {
		return err
	}
	if err := b.admits(b.in.Listen, "witness"); err != nil {
		return err
	}
	return b.eachVersion("the client", leaf)
}

// earlyDial tries one that says nothing, one that speaks no TLS, and one that is denied. What they see themselves is told by
// other cases.
func earlyDial(b *bed) error {
	leaf, err := b.leaf(stranger)
	if err != nil {
		return err
	}
	before := b.app.seen()
	for _, says := range []string{"", "GET / HTTP/1.1\r\n\r\n"} {
		c, err := net.DialTimeout("tcp", b.in.Listen, patience)
		if err != nil {
			return err
		}
		b.later(func() { c.Close() })
		if _, err := io.WriteString(c, says); err != nil {
			return err
		}
	}
	if _, err := b.knock(b.in.Listen, b.client(leaf)); err != nil {
		return err
	}
	if err := b.wait(time.Second); err != nil {
		return err
	}
	if saw := b.app.seen().since(before); saw != "nothing" {
		b.behind = saw
		return finding("whoever connects to the proxy has it connect the service")
	}
	return b.opens(b.in.Listen)
}
