package mesh

import (
	"context"
	"errors"
	"fmt"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"argosy/internal/watch"
	"argosy/namerd/mesh/meshpb"
	"argosy/namerd/store"
)

// What requests lack, worded as Namerd words it.
var (
	errNoRoot   = status.Error(codes.InvalidArgument, "No namespace specified")
	errNoName   = status.Error(codes.NotFound, "No name given")
	errNoTable  = status.Error(codes.NotFound, "Root not found")
	errStopping = status.Error(codes.Unavailable, "namerd is stopping")
	errNotKnown = errors.New("it is not known yet")
	errStreams  = status.Error(codes.ResourceExhausted, "too many streams are open")
)

// namespace is what the root of a request names; named tells whether the request has what it is about, too.
func namespace(root *meshpb.Path, named bool) (string, error) {
	switch {
	case root == nil:
		return "", errNoRoot
	case !named:
		return "", errNoName
	}
	path, err := pathOf(root)
	if err != nil {
		return "", err
	}
	if len(path) != 1 {
		return "", status.Errorf(codes.InvalidArgument, "Invalid root: `%s` must have exactly one segment", path)
	}
	if err := store.CheckName(path[0]); err != nil {
		return "", status.Error(codes.InvalidArgument, err.Error())
	}
	return path[0], nil
}

// internal is the status of a failure that is not the client's fault.
func internal(err error) error {
	if err == nil {
		err = errors.New("unknown failure")
	}
	return status.Error(codes.Internal, valid(err.Error()))
}

// malformed is the status of a request that makes no sense.
func malformed(format string, a ...any) error {
	return status.Error(codes.InvalidArgument, valid(fmt.Sprintf(format, a...)))
}

// ended says why a call that waits has ended: the server stops, the client has gone or its deadline has passed.
func (s *Server) ended(ctx context.Context) error {
	if s.stopping.Err() != nil {
		return errStopping
	}
	return status.FromContextError(ctx.Err()).Err()
}

// unary answers a call with one answer.
func (s *Server) unary(ctx context.Context, request any, info *grpc.UnaryServerInfo, handle grpc.UnaryHandler) (any, error) {
	answer, err := handle(ctx, request)
	if err != nil {
		// Linkerd reads the status from trailers, and Namerd's come behind a head: without this, gRPC sends only the head.
		_ = grpc.SendHeader(ctx, metadata.MD{})
	}
	s.metrics.answered(info.FullMethod, err)
	return answer, err
}

// stream answers a call with a stream. The head is sent at once, so that who waits for the first value knows that it
// is waited for.
func (s *Server) stream(srv any, stream grpc.ServerStream, info *grpc.StreamServerInfo, handle grpc.StreamHandler) error {
	open, leave := s.metrics.enter(info.FullMethod)
	defer leave()
	err := stream.SendHeader(metadata.MD{})
	switch {
	case err != nil:
	case s.stopping.Err() != nil:
		err = errStopping
	case open > s.limits.streams:
		err = errStreams
	default:
		err = handle(srv, stream)
	}
	s.metrics.answered(info.FullMethod, err)
	return err
}

func unknown(any, grpc.ServerStream) error {
	return status.Error(codes.Unimplemented, "there is no such method")
}

// follow sends what message makes of r's value, now and whenever it differs from the one that was sent last, until the
// client goes away, the server stops, or message fails. A message that is nil is not sent. A client that is slow misses
// values, never the newest.
func follow[T, M any](s *Server, stream grpc.ServerStreamingServer[M], r watch.Reader[T], same func(a, b T) bool, message func(T) (*M, error)) error {
	ctx, cancel := s.until(stream.Context())
	defer cancel()
	var last T
	sent := false
	for v := range watch.Values(ctx, r) {
		if sent && same(last, v) {
			continue
		}
		m, err := message(v)
		if err != nil {
			return err
		}
		if m == nil {
			continue
		}
		if err := stream.Send(m); err != nil {
			return err
		}
		last, sent = v, true
	}
	return s.ended(stream.Context())
}

// until is ctx, ended also when the server stops.
func (s *Server) until(ctx context.Context) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancel(ctx)
	stop := context.AfterFunc(s.stopping, cancel)
	return ctx, func() { stop(); cancel() }
}

// within is until, for so long at most.
func (s *Server) within(ctx context.Context, d time.Duration) (context.Context, context.CancelFunc) {
	ctx, stop := context.WithTimeout(ctx, d)
	ctx, cancel := s.until(ctx)
	return ctx, func() { cancel(); stop() }
}

// first waits for the first value of r that is known, or else returns the last one.
func first[T any](ctx context.Context, r watch.Reader[T], known func(T) bool) (v T, ok bool) {
	for v = range watch.Values(ctx, r) {
		if known(v) {
			return v, true
		}
	}
	return v, false
}

// notKnown is the status of a call whose answer has not become known in time.
func (s *Server) notKnown(ctx context.Context, what string) error {
	if s.stopping.Err() != nil || ctx.Err() != nil {
		return s.ended(ctx)
	}
	return status.Errorf(codes.DeadlineExceeded, "%s is not known yet, after %s", what, s.limits.known)
}
