package suite

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"sync"
	"syscall"
	"time"

	"argosy/bench/usage"
)

// handshakeBudget is how long a client may take for its handshake. Both proxies are told so, or do it by themselves.
const handshakeBudget = 10 * time.Second

// handshakes are the cases of clients that are no good at TLS.
func handshakes() []Case {
	return []Case{
		{Name: "tls-1.1", Title: "TLS 1.1 is not spoken", test: oldTLS},
		{Name: "garbage", Title: "a client that speaks no TLS is not let in", test: garbage},
		{Name: "unknown-alpn", Title: "a client may offer whatever protocols by ALPN, and any server name", test: unknownALPN},
		{Name: "slow-handshakes", Title: "clients that never finish their handshake are gone after 10 s, cost at most 64 KiB each, and keep nobody else waiting",
			test: slowHandshakes, waits: 2 * handshakeBudget},
	}
}

func oldTLS(b *bed) error {
	leaf, err := b.leaf(friend)
	if err != nil {
		return err
	}
	return b.refused("the client", b.client(leaf, version(tls.VersionTLS11)))
}

func garbage(b *bed) error {
	for _, says := range []string{"GET / HTTP/1.1\r\n\r\n", "\x16\x03\x01\x00\x05hello", "\x00\xff\x00\xff\x00\xff\x00\xff"} {
		before := b.app.seen()
		c, err := net.DialTimeout("tcp", b.in.Listen, patience)
		if err != nil {
			return err
		}
		defer c.Close()
		c.SetDeadline(time.Now().Add(patience))
		if _, err := io.WriteString(c, says); err != nil {
			return err
		}
		// Whether an alert can be read depends on what of the garbage the proxy has read.
		all, err := io.ReadAll(c)
		if errors.Is(err, os.ErrDeadlineExceeded) {
			return finding("the client was kept waiting")
		}
		if err := b.wait(settling); err != nil {
			return err
		}
		b.saw, b.behind = string(end), b.app.seen().since(before)
		if b.behind == "bytes" || len(all) > 64 {
			return finding("the client was let in")
		}
	}
	return b.opens(b.in.Listen)
}

func unknownALPN(b *bed) error {
	leaf, err := b.leaf(friend)
	if err != nil {
		return err
	}
	saw, err := b.knock(b.in.Listen, b.client(leaf, func(c *tls.Config) {
		c.NextProtos, c.ServerName = []string{"acme/9"}, "whatever.example"
	}))
	if err != nil {
		return err
	}
	if saw != answer {
		b.saw = string(saw)
		return finding("it was not let in")
	}
	return nil
}

// firstFlight is what a client of TLS sends first.
func firstFlight(config *tls.Config) ([]byte, error) {
	near, far := net.Pipe()
	var shaking sync.WaitGroup
	defer shaking.Wait()
	defer far.Close()
	shaking.Go(func() {
		tls.Client(near, config).Handshake() // until far is closed
		near.Close()
	})
	b := make([]byte, 16<<10)
	n, err := far.Read(b)
	return b[:n], err
}

// slowHandshakes opens sockets that say nothing, or half of a ClientHello, or, a few of them, all of it.
func slowHandshakes(b *bed) error {
	n := b.config.Sockets
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		return fmt.Errorf("read the limit of descriptors: %w", err)
	}
	leaf, err := b.leaf(friend)
	if err != nil {
		return err
	}
	hello, err := firstFlight(b.client(leaf))
	if err != nil {
		return err
	}
	own := b.app.seen().conns
	before, err := usage.Process(b.proc.Pid())
	if err != nil {
		return err
	}
	began := time.Now()
	var socks []net.Conn
	defer func() {
		for _, c := range socks {
			c.Close()
		}
	}()
	for i := 0; i < n; i++ {
		if i == 100 { // it may open as many again to the service behind, which is in this process, too
			if err := b.wait(settling); err != nil {
				return err
			}
			each := 1 + int(min(b.app.seen().conns-own, 100))/100
			n = min(n, int(limit.Cur)/each-1000)
		}
		c, err := net.DialTimeout("tcp", b.in.Listen, patience)
		if err != nil {
			return fmt.Errorf("socket %d: %w", i+1, err)
		}
		socks = append(socks, c)
		switch {
		case i%20 == 0:
			c.Write(hello)
		case i%2 == 0:
			c.Write(hello[:len(hello)/2])
		}
	}
	opened := time.Now()
	good := time.Now()
	if err := b.opens(b.in.Listen); err != nil {
		return err
	}
	waited := time.Since(good)
	during, err := usage.Process(b.proc.Pid())
	if err != nil {
		return err
	}
	b.note("%d sockets in %.1f s, %d KiB before and %d KiB during; a good client through after %d ms",
		len(socks), opened.Sub(began).Seconds(), int(before.Memory), int(during.Memory), waited.Milliseconds())
	left, err := b.gone(socks, opened.Add(handshakeBudget+handshakeBudget/2))
	if err != nil {
		return err
	}
	switch {
	case left > 0:
		b.note("%d were left", left)
		return finding("they are not sent away")
	case waited > 5*time.Second:
		return finding("a good client waits for longer than 5 s")
	case during.Memory-before.Memory > float64(n)*64+4096: // some for what else happens meanwhile
		return finding("each costs more than 64 KiB")
	}
	b.note("the last one was gone %.1f s after having been opened", time.Since(opened).Seconds())
	return b.opens(b.in.Listen)
}

// gone waits until the other side has closed all sockets, and tells how many it has not by the deadline.
func (b *bed) gone(socks []net.Conn, deadline time.Time) (left int, err error) {
	for _, c := range socks {
		c.SetReadDeadline(deadline)
		if _, err := io.Copy(io.Discard, c); errors.Is(err, os.ErrDeadlineExceeded) {
			left++
		}
	}
	if b.ctx.Err() != nil {
		return 0, context.Cause(b.ctx)
	}
	return left, nil
}
