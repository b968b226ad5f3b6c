package shift

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

func TestQuery(t *testing.T) {
	t.Parallel()
	vector := func(values ...string) string {
		var all []string
		for _, v := range values {
			all = append(all, fmt.Sprintf(`{"metric":{},"value":[1,%q]}`, v))
		}
		return `{"resultType":"vector","result":[` + strings.Join(all, ",") + `]}`
	}
	for _, c := range []struct {
		expression, data string
		bad, err         string // parts of them
	}{
		{"x > 5", vector(), "", ""},
		{"x > 5", vector("7"), "the query is true: x > 5 is 7", ""},
		{"x < 5", vector("0"), "x < 5 is 0", ""}, // a filter lets zeros through
		{"x > bool 5", vector("0"), "", ""},
		{"x > bool 5", vector("0", "1"), "is 1", ""},
		{"boolean > 5", vector("0"), "is 0", ""}, // only a name
		{"scalar(x)", `{"resultType":"scalar","result":[1,"0"]}`, "", ""},
		{"scalar(x)", `{"resultType":"scalar","result":[1,"2"]}`, "is 2", ""},
		{"scalar(x)", `{"resultType":"scalar","result":[1,"NaN"]}`, "", "is no number"},
		{`"x"`, `{"resultType":"string","result":[1,"x"]}`, "", "unexpected value type"},
		{"x[1m]", `{"resultType":"matrix","result":[]}`, "", "is a matrix, which is neither"},
		{"x", "", "", "ask prometheus: "},
	} {
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if c.data == "" {
				w.WriteHeader(http.StatusServiceUnavailable)
				return
			}
			if got := r.FormValue("query"); got != c.expression {
				t.Errorf("asked %q", got)
			}
			w.Header().Set("Content-Type", "application/json")
			fmt.Fprintf(w, `{"status":"success","data":%s}`, c.data)
		}))
		q, err := NewQuery(server.URL, c.expression)
		if err != nil {
			t.Fatal(err)
		}
		bad, _, err := q.Look(t.Context())
		if !strings.Contains(bad, c.bad) || (bad == "") != (c.bad == "") || (err == nil) != (c.err == "") || err != nil && !strings.Contains(err.Error(), c.err) {
			t.Errorf("%s with %s: %q, %v; want %q, %q", c.expression, c.data, bad, err, c.bad, c.err)
		}
		server.Close()
	}
}
