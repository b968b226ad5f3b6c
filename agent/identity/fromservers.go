package identity

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"time"

	"github.com/hashicorp/consul/api"
	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"argosy/agent/identity/connectca"
	retry "argosy/internal/backoff"
	"argosy/internal/consulacl"
)

// ServersOptions say how to have certificates signed by Consul's servers.
type ServersOptions struct {
	// Address is host:port of their gRPC, or of that of a client agent, which passes requests on to them (Consul 1.21 does). A
	// name may stand for several servers, of which one at random is asked.
	Address string
	// TLS is for connections to them, and has the name that they must prove; nil: plaintext.
	TLS *tls.Config
	// Token gives the ACL token, and is asked before every request. It may be called from any goroutine.
	Token func() string
	// Datacenter is that of the servers, which is a part of the certificate's id. Consul is asked for it unless it is set.
	Datacenter string
}

// Times of requests to Consul's servers. A stream is begun anew after a while, as a blocking query is: a server that has been
// cut off from the others would otherwise never be noticed, nor a token that has been replaced.
const (
	signTimeout = 20 * time.Second
	rootsSilent = 15 * time.Second // at most, before the first answer
	rootsStream = 3 * time.Minute  // the shortest; up to half more
	spreadRoots = 10 * time.Second // how long after a new root the last agent asks for a new certificate
)

// fromServers has certificates signed, and roots told, by the ConnectCAService of Consul's servers. The key is made here, and
// never leaves the process.
type fromServers struct {
	ServersOptions
	client *api.Client
	random func() float64 // in [0, 1)
	found  string         // the datacenter, where it had to be found out
}

func newFromServers(client *api.Client, o ServersOptions) *fromServers {
	return &fromServers{ServersOptions: o, client: client, random: rand.Float64}
}

func (s *fromServers) follow(ctx context.Context, c *Connect) error {
	conn, err := s.dial()
	if err != nil {
		return fmt.Errorf("reach Consul's servers at %s: %w", s.Address, err)
	}
	defer conn.Close()
	ca := connectca.NewConnectCAServiceClient(conn)
	var wg sync.WaitGroup
	wg.Go(func() { s.watchRoots(ctx, c, ca) })
	wg.Go(func() { s.keepLeaf(ctx, c, ca) })
	wg.Wait()
	return nil
}

// dial makes a connection, which is not made before it is needed.
func (s *fromServers) dial() (*grpc.ClientConn, error) {
	safe := insecure.NewCredentials()
	if s.TLS != nil {
		safe = newServerTLS(s.TLS)
	}
	return grpc.NewClient("dns:///"+s.Address,
		grpc.WithTransportCredentials(safe),
		grpc.WithUserAgent("argosy"),
		grpc.WithDisableServiceConfig(), // DNS is not to say how we behave
		grpc.WithDefaultServiceConfig(`{"loadBalancingConfig": [{"pick_first": {"shuffleAddressList": true}}]}`),
		grpc.WithConnectParams(grpc.ConnectParams{
			Backoff:           backoff.Config{BaseDelay: 100 * time.Millisecond, Multiplier: 1.6, Jitter: 0.2, MaxDelay: 2 * time.Second},
			MinConnectTimeout: 5 * time.Second,
		}),
		// Consul's servers allow a ping every 15 s.
		grpc.WithKeepaliveParams(keepalive.ClientParameters{Time: 30 * time.Second, Timeout: 10 * time.Second}),
	)
}

// authorized adds the token to the requests made with ctx.
func (s *fromServers) authorized(ctx context.Context) context.Context {
	if token := s.Token(); token != "" {
		return metadata.AppendToOutgoingContext(ctx, "x-consul-token", token)
	}
	return ctx
}

func (s *fromServers) watchRoots(ctx context.Context, c *Connect, ca connectca.ConnectCAServiceClient) {
	report := c.reporter("roots", func() bool { return c.trust.Value() != nil })
	pause := retry.New(100*time.Millisecond, 5*time.Second)
	for ctx.Err() == nil {
		err := s.streamRoots(ctx, ca, func(t *trust) {
			report(nil)
			pause.Reset()
			c.setTrust(t)
		})
		if err == nil || ctx.Err() != nil {
			continue
		}
		report(s.explain(c.service, err))
		pause.Sleep(ctx)
	}
}

// Why we end a stream.
var (
	errSilent = fmt.Errorf("no answer within %v", rootsSilent)
	errOld    = errors.New("the stream is old")
)

// streamRoots hands over what one stream brings. It returns nil when the stream has become old.
func (s *fromServers) streamRoots(ctx context.Context, ca connectca.ConnectCAServiceClient, handle func(*trust)) error {
	ctx, end := context.WithCancelCause(ctx)
	defer end(nil)
	silent := time.AfterFunc(rootsSilent, func() { end(errSilent) })
	defer silent.Stop()
	stream, err := ca.WatchRoots(s.authorized(ctx), &connectca.WatchRootsRequest{})
	for err == nil {
		var answer *connectca.WatchRootsResponse
		if answer, err = stream.Recv(); err != nil {
			break
		}
		var t *trust
		if t, err = parseRoots(rootList(answer)); err != nil {
			break
		}
		if silent.Stop() {
			old := time.AfterFunc(time.Duration((1+s.random()/2)*float64(rootsStream)), func() { end(errOld) })
			defer old.Stop()
		}
		handle(t)
	}
	switch cause := context.Cause(ctx); {
	case errors.Is(cause, errOld):
		return nil
	case errors.Is(cause, errSilent):
		return cause
	}
	return err
}

// rootList is an answer in the form in which Consul's agent gives it.
func rootList(a *connectca.WatchRootsResponse) *api.CARootList {
	list := &api.CARootList{ActiveRootID: a.ActiveRootId, TrustDomain: a.TrustDomain}
	for _, r := range a.Roots {
		list.Roots = append(list.Roots, &api.CARoot{ID: r.Id, RootCertPEM: r.RootCert})
	}
	return list
}

// wrongPort is what to look at where no connection comes about, from the words of gRPC and crypto/tls.
func wrongPort(text string) string {
	switch {
	case strings.Contains(text, "first record does not look like a TLS handshake"):
		return ": the port speaks plaintext, as grpc (8502) does; grpc_tls (8503) is the one for TLS"
	case strings.Contains(text, "error reading server preface"):
		return ": the port wants TLS, as grpc_tls (8503) does, or is not for gRPC"
	}
	return ""
}

// explain says in an operator's words what a server has answered.
func (s *fromServers) explain(service string, err error) error {
	answer, ok := status.FromError(err)
	if !ok {
		return fmt.Errorf("server %s: %w", s.Address, err)
	}
	text := answer.Message()
	switch answer.Code() {
	case codes.PermissionDenied:
		right := consulacl.Right{Resource: "service", Name: service, Access: consulacl.Write}
		text += "; add to the token's policy: " + right.Rule()
	case codes.Unauthenticated:
		text = consulacl.Explain(text, "")
	case codes.Unavailable:
		text += wrongPort(text)
	case codes.Unimplemented:
		text += ": it is neither a Consul server nor an agent that passes requests on to one"
	}
	err = fmt.Errorf("server %s: %s", s.Address, text)
	if answer.Code() == codes.ResourceExhausted {
		return &busyError{err, time.Duration((1 + s.random()) * float64(busyPause))}
	}
	return err
}
