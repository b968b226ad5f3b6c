package listen

import (
	"context"
	"errors"
	"io"
	"net/netip"
	"os"
	"slices"
	"syscall"
	"time"

	"argosy/agent/outcome"
	"argosy/agent/proxyproto"
)

// Proxy is whom to believe what a PROXY header says.
type Proxy struct {
	From     []netip.Prefix
	Optional bool // connections from there may come without a header
}

// Trusts reports whether connections from an address have a header. Those over a Unix socket, whose address is zero, have: its
// permissions say who can make them. A nil Proxy trusts nobody.
func (p *Proxy) Trusts(a netip.Addr) bool {
	if p == nil {
		return false
	}
	a = plain(a)
	return !a.IsValid() || slices.ContainsFunc(p.From, func(from netip.Prefix) bool { return from.Contains(a) })
}

func (p *Proxy) read(ctx context.Context, in *Inbound) error {
	var h *proxyproto.Header
	err := within(ctx, in.Conn, time.Time{}, func() (err error) {
		h, in.Early, err = proxyproto.Read(in.Conn)
		return err
	})
	switch {
	case err == nil:
		if in.Proxy = h; h.Source.IsValid() {
			in.Client = netip.AddrPortFrom(h.Source.Addr().Unmap(), h.Source.Port())
		}
		return nil
	case errors.Is(err, proxyproto.ErrNone) && p.Optional:
		return nil
	case errors.Is(err, proxyproto.ErrNone):
		return outcome.Errorf(outcome.Denied, "%s is to send a PROXY header, and has not", in.Client.Addr())
	case errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, syscall.ECONNRESET):
		return outcome.Errorf(outcome.Reset, "client left: %w", err)
	case ctx.Err() != nil || errors.Is(err, os.ErrDeadlineExceeded):
		return outcome.Errorf(outcome.Denied, "reading the PROXY header: not done in time")
	}
	return outcome.Wrap(outcome.Denied, err)
}
