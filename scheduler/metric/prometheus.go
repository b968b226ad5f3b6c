package metric

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/api"
	v1 "github.com/prometheus/client_golang/api/prometheus/v1"
	"github.com/prometheus/common/model"
	"golang.org/x/sync/errgroup"

	"argosy/internal/settings"
	"argosy/scheduler/law"
)

// longestAnswer bounds what is read of an answer; ours are one series each.
const longestAnswer = 1 << 20

// PrometheusOptions say how to reach a Prometheus, or what speaks its API.
type PrometheusOptions struct {
	Address   string        // base URL
	Timeout   time.Duration // for all queries of one sample; 5s unless set
	TokenFile string        // bearer token, read again for each request; none unless set
	Transport http.RoundTripper
}

// Prometheus reads metrics with instant queries.
type Prometheus struct {
	api     v1.API
	timeout time.Duration
}

// NewPrometheus makes a source. It does not connect yet.
func NewPrometheus(o PrometheusOptions) (*Prometheus, error) {
	if o.Timeout <= 0 {
		o.Timeout = 5 * time.Second
	}
	if o.Transport == nil {
		o.Transport = http.DefaultTransport.(*http.Transport).Clone()
	}
	client, err := api.NewClient(api.Config{Address: o.Address, RoundTripper: &transport{o.Transport, o.TokenFile}})
	if err != nil {
		return nil, fmt.Errorf("prometheus at %s: %w", o.Address, err)
	}
	return &Prometheus{v1.NewAPI(client), o.Timeout}, nil
}

// Sample asks for the value, its age and what is missing, all at Prometheus's own time: its clock tells the age, and
// the sample's time tells whether that clock is ours.
func (p *Prometheus) Sample(ctx context.Context, q Query) law.Sample {
	ctx, cancel := context.WithTimeout(ctx, p.timeout)
	defer cancel()
	value, age, partial := q.promQL()

	var main, old, missing answer
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() (err error) { main, err = p.ask(ctx, value, q.MaxAge); return err })
	if age != "" {
		g.Go(func() (err error) { old, err = p.ask(ctx, age, q.MaxAge); return err })
	}
	if partial != "" {
		g.Go(func() (err error) { missing, err = p.ask(ctx, partial, q.MaxAge); return err })
	}
	if err := g.Wait(); err != nil {
		var several severalSeries
		if errors.As(err, &several) {
			return law.Sample{Problem: law.Ambiguous, Detail: shorten(err.Error())}
		}
		return failed("%v", err)
	}
	if main.empty {
		return law.Sample{Problem: law.NoData, Detail: shorten("the query has an empty result: " + value)}
	}
	s := law.Sample{Value: main.value, At: main.at}
	if age != "" {
		switch {
		case old.empty:
			return law.Sample{Problem: law.NoData, Detail: shorten("the query for the age has an empty result: " + age)}
		case math.IsNaN(old.value) || old.value < 0 || old.value > math.MaxInt32:
			return failed("the query for the age gave %v: %s", old.value, age)
		}
		s.At = s.At.Add(-time.Duration(old.value * float64(time.Second)))
	}
	switch {
	case !missing.empty && missing.value != 0: // NaN, too
		s.Partial, s.Detail = true, fmt.Sprintf("%v of the instances cannot be scraped", missing.value)
		if q.PartialIf != "" {
			s.Detail = fmt.Sprintf("partial_if gave %v", missing.value)
		}
	case main.warning != "":
		s.Partial, s.Detail = true, shorten("prometheus warns: "+main.warning)
	}
	return s
}

type answer struct {
	empty   bool
	value   float64
	at      time.Time // when it was evaluated, by Prometheus's clock
	warning string
}

type severalSeries struct {
	n    int
	expr string
}

func (e severalSeries) Error() string {
	return fmt.Sprintf("the query has %d series as its result, where one is needed; sum() them: %s", e.n, e.expr)
}

func (p *Prometheus) ask(ctx context.Context, expr string, lookback time.Duration) (answer, error) {
	result, warnings, _, err := p.api.Query(ctx, expr, time.Time{}, v1.WithTimeout(p.timeout), v1.WithLookbackDelta(lookback))
	if err != nil {
		if ctx.Err() != nil && errors.Is(ctx.Err(), context.DeadlineExceeded) {
			return answer{}, fmt.Errorf("asking prometheus: no answer within %v", p.timeout)
		}
		return answer{}, fmt.Errorf("asking prometheus: %w", err)
	}
	var a answer
	if len(warnings) > 0 {
		a.warning = warnings[0]
	}
	switch r := result.(type) {
	case model.Vector:
		switch {
		case len(r) == 0:
			a.empty = true
			return a, nil
		case len(r) > 1:
			return a, severalSeries{len(r), expr}
		case r[0] == nil || r[0].Histogram != nil:
			return a, fmt.Errorf("asking prometheus: the result is a histogram: %s", expr)
		}
		a.value, a.at = float64(r[0].Value), r[0].Timestamp.Time()
	case *model.Scalar:
		if r == nil {
			return a, fmt.Errorf("asking prometheus: an answer without a value")
		}
		a.value, a.at = float64(r.Value), r.Timestamp.Time()
	case nil:
		return a, errors.New("asking prometheus: an answer without a result")
	default:
		return a, fmt.Errorf("asking prometheus: the result is a %v, where an instant vector is needed: %s", result.Type(), expr)
	}
	return a, nil
}

// transport adds the token and bounds the answers.
type transport struct {
	http.RoundTripper
	tokenFile string
}

func (t *transport) RoundTrip(r *http.Request) (*http.Response, error) {
	if t.tokenFile != "" {
		token, err := settings.SecretFromFile(t.tokenFile)
		if err != nil {
			return nil, fmt.Errorf("reading the token: %w", err)
		}
		r = r.Clone(r.Context())
		r.Header.Set("Authorization", "Bearer "+token.Reveal())
	}
	resp, err := t.RoundTripper.RoundTrip(r)
	if err == nil {
		resp.Body = struct {
			io.Reader
			io.Closer
		}{io.LimitReader(resp.Body, longestAnswer), resp.Body}
	}
	return resp, err
}
