package shift

import (
	"context"
	"errors"
	"fmt"
	"math"
	"regexp"
	"time"

	"github.com/prometheus/client_golang/api"
	v1 "github.com/prometheus/client_golang/api/prometheus/v1"
	"github.com/prometheus/common/model"
)

const queryTimeout = 5 * time.Second

// Query is a Check that asks Prometheus whether an expression is true, in the way of its alerts: true is a result that
// is not empty, as of "errors > 5". A number by itself is true unless it is 0, and so are the results of a comparison
// with "bool", which are never empty.
type Query struct {
	api        v1.API
	expression string
	numbers    bool // a result of zeros is false
}

// boolean finds the modifier of a comparison.
var boolean = regexp.MustCompile(`(==|!=|>=|<=|>|<)\s*bool\b`)

// NewQuery makes a check. It does not connect yet.
func NewQuery(address, expression string) (*Query, error) {
	client, err := api.NewClient(api.Config{Address: address})
	if err != nil {
		return nil, fmt.Errorf("prometheus at %s: %w", address, err)
	}
	return &Query{api: v1.NewAPI(client), expression: expression, numbers: boolean.MatchString(expression)}, nil
}

// Begin does nothing: the query says by itself which time it looks at.
func (q *Query) Begin(context.Context) error { return nil }

// Look says whether the expression is true now.
func (q *Query) Look(ctx context.Context) (bad, note string, err error) {
	ctx, cancel := context.WithTimeout(ctx, queryTimeout)
	defer cancel()
	result, _, _, err := q.api.Query(ctx, q.expression, time.Time{})
	if err != nil {
		if errors.Is(ctx.Err(), context.DeadlineExceeded) {
			err = fmt.Errorf("no answer within %s", queryTimeout)
		}
		return "", "", fmt.Errorf("ask prometheus: %w", err)
	}
	switch r := result.(type) {
	case model.Vector:
		for _, sample := range r {
			if sample != nil && (!q.numbers || sample.Value != 0) {
				return fmt.Sprintf("the query is true: %s is %v", q.expression, sample.Value), "", nil
			}
		}
	case *model.Scalar:
		switch {
		case r == nil || math.IsNaN(float64(r.Value)):
			return "", "", fmt.Errorf("ask prometheus: %s is no number", q.expression)
		case r.Value != 0:
			return fmt.Sprintf("the query is true: %s is %v", q.expression, r.Value), "", nil
		}
	case nil:
		return "", "", errors.New("ask prometheus: an answer without a result")
	default:
		return "", "", fmt.Errorf("ask prometheus: %s is a %v, which is neither true nor false", q.expression, result.Type())
	}
	return "", "the query is false", nil
}
