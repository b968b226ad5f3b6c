// Package metric reads the load that policies scale by: from Prometheus, or straight from the agents. A reading says
// how old it is and whether something is missing in it; judging that is the law's business.
package metric

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"argosy/scheduler/law"
)

// Source reads metrics. Sample may be called from any goroutine; it returns when ctx ends at the latest. Whatever goes
// wrong is told in the sample.
type Source interface {
	Sample(ctx context.Context, q Query) law.Sample
}

// Query names one number: either as an expression for Prometheus, or as a metric that is summed over all instances.
type Query struct {
	// Expr is PromQL with one series as its result, the load of all instances together. Series whose newest sample is
	// older than MaxAge do not take part in it (Prometheus's lookback_delta). The sum of those that are left may be too
	// low, which is why Age and PartialIf exist, and why an expression should demand up == 1.
	Expr string
	// Age is PromQL for the age of Expr's oldest sample in seconds. Without it, what a Prometheus before 2.43 says is
	// taken for incomplete: it cannot leave old series out.
	Age string
	// PartialIf is PromQL that gives a series other than 0 while instances are missing in Expr; optional.
	PartialIf string

	// Metric is a gauge that is summed over all instances and over all label sets that contain Match.
	Metric string
	Match  map[string]string

	MaxAge time.Duration
}

// Equal reports whether two queries ask the same.
func (q Query) Equal(r Query) bool {
	return q.Expr == r.Expr && q.Age == r.Age && q.PartialIf == r.PartialIf && q.Metric == r.Metric &&
		q.MaxAge == r.MaxAge && maps.Equal(q.Match, r.Match)
}

// String is the expression, or the metric with its labels.
func (q Query) String() string {
	if q.Expr != "" {
		return q.Expr
	}
	return q.selector()
}

func (q Query) selector() string {
	if len(q.Match) == 0 {
		return q.Metric
	}
	pairs := make([]string, 0, len(q.Match))
	for _, k := range slices.Sorted(maps.Keys(q.Match)) {
		pairs = append(pairs, k+"="+strconv.Quote(q.Match[k]))
	}
	return q.Metric + "{" + strings.Join(pairs, ",") + "}"
}

// promQL returns the expressions for Prometheus: the value, its age and the test for missing instances; the last two may
// be empty. For a metric they are written so that
//   - a gauge that a dead instance left behind does not count: after a crash of Prometheus it would be served for minutes;
//   - the age is that of the oldest series in the sum;
//   - an instance that was there a short while ago and cannot be scraped any more makes the sum incomplete.
func (q Query) promQL() (value, age, partial string) {
	if q.Expr != "" {
		return q.Expr, q.Age, q.PartialIf
	}
	s := q.selector()
	const alive = "and on (job, instance) up == 1"
	return fmt.Sprintf("sum(%s %s)", s, alive),
		fmt.Sprintf("max(time() - timestamp(%s) %s)", s, alive),
		fmt.Sprintf("count(up == 0 and on (job, instance) last_over_time(%s[2m]))", s)
}

func failed(format string, a ...any) law.Sample {
	return law.Sample{Problem: law.QueryFailed, Detail: shorten(fmt.Sprintf(format, a...))}
}

// shorten keeps what a broken server sent from filling the log.
func shorten(s string) string {
	const longest = 300
	s = strings.Join(strings.Fields(s), " ")
	if len(s) > longest {
		s = s[:longest] + "..."
	}
	return s
}
