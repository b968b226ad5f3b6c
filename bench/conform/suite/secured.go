package suite

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"strings"
	"sync"
	"time"
)

// secured are the cases about TLS itself.
func secured() []Case {
	return []Case{
		{Name: "close-notify-client", Title: "an orderly end comes to the client with close_notify", without: noTargetTLS, test: closeNotify(fromServer)},
		{Name: "close-notify-server", Title: "an orderly end comes to the server with close_notify", without: noBackendTLS, test: closeNotify(fromClient)},
		{Name: "tls-cut-client", Title: "TLS that a client cuts off ends the server's side; where that is TLS, not with close_notify", without: without(noTargetTLS, noUnix), test: tlsCut(fromClient)},
		{Name: "tls-cut-server", Title: "TLS that a server cuts off ends the client's side; where that is TLS, not with close_notify", without: without(noBackendTLS, noUnix), test: tlsCut(fromServer)},
		{Name: "tls-broken-client", Title: "garbage in the middle of a client's TLS is no orderly end for the server", without: without(noTargetTLS, noUnix), test: tlsBroken(fromClient)},
		{Name: "tls-broken-server", Title: "garbage in the middle of a server's TLS is no orderly end for the client", without: without(noBackendTLS, noUnix), test: tlsBroken(fromServer)},
		{Name: "tls-garbage-client", Title: "a client that speaks no TLS is shown out, and nothing of it gets to the server", without: noTargetTLS, test: garbageClient},
		{Name: "tls-partial-client", Title: "a client that leaves in the middle of its ClientHello is let go", without: noTargetTLS, test: partialClient},
		{Name: "tls-garbage-server", Title: "the client is told when the server speaks no TLS", without: noBackendTLS, test: garbageServer},
		{Name: "tls-renegotiate", Title: "a TLS 1.2 client's wish to renegotiate is refused", without: without(noTargetTLS, noOpenSSL), test: renegotiate},
	}
}

// closeNotify ends one side's output. Without close_notify the other side cannot know that it has got all.
func closeNotify(w which) func(*bed) error {
	return func(b *bed) error {
		actor, other, err := b.used(w, shorter)
		if err != nil {
			return err
		}
		if err := actor.closeWrite(); err != nil {
			return err
		}
		end, err := other.drain()
		if err == nil && end != orderlyEnd {
			err = fmt.Errorf("the %s saw %s; in the other cases this is let pass for an end", other.side, end)
		}
		return err
	}
}

// tlsCut ends the connection under TLS that has not been ended. To give that out for complete with close_notify makes
// truncation possible (RFC 8446, 6.1). On a plain connection there is only a reset to tell it by, which may cost bytes
// that are on their way; since many clients never send close_notify, most proxies make it an end, which is noted.
func tlsCut(w which) func(*bed) error {
	return func(b *bed) error {
		actor, other, err := b.used(w, shorter)
		if err != nil {
			return err
		}
		actor.raw.(interface{ CloseWrite() error }).CloseWrite()
		end, err := other.drain()
		switch {
		case err != nil:
			return err
		case end == silence:
			return fmt.Errorf("the %s saw nothing of it", other.side)
		case end == orderlyEnd && other.Conn != other.raw:
			return fmt.Errorf("the %s saw an orderly end, with close_notify", other.side)
		case end == orderlyEnd:
			b.note("the %s saw an orderly end", other.side)
		}
		return nil
	}
}

// tlsBroken sends bytes that are no TLS record.
func tlsBroken(w which) func(*bed) error {
	return func(b *bed) error {
		actor, other, err := b.used(w, shorter)
		if err != nil {
			return err
		}
		if _, err := io.WriteString(actor.raw, strings.Repeat("this is no TLS ", 100)); err != nil {
			return err
		}
		return other.expectBroken()
	}
}

func garbageClient(b *bed) error {
	c, err := b.dial()
	if err != nil {
		return err
	}
	if _, err := io.WriteString(c, strings.Repeat("GET / HTTP/1.0\r\n\r\n", 50)); err != nil {
		return err
	}
	if err := shownOut(c); err != nil {
		return err
	}
	// A proxy may have connected to the backend already, and then ends that in whatever way.
	ctx, cancel := context.WithTimeout(b.ctx, 200*time.Millisecond)
	defer cancel()
	if s, err := b.accept(ctx); err == nil {
		s.SetReadDeadline(time.Now().Add(b.patience))
		got, _ := io.ReadAll(s)
		if bytes.Contains(got, []byte("GET /")) {
			return errors.New("the server got the client's garbage")
		}
	}
	return b.works()
}

// shownOut expects the end of a connection, whatever comes before.
func shownOut(c net.Conn) error {
	if _, err := io.Copy(io.Discard, c); errors.Is(err, os.ErrDeadlineExceeded) {
		return errors.New("the proxy did not end the connection")
	}
	return nil
}

func partialClient(b *bed) error {
	c, err := b.dial()
	if err != nil {
		return err
	}
	// The head of a record of 512 bytes, and the head of a ClientHello in it.
	if _, err := c.Write([]byte{22, 3, 1, 2, 0, 1, 0, 1, 252, 3, 3, 1, 2, 3, 4, 5}); err != nil {
		return err
	}
	c.(interface{ CloseWrite() error }).CloseWrite()
	if err := shownOut(c); err != nil {
		return err
	}
	return b.works()
}

func garbageServer(b *bed) error {
	served := b.start(func() error {
		s, err := b.accept(b.ctx)
		if err != nil {
			return err
		}
		if _, err := io.WriteString(s, strings.Repeat("220 this is no TLS\r\n", 20)); err != nil {
			return err
		}
		return shownOut(s)
	})
	if err := b.told(min(10*time.Second, b.config.Limit)); err != nil {
		return err
	}
	if err := <-served; err != nil {
		return fmt.Errorf("the server: %w", err)
	}
	return b.works()
}

func noOpenSSL(c Config) string {
	if _, err := exec.LookPath("openssl"); err != nil {
		return "openssl is not installed, and Go's TLS cannot ask for it"
	}
	if strings.HasPrefix(c.Target, "unix:") {
		return "openssl is to connect by TCP"
	}
	return ""
}

// renegotiate has openssl ask, since Go's TLS cannot. It verifies the proxy's certificate anew in each handshake, and says so.
func renegotiate(b *bed) error {
	cmd := exec.CommandContext(b.ctx, "openssl", "s_client", "-connect", b.config.Target, "-tls1_2",
		"-servername", b.config.TargetTLS.ServerName)
	stdin, err := cmd.StdinPipe()
	if err != nil {
		return err
	}
	var out output
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("start openssl: %w", err)
	}
	ended := b.start(cmd.Wait)
	const asked, verified = "RENEGOTIATING", "verify return"
	// The question is read as a command only when it comes alone, after the handshake.
	for !strings.Contains(out.String(), "Verify return code") && b.ctx.Err() == nil {
		if err := b.wait(50 * time.Millisecond); err != nil {
			break
		}
	}
	io.WriteString(stdin, "R\n")
	var left bool
	select {
	case <-ended:
		left = true
	case <-time.After(max(b.patience, time.Second)):
	}
	stdin.Close()
	if !left {
		cmd.Process.Kill()
		<-ended
	}
	text := out.String()
	_, since, found := strings.Cut(text, asked)
	switch {
	case !strings.Contains(text, verified):
		return notApplicable("openssl could not connect by TLS 1.2")
	case !found:
		return notApplicable("openssl did not ask")
	case strings.Contains(since, verified):
		return errors.New("a second handshake was made")
	}
	return b.works()
}

// output is what a program writes, and may be read while it does.
type output struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.Write(p)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.String()
}
