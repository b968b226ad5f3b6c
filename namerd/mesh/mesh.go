// Package mesh serves names to Linkerd 1.x over gRPC, as Namerd's io.l5d.mesh interface does: the services Interpreter,
// Resolver, Delegator and Codec of the package io.linkerd.mesh.
//
// Streams send what is so now and then every change, and do not end by themselves. While a name cannot be bound its
// stream is silent and what was sent last stands; Linkerd would keep that anyway, and wait up to ten minutes before it
// opened an ended stream again. Only the stream of a table ends when there is no such table.
package mesh

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/net/netutil"
	"google.golang.org/grpc"
	"google.golang.org/grpc/keepalive"

	"argosy/namerd/mesh/meshpb"
	"argosy/namerd/names"
)

// A Linkerd opens one connection, and on it a stream for each bound name and one for each concrete name.
const (
	maxConnections       = 4096
	maxStreamsConnection = 16_384
	maxRequest           = 1 << 20 // bytes
	maxHeaders           = 16 << 10

	setupTimeout = 4 * time.Second // for the handshakes of a connection; who is told to stop waits for them

	// fastestPings is how often a client may ping: as it likes. Linkerd's failureThreshold sets the pace, and gRPC reads no
	// further while its answers are not taken.
	fastestPings = time.Nanosecond
)

// limits are those that tests need to reach.
type limits struct {
	streams     int64         // on all connections
	pingAfter   time.Duration // of silence, to find out whether the other end is still there
	pingTimeout time.Duration
	known       time.Duration // for one answer to become known
	delegate    time.Duration // for a delegation; what is not known by then is shown so
	grace       time.Duration // for the last words when the server is told to stop: requests under way end then by themselves
}

func defaultLimits() limits {
	return limits{
		streams:   65_536,
		pingAfter: 30 * time.Second, pingTimeout: 20 * time.Second,
		known: 10 * time.Second, delegate: 2 * time.Second, grace: 3 * time.Second,
	}
}

// Options has what a server needs. Names is required, the rest may be left out.
type Options struct {
	Names    *names.Names
	Logger   hclog.Logger
	Registry prometheus.Registerer
	TLS      *tls.Config // nil: HTTP/2 without TLS, by prior knowledge
}

// Server is the gRPC server. Its methods may be called from any goroutine.
type Server struct {
	names   *names.Names
	logger  hclog.Logger
	metrics *metrics
	grpc    *grpc.Server
	limits  limits

	stopping context.Context // ends the streams
	stop     context.CancelFunc
}

// New makes a server. Run serves, and ends it.
func New(o Options) *Server { return newServer(o, defaultLimits()) }

func newServer(o Options, limits limits) *Server {
	if o.Logger == nil {
		o.Logger = hclog.NewNullLogger()
	}
	if o.Registry == nil {
		o.Registry = prometheus.NewRegistry()
	}
	s := &Server{names: o.Names, logger: o.Logger, metrics: newMetrics(o.Registry), limits: limits}
	s.stopping, s.stop = context.WithCancel(context.Background())
	options := []grpc.ServerOption{
		grpc.UnaryInterceptor(s.unary),
		grpc.StreamInterceptor(s.stream),
		grpc.UnknownServiceHandler(unknown),
		grpc.StatsHandler(s.metrics),
		grpc.MaxConcurrentStreams(maxStreamsConnection),
		grpc.MaxRecvMsgSize(maxRequest),
		grpc.MaxHeaderListSize(maxHeaders),
		grpc.ConnectionTimeout(setupTimeout),
		grpc.KeepaliveParams(keepalive.ServerParameters{Time: limits.pingAfter, Timeout: limits.pingTimeout}),
		grpc.KeepaliveEnforcementPolicy(keepalive.EnforcementPolicy{MinTime: fastestPings, PermitWithoutStream: true}),
		grpc.WaitForHandlers(true),
	}
	if o.TLS != nil {
		options = append(options, grpc.Creds(newSecured(o.TLS, s.logger)))
	}
	s.grpc = grpc.NewServer(options...)
	meshpb.RegisterInterpreterServer(s.grpc, interpreter{Server: s})
	meshpb.RegisterResolverServer(s.grpc, resolver{Server: s})
	meshpb.RegisterDelegatorServer(s.grpc, delegator{Server: s})
	meshpb.RegisterCodecServer(s.grpc, codec{})
	return s
}

// Run serves on l until ctx ends; then it ends the streams, finishes the requests under way and returns nil. It owns l.
// It is called once. The names must outlive it.
func (s *Server) Run(ctx context.Context, l net.Listener) error {
	defer s.stop()
	failed := make(chan error, 1)
	go func() { failed <- s.grpc.Serve(netutil.LimitListener(l, maxConnections)) }()
	s.logger.Info("serving Linkerd's mesh interface", "address", l.Addr().String())
	select {
	case err := <-failed:
		s.stop()
		s.grpc.Stop()
		return fmt.Errorf("serve the mesh interface on %s: %w", l.Addr(), err)
	case <-ctx.Done():
	}
	s.stop()
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		s.grpc.GracefulStop()
	}()
	grace := time.NewTimer(s.limits.grace)
	defer grace.Stop()
	select {
	case <-ended:
	case <-grace.C:
		s.logger.Warn("requests still under way were cut off", "after", s.limits.grace)
		s.grpc.Stop()
		<-ended
	}
	<-failed // it is nil: the server was stopped
	return nil
}
