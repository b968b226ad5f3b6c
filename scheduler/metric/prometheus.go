package metric

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"net/http"
	"net/url"
	"strings"
	"sync/atomic"
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
	client  api.Client
	api     v1.API
	timeout time.Duration
	// leavesOut is set once the server is known to leave old series out of a query when asked to.
	leavesOut atomic.Bool
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
	return &Prometheus{client: client, api: v1.NewAPI(client), timeout: o.Timeout}, nil
}

// Sample asks for the value, its age and what is missing, all at Prometheus's own time: its clock tells the age, and
// the sample's time tells whether that clock is ours.
func (p *Prometheus) Sample(ctx context.Context, q Query) law.Sample {
	ctx, cancel := context.WithTimeout(ctx, p.timeout)
	defer cancel()
	value, age, partial := q.promQL()

	var main, old, missing answer
	ageless := false
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() (err error) { main, err = p.ask(ctx, value, q.MaxAge); return err })
	if age != "" {
		g.Go(func() (err error) { old, err = p.ask(ctx, age, q.MaxAge); return err })
	} else {
		g.Go(func() (err error) { ageless, err = p.servesOldSeries(ctx); return err })
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
	case ageless:
		s.Partial, s.Detail = true, "this prometheus is older than 2.43 and cannot leave out old series, so nobody knows how old the data is; "+
			"set age in the policy"
	case main.warning != "":
		s.Partial, s.Detail = true, shorten("prometheus warns: "+main.warning)
	}
	return s
}

// servesOldSeries reports whether the server ignores lookback_delta, as those before 2.43 do: it then answers with series
// that are up to five minutes old. One that knows the parameter refuses a value that is no duration.
func (p *Prometheus) servesOldSeries(ctx context.Context) (bool, error) {
	if p.leavesOut.Load() {
		return false, nil
	}
	u := p.client.URL("/api/v1/query", nil)
	u.RawQuery = url.Values{"query": {"1"}, "lookback_delta": {"unknown"}}.Encode()
	req, err := http.NewRequest(http.MethodGet, u.String(), nil)
	if err != nil {
		return false, err
	}
	resp, body, err := p.client.Do(ctx, req)
	switch {
	case err != nil:
		return false, fmt.Errorf("asking prometheus whether it knows lookback_delta: %w", err)
	case resp.StatusCode == http.StatusBadRequest && strings.Contains(string(body), "bad_data"):
		p.leavesOut.Store(true)
		return false, nil
	case resp.StatusCode == http.StatusOK && strings.Contains(string(body), "success"):
		return true, nil
	}
	return false, fmt.Errorf("asking prometheus whether it knows lookback_delta: the answer is %s", resp.Status)
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
