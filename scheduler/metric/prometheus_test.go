package metric

import (
	"context"
	"fmt"
	"math"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"argosy/scheduler/law"
)

// prom answers queries from a map; "" is for all others. It notes what it was asked.
type prom struct {
	*httptest.Server
	mu      sync.Mutex
	answers map[string]string
	asked   []string
	headers []http.Header
	old     bool // before 2.43
}

// Recorded answers of Prometheus; %T stands for the time of the query.
const (
	empty     = `{"status":"success","data":{"resultType":"vector","result":[]}}`
	twoSeries = `{"status":"success","data":{"resultType":"vector","result":[{"metric":{"a":"1"},"value":[%T,"1"]},{"metric":{"a":"2"},"value":[%T,"2"]}]}}`
	scalar    = `{"status":"success","data":{"resultType":"scalar","result":[%T,"7"]}}`
	matrix    = `{"status":"success","data":{"resultType":"matrix","result":[{"metric":{},"values":[[%T,"1"]]}]}}`
	textual   = `{"status":"success","data":{"resultType":"string","result":[%T,"x"]}}`
	warned    = `{"status":"success","warnings":["a store is down"],"data":{"resultType":"vector","result":[{"metric":{},"value":[%T,"5"]}]}}`
	informed  = `{"status":"success","infos":["metric might not be a counter"],"data":{"resultType":"vector","result":[{"metric":{},"value":[%T,"5"]}]}}`
	refused   = `{"status":"error","errorType":"bad_data","error":"invalid parameter \"query\": 1:5: parse error"}`
)

func vector(value string) string {
	return `{"status":"success","data":{"resultType":"vector","result":[{"metric":{},"value":[%T,"` + value + `"]}]}}`
}

func newProm(t *testing.T, answers map[string]string) *prom {
	p := &prom{answers: answers}
	p.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		r.ParseForm()
		query := r.Form.Get("query")
		p.mu.Lock()
		if r.Form.Get("lookback_delta") == "unknown" {
			defer p.mu.Unlock()
			if !p.old {
				w.WriteHeader(http.StatusBadRequest)
				fmt.Fprint(w, `{"status":"error","errorType":"bad_data","error":"error parsing lookback delta duration"}`)
				return
			}
			fmt.Fprintf(w, `{"status":"success","data":{"resultType":"scalar","result":[%d,"1"]}}`, time.Now().Unix())
			return
		}
		answer, ok := p.answers[query]
		if !ok {
			answer = p.answers[""]
		}
		p.asked = append(p.asked, r.Form.Encode())
		p.headers = append(p.headers, r.Header)
		p.mu.Unlock()
		now := fmt.Sprintf("%.3f", float64(time.Now().UnixMilli())/1000)
		switch {
		case answer == "hang":
			<-r.Context().Done()
			return
		case answer == refused:
			w.WriteHeader(http.StatusBadRequest)
		case strings.HasPrefix(answer, "503"):
			w.WriteHeader(http.StatusServiceUnavailable)
		}
		fmt.Fprint(w, strings.ReplaceAll(answer, "%T", now))
	}))
	t.Cleanup(func() { p.CloseClientConnections(); p.Close() })
	return p
}

func source(t *testing.T, p *prom) *Prometheus {
	t.Helper()
	s, err := NewPrometheus(PrometheusOptions{Address: p.URL, Timeout: 500 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestPrometheusAnswers(t *testing.T) {
	query := Query{Expr: "load", MaxAge: 10 * time.Second}
	for _, c := range []struct {
		name, answer string
		problem      law.Reason
		value        float64
		partial      bool
		detail       string
	}{
		{"one series", vector("42.5"), "", 42.5, false, ""},
		{"zero", vector("0"), "", 0, false, ""},
		{"scalar", scalar, "", 7, false, ""},
		{"NaN", vector("NaN"), "", math.NaN(), false, ""},
		{"+Inf", vector("+Inf"), "", math.Inf(1), false, ""},
		{"-Inf", vector("-Inf"), "", math.Inf(-1), false, ""},
		{"nothing", empty, law.NoData, 0, false, "empty result: load"},
		{"several series", twoSeries, law.Ambiguous, 0, false, "2 series"},
		{"matrix", matrix, law.QueryFailed, 0, false, "matrix"},
		{"text", textual, law.QueryFailed, 0, false, "string"},
		{"warning", warned, "", 5, true, "a store is down"},
		{"info", informed, "", 5, false, ""},
		{"bad query", refused, law.QueryFailed, 0, false, "parse error"},
		{"starting up", "503 service unavailable", law.QueryFailed, 0, false, "503"},
		{"garbage", "<html><body>It works!</body></html>", law.QueryFailed, 0, false, ""},
		{"half an answer", `{"status":"success","data":{"resultType":"vector","result":[{"metric":{},"va`, law.QueryFailed, 0, false, ""},
		{"another JSON", `{"hello": 1}`, law.QueryFailed, 0, false, ""},
		{"null", `null`, law.QueryFailed, 0, false, ""},
		{"null series", `{"status":"success","data":{"resultType":"vector","result":[null]}}`, law.QueryFailed, 0, false, ""},
		{"null data", `{"status":"success","data":null}`, law.QueryFailed, 0, false, ""},
		{"null scalar", `{"status":"success","data":{"resultType":"scalar","result":null}}`, law.QueryFailed, 0, false, ""},
		{"endless", `{"x":"` + strings.Repeat("x", longestAnswer) + `",` + vector("1")[1:], law.QueryFailed, 0, false, ""},
		{"nothing at all", "", law.QueryFailed, 0, false, ""},
		{"silence", "hang", law.QueryFailed, 0, false, "no answer within 500ms"},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := newProm(t, map[string]string{"load": c.answer})
			began := time.Now()
			s := source(t, p).Sample(t.Context(), query)
			if s.Problem != c.problem || s.Partial != c.partial || !strings.Contains(s.Detail, c.detail) {
				t.Errorf("got %+v", s)
			}
			if s.Value != c.value && !(math.IsNaN(s.Value) && math.IsNaN(c.value)) {
				t.Errorf("value %v, want %v", s.Value, c.value)
			}
			if c.problem == "" && time.Since(s.At).Abs() > 5*time.Second {
				t.Errorf("measured at %v", s.At)
			}
			if len(s.Detail) > 400 || strings.Contains(s.Detail, "\n") {
				t.Errorf("detail for a log: %q", s.Detail)
			}
			if took := time.Since(began); took > 3*time.Second {
				t.Errorf("took %v", took)
			}
		})
	}
}

func TestPrometheusUnreachable(t *testing.T) {
	p := newProm(t, nil)
	s := source(t, p)
	p.Close()
	if got := s.Sample(t.Context(), Query{Expr: "x"}); got.Problem != law.QueryFailed || !strings.Contains(got.Detail, "refused") {
		t.Errorf("%+v", got)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if got := s.Sample(ctx, Query{Expr: "x"}); got.Problem != law.QueryFailed {
		t.Errorf("%+v", got)
	}
}

// The age that Prometheus reports makes a frozen gauge as old as it is, whatever time the answer carries.
func TestAge(t *testing.T) {
	for _, c := range []struct {
		age     string
		want    time.Duration
		problem law.Reason
	}{
		{vector("93.5"), 93500 * time.Millisecond, ""}, {vector("0"), 0, ""}, {empty, 0, law.NoData},
		{vector("NaN"), 0, law.QueryFailed}, {vector("-5"), 0, law.QueryFailed}, {vector("1e300"), 0, law.QueryFailed}, {refused, 0, law.QueryFailed},
	} {
		p := newProm(t, map[string]string{"load": vector("3"), "age": c.age})
		s := source(t, p).Sample(t.Context(), Query{Expr: "load", Age: "age"})
		if s.Problem != c.problem {
			t.Errorf("%s: %+v", c.age, s)
			continue
		}
		if c.problem == "" && (time.Since(s.At)-c.want).Abs() > 5*time.Second {
			t.Errorf("%s: measured %v ago", c.age, time.Since(s.At))
		}
	}
}

func TestPartialIf(t *testing.T) {
	for answer, want := range map[string]bool{empty: false, vector("0"): false, vector("2"): true, vector("NaN"): true} {
		p := newProm(t, map[string]string{"load": vector("3"), "down": answer})
		s := source(t, p).Sample(t.Context(), Query{Expr: "load", PartialIf: "down"})
		if s.Problem != "" || s.Partial != want {
			t.Errorf("%s: %+v", answer, s)
		}
	}
}

// What is sent for a metric: dead instances out, the age of the oldest series, missing instances, and no old series.
func TestMetricThroughPrometheus(t *testing.T) {
	p := newProm(t, map[string]string{
		`sum(m{a="b",c="d\"e"} and on (job, instance) up == 1)`:                       vector("12"),
		`max(time() - timestamp(m{a="b",c="d\"e"}) and on (job, instance) up == 1)`:   vector("2"),
		`count(up == 0 and on (job, instance) last_over_time(m{a="b",c="d\"e"}[2m]))`: vector("1"),
	})
	s := source(t, p).Sample(t.Context(), Query{Metric: "m", Match: map[string]string{"c": `d"e`, "a": "b"}, MaxAge: 7 * time.Second})
	if s.Problem != "" || s.Value != 12 || !s.Partial || time.Since(s.At) < 2*time.Second {
		t.Errorf("%+v\n%s", s, strings.Join(p.asked, "\n"))
	}
	if len(p.asked) != 3 {
		t.Errorf("%d queries", len(p.asked))
	}
	for _, q := range p.asked {
		if !strings.Contains(q, "lookback_delta=7s") || strings.Contains(q, "time=") && !strings.Contains(q, "timeout=") {
			t.Errorf("asked %s", q)
		}
	}
}

// A Prometheus that serves old series, without a way to see how old they are, is not enough to shrink by.
func TestPrometheusWithoutLookback(t *testing.T) {
	p := newProm(t, map[string]string{"load": vector("3"), "age": vector("2")})
	p.old = true
	s := source(t, p)
	if got := s.Sample(t.Context(), Query{Expr: "load"}); got.Problem != "" || !got.Partial || !strings.Contains(got.Detail, "set age") {
		t.Errorf("%+v", got)
	}
	if got := s.Sample(t.Context(), Query{Expr: "load", Age: "age"}); got.Problem != "" || got.Partial {
		t.Errorf("with age: %+v", got)
	}
	p.mu.Lock()
	p.old = false // upgraded
	p.mu.Unlock()
	if got := s.Sample(t.Context(), Query{Expr: "load"}); got.Problem != "" || got.Partial {
		t.Errorf("upgraded: %+v", got)
	}
}

func TestToken(t *testing.T) {
	file := filepath.Join(t.TempDir(), "token")
	p := newProm(t, map[string]string{"": vector("1")})
	s, err := NewPrometheus(PrometheusOptions{Address: p.URL, TokenFile: file})
	if err != nil {
		t.Fatal(err)
	}
	if got := s.Sample(t.Context(), Query{Expr: "x"}); got.Problem != law.QueryFailed || !strings.Contains(got.Detail, "token") {
		t.Errorf("without the file: %+v", got)
	}
	for _, token := range []string{"one", "two"} { // it may be rotated
		if err := os.WriteFile(file, []byte(token+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		if got := s.Sample(t.Context(), Query{Expr: "x"}); got.Problem != "" {
			t.Errorf("%+v", got)
		}
		if got := p.headers[len(p.headers)-1].Get("Authorization"); got != "Bearer "+token {
			t.Errorf("sent %q", got)
		}
	}
}
