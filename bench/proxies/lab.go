//go:build linux

package proxies

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"time"

	"argosy/bench/load"
	"argosy/bench/usage"
	"argosy/e2e/stack"
	"argosy/internal/devca"
)

// serverName is the name in the certificate of every proxy that terminates TLS.
const serverName = "bench.test"

// lab is where one scenario runs: its servers, and the certificates that all proxies have in common. It is for one
// goroutine.
type lab struct {
	settings Settings
	stack    *stack.Stack
	server   devca.Files
	client   devca.Files
	bundles  struct{ server, client string } // certificate and key in one file, as HAProxy has them
	connect  int                             // services in Consul so far
}

func newLab(ctx context.Context, s Settings, consul bool) (l *lab, err error) {
	st, err := stack.Start(ctx, stack.Options{Consul: consul, Progress: s.Progress})
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, st.Close())
		}
	}()
	l = &lab{settings: s, stack: st}
	ca, err := devca.New(nil)
	if err != nil {
		return nil, err
	}
	if l.server, err = ca.Write(st.Dir, "server", serverName, "127.0.0.1"); err != nil {
		return nil, err
	}
	if l.client, err = ca.Write(st.Dir, "client", "client.test"); err != nil {
		return nil, err
	}
	if l.bundles.server, err = l.bundle("server", l.server); err != nil {
		return nil, err
	}
	l.bundles.client, err = l.bundle("client", l.client)
	return l, err
}

func (l *lab) bundle(name string, files devca.Files) (string, error) {
	cert, err1 := os.ReadFile(files.Cert)
	key, err2 := os.ReadFile(files.Key)
	if err := errors.Join(err1, err2); err != nil {
		return "", err
	}
	path := l.stack.Path(name + "-bundle.pem")
	return path, os.WriteFile(path, append(cert, key...), 0o600)
}

func (l *lab) close() error { return l.stack.Close() }

// write writes a configuration and returns its path.
func (l *lab) write(name, text string) (string, error) {
	path := l.stack.Path(name)
	return path, os.WriteFile(path, []byte(text), 0o600)
}

// clientTLS is what the load's clients speak. They do not look at the certificate's signatures: their own cost is not
// what is measured.
func clientTLS(resume bool, groups ...tls.CurveID) *tls.Config {
	c := &tls.Config{ServerName: serverName, MinVersion: tls.VersionTLS13, InsecureSkipVerify: true, CurvePreferences: groups}
	if resume {
		c.ClientSessionCache = tls.NewLRUClientSessionCache(64)
	}
	return c
}

// topology is what stands between the client and the server.
type topology int

const (
	plain topology = iota // client, plain TCP, proxy, plain TCP, server
	inTLS                 // client, TLS, proxy, plain TCP, server
	mTLS                  // client, plain TCP, proxy, mTLS, proxy, plain TCP, server
)

// suffix is the end of the names of the scenarios with it.
func (t topology) suffix() string { return [...]string{"", "-tls", "-mtls"}[t] }

func (t topology) String() string {
	return [...]string{"plain TCP", "TLS from the client", "mTLS between two proxies"}[t]
}

// hop is the work of one proxy.
type hop struct {
	name             string
	listen, upstream string
	tlsIn, tlsOut    bool // with client certificates when mutual
	mutual           bool
	bulk             bool // all that comes is bulk
}

// hops are the proxies of a topology; clients connect to the first one.
func (l *lab) hops(name string, t topology, backend string) []hop {
	switch t {
	case inTLS:
		return []hop{{name: name, listen: l.stack.Addr(), upstream: backend, tlsIn: true}}
	case mTLS:
		far := l.stack.Addr()
		return []hop{
			{name: name + "-near", listen: l.stack.Addr(), upstream: far, tlsOut: true, mutual: true},
			{name: name + "-far", listen: far, upstream: backend, tlsIn: true, mutual: true},
		}
	}
	return []hop{{name: name, listen: l.stack.Addr(), upstream: backend}}
}

// target is what a scenario is run against: a peer's processes, or none for no proxy.
type target struct {
	peer     string
	addr     string // where clients connect
	tls      bool   // they speak TLS there
	procs    []*stack.Proc
	starting time.Duration // from its start until it accepted
}

// start starts a peer before a backend and waits until connections can be made. The caller stops it.
func (l *lab) start(ctx context.Context, p peer, t topology, backend string, bulk bool) (*target, error) {
	if p.start == nil {
		return &target{peer: p.name, addr: backend}, nil
	}
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	hops := l.hops(p.name, t, backend)
	g := &target{peer: p.name, addr: hops[0].listen, tls: t == inTLS}
	for i := len(hops) - 1; i >= 0; i-- {
		began := time.Now()
		hops[i].bulk = bulk
		proc, err := p.start(ctx, l, hops[i])
		if err == nil {
			g.procs = append(g.procs, proc)
			err = l.accepts(ctx, proc, hops[i].listen)
		}
		if err != nil {
			g.stop()
			return nil, fmt.Errorf("start %s: %w", p.name, err)
		}
		g.starting = time.Since(began)
	}
	return g, nil
}

// accepts waits until something accepts connections.
func (l *lab) accepts(ctx context.Context, proc *stack.Proc, addr string) error {
	waiting, cancel := context.WithCancel(ctx)
	defer cancel()
	dial := load.Plain(addr)
	err := stack.Eventually(waiting, time.Millisecond, func(ctx context.Context) error {
		select {
		case <-proc.Done():
			cancel()
			return errors.New("it has ended")
		default:
		}
		c, err := dial(ctx)
		if err == nil {
			c.Close()
		}
		return err
	})
	if err != nil && ctx.Err() == nil {
		return fmt.Errorf("it has ended: %s", lastLines(proc.Output(), 5))
	}
	return err
}

// passes waits until bytes come through to an echo server and back.
func (g *target) passes(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	return stack.Eventually(ctx, 50*time.Millisecond, func(ctx context.Context) error {
		held, err := load.Hold(ctx, g.dial(false), 1)
		if err == nil {
			held.Close()
		}
		return err
	})
}

// dial makes connections as clients of the topology do.
func (g *target) dial(resume bool, groups ...tls.CurveID) load.Dial {
	if g.tls {
		return load.TLS(g.addr, clientTLS(resume, groups...))
	}
	return load.Plain(g.addr)
}

// stop ends the processes.
func (g *target) stop() {
	for _, p := range g.procs {
		p.Stop(3 * time.Second) // HAProxy and nginx may wait for connections; they are ended then
	}
	g.procs = nil
}

// cpu is what the processes have used so far.
func (g *target) cpu() (time.Duration, error) {
	u, err := g.usage()
	return u.CPU, err
}

// usage adds up the processes and their children.
func (g *target) usage() (total usage.Usage, err error) {
	for _, p := range g.procs {
		u, err := usage.Group(p.Pid())
		if err != nil {
			return total, err
		}
		total.CPU += u.CPU
		total.Memory += u.Memory
		total.Files += u.Files
	}
	return total, nil
}

// available is an error when a program is not installed; pkg is Debian's package.
func available(program, pkg string) error {
	if _, err := exec.LookPath(program); err != nil {
		return fmt.Errorf("%s is not installed: apt-get install %s", program, pkg)
	}
	return nil
}

func lastLines(text string, n int) string {
	lines := strings.Split(strings.TrimSpace(text), "\n")
	return strings.Join(lines[max(len(lines)-n, 0):], "\n")
}

// say tells how far it is.
func say(to io.Writer, format string, args ...any) { fmt.Fprintf(to, "  "+format+"\n", args...) }
