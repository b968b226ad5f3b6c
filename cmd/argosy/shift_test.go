package main

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
)

// What a shift does is in the history, also where it goes back for a reason of many lines.
func TestDtabShiftHistory(t *testing.T) {
	f := startFleet(t)
	t.Setenv("ARGOSY_AGENTS", "")
	var asked atomic.Int64
	prometheus := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		result := `[]`
		if asked.Add(1) > 1 { // after the look before the start
			result = `[{"metric":{},"value":[1,"9"]}]`
		}
		io.WriteString(w, `{"status":"success","data":{"resultType":"vector","result":`+result+`}}`)
	}))
	t.Cleanup(prometheus.Close)
	before := f.table(t)
	code, out, errs := call(t, "", "dtab", "shift", "/svc/redis", "--to", "/svc/redis2", "--over", "1m", "--steps", "4", "-check", "10ms",
		"--prometheus", prometheus.URL, "--abort-on", "sum(\n  x\n) > 5", "-message", "new disks")
	if code != 1 || !strings.Contains(errs, "the table is what it was before") || f.table(t) != before {
		t.Errorf("exit %d %s\n%s\nthe table is %s", code, errs, out, f.table(t))
	}
	changes, err := f.tables.History(t.Context(), "default", 2)
	if err != nil || len(changes) != 2 {
		t.Fatal(changes, err)
	}
	for i, want := range []string{
		"new disks; shift /svc/redis to /svc/redis2: back, the query is true: sum( x ) > 5 is 9",
		"new disks; shift /svc/redis to /svc/redis2: 25%, step 1 of 4",
	} {
		if got := changes[i].Author.Message; got != want {
			t.Errorf("change %d: %q, want %q", i, got, want)
		}
	}
}

// Without agents the namerd notices a shift to what is not there, as far as it has namers itself.
func TestDtabShiftToNowhere(t *testing.T) {
	f := startFleet(t)
	t.Setenv("ARGOSY_AGENTS", "")
	before := f.table(t)
	code, out, errs := call(t, "", "dtab", "shift", "/svc/redis", "--to", "/svc/redsi2", "--over", "20ms", "--steps", "2")
	if code != 2 || out != "" || f.table(t) != before || errs != "argosy: not begun: /svc/redis has endpoints now, and /svc/redsi2 has none, "+
		"as namerd sees it (argosy dtab explain /svc/redsi2 default); -force begins all the same\n" {
		t.Errorf("exit %d %s\n%s\nthe table is %s", code, errs, out, f.table(t))
	}
	if code, _, errs := call(t, "", "dtab", "shift", "/svc/redis", "--to", "/svc/redsi2", "--over", "20ms", "--steps", "2", "-force"); code != 0 {
		t.Errorf("with -force: exit %d %s", code, errs)
	}
	// Now the name has nothing, so there is nothing to lose.
	if code, _, errs := call(t, "", "dtab", "shift", "/svc/redis", "--to", "/svc/redis3", "--over", "20ms", "--steps", "2"); code != 0 {
		t.Errorf("from nothing: exit %d %s", code, errs)
	}
}
