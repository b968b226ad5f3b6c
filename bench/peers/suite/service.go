package suite

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"syscall"
	"time"

	"argosy/e2e/stack"
)

// service are the cases of what connections get that are let in.
func service() []Case {
	return []Case{
		{Name: "half-close", Title: "a client that has ended its output gets the whole of what the service still sends", Kind: Service, test: halfClose},
		{Name: "unix-socket", Title: "the service behind may listen on a Unix socket", Kind: Service, test: unixSocket},
		{Name: "listener-moves", Title: "where the proxy listens can be changed while it runs, and open connections go on", Kind: Service, test: listenerMoves},
		{Name: "drain", Title: "after SIGTERM open connections go on until they end, and so then does the proxy", Kind: Service, test: drain},
	}
}

// friend opens a connection as a friend.
func (b *bed) friend(addr string) (*conn, error) {
	leaf, err := b.leaf(friend)
	if err != nil {
		return nil, err
	}
	return b.open(addr, b.client(leaf))
}

func halfClose(b *bed) error {
	c, err := b.friend(b.in.Listen)
	if err != nil {
		return err
	}
	c.SetDeadline(time.Now().Add(patience))
	if _, err := io.WriteString(c, askRest); err != nil {
		return err
	}
	if err := c.expect(askRest); err != nil {
		return err
	}
	if err := c.Conn.(*tls.Conn).CloseWrite(); err != nil {
		return err
	}
	rest, err := io.ReadAll(c.r)
	switch {
	case err == nil && len(rest) == restSize:
		return nil
	case err == nil || isReset(err) || errors.Is(err, io.ErrUnexpectedEOF):
		b.note("%d of %d bytes came", len(rest), restSize)
		return finding("the rest is lost")
	}
	return err
}

// another starts a further proxy for target, which ends with the case.
func (b *bed) another(name, app string) (Inbound, *stack.Proc, error) {
	in := b.inbound(name, app)
	p, err := b.proxy.Accept(b.ctx, b.stack, in)
	if err == nil {
		b.later(p.Kill)
	}
	return in, p, err
}

// held is another with a connection that is open.
func (b *bed) held(name string) (Inbound, *stack.Proc, *conn, error) {
	in, p, err := b.another(name, b.app.addr)
	if err != nil {
		return in, nil, nil, err
	}
	if err := b.opens(in.Listen); err != nil {
		return in, nil, nil, err
	}
	c, err := b.friend(in.Listen)
	return in, p, c, err
}

func unixSocket(b *bed) error {
	a, err := startApp(b.stack.Path("app.sock"))
	if err != nil {
		return err
	}
	b.later(a.close)
	in, _, err := b.another("unix", a.addr)
	if err != nil {
		return err
	}
	if err := b.opens(in.Listen); err != nil {
		if b.ctx.Err() != nil {
			return err
		}
		return finding("it is not reached")
	}
	return nil
}

func listenerMoves(b *bed) error {
	in, p, c, err := b.held("moves")
	if err != nil {
		return err
	}
	in.Listen = b.stack.Addr()
	if err := b.proxy.Move(b.ctx, b.stack, p, in); err != nil {
		return err
	}
	if err := b.opens(in.Listen); err != nil {
		if b.ctx.Err() != nil {
			return err
		}
		return finding("it does not listen there")
	}
	if err := c.echo(); err != nil {
		return finding("open connections are cut")
	}
	return nil
}

func drain(b *bed) error {
	_, p, c, err := b.held("drains")
	if err != nil {
		return err
	}
	if err := p.Signal(syscall.SIGTERM); err != nil {
		return err
	}
	for told := time.Now(); time.Since(told) < 3*time.Second; {
		if err := c.echo(); err != nil {
			return finding("they are cut")
		}
		if err := b.wait(100 * time.Millisecond); err != nil {
			return err
		}
	}
	c.Close()
	ctx, cancel := context.WithTimeout(b.ctx, patience)
	defer cancel()
	code, err := p.Wait(ctx)
	if err != nil || code != 0 {
		return fmt.Errorf("the proxy does not end in order: code %d, %w", code, err)
	}
	return nil
}
