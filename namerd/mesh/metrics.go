package mesh

import (
	"context"
	"sync/atomic"

	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/grpc"
	"google.golang.org/grpc/stats"
	"google.golang.org/grpc/status"

	"argosy/namerd/mesh/meshpb"
)

// metrics counts calls, streams and connections. It is a stats.Handler, which is how it
// hears of connections.
type metrics struct {
	requests    *prometheus.CounterVec
	streams     *prometheus.GaugeVec
	connections prometheus.Gauge

	methods map[string]string // label by full name; what is not in it is "other"
	open    atomic.Int64      // streams
}

func newMetrics(reg prometheus.Registerer) *metrics {
	m := &metrics{
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "argosy_namerd_mesh_requests_total",
			Help: "Calls of the mesh interface, by method and gRPC status code. Streams count when they end.",
		}, []string{"method", "code"}),
		streams: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "argosy_namerd_mesh_streams",
			Help: "Open streams of the mesh interface, by method.",
		}, []string{"method"}),
		connections: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "argosy_namerd_mesh_connections",
			Help: "Connections to the mesh interface.",
		}),
		methods: make(map[string]string),
	}
	for _, d := range []grpc.ServiceDesc{
		meshpb.Interpreter_ServiceDesc, meshpb.Resolver_ServiceDesc, meshpb.Delegator_ServiceDesc, meshpb.Codec_ServiceDesc,
	} {
		for _, method := range d.Methods {
			m.methods["/"+d.ServiceName+"/"+method.MethodName] = method.MethodName
		}
		for _, stream := range d.Streams {
			m.methods["/"+d.ServiceName+"/"+stream.StreamName] = stream.StreamName
			m.streams.WithLabelValues(stream.StreamName)
		}
	}
	reg.MustRegister(m.requests, m.streams, m.connections)
	return m
}

// enter counts a stream that opens and returns how many are open; leave is to be called when it ends.
func (m *metrics) enter(method string) (open int64, leave func()) {
	gauge := m.streams.WithLabelValues(m.label(method))
	gauge.Inc()
	return m.open.Add(1), func() { m.open.Add(-1); gauge.Dec() }
}

// answered counts a call that ends.
func (m *metrics) answered(method string, err error) {
	m.requests.WithLabelValues(m.label(method), status.Code(err).String()).Inc()
}

// label keeps what clients send out of the metrics.
func (m *metrics) label(method string) string {
	if l, ok := m.methods[method]; ok {
		return l
	}
	return "other"
}

// HandleConn implements stats.Handler.
func (m *metrics) HandleConn(_ context.Context, s stats.ConnStats) {
	switch s.(type) {
	case *stats.ConnBegin:
		m.connections.Inc()
	case *stats.ConnEnd:
		m.connections.Dec()
	}
}

// TagConn implements stats.Handler.
func (m *metrics) TagConn(ctx context.Context, _ *stats.ConnTagInfo) context.Context { return ctx }

// TagRPC implements stats.Handler.
func (m *metrics) TagRPC(ctx context.Context, _ *stats.RPCTagInfo) context.Context { return ctx }

// HandleRPC implements stats.Handler.
func (m *metrics) HandleRPC(context.Context, stats.RPCStats) {}
