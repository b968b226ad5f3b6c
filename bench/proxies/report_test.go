package proxies

import (
	"encoding/xml"
	"errors"
	"io"
	"math"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"strings"
	"testing"
)

// example is a report in which ours has a bit less CPU than HAProxy, and one round was bad.
func example() *Report {
	r := &Result{Name: "requests", Title: "small requests"}
	for _, v := range []struct {
		peer string
		cpu  float64
		rate float64
	}{{"haproxy", 20, 1000}, {"argosy", 16, 1200}, {"argosy", 15, 1100}, {"haproxy", 20, 1000}, {"haproxy", 22, 1000}, {"argosy", 44, 1300}} {
		r.put(v.peer, "requests", "per s", v.rate)
		r.put(v.peer, "CPU per request", "µs", v.cpu)
	}
	r.put("direct", "requests", "per s", 5000)
	latency := &Result{Name: "latency", Title: "latency"}
	latency.put("direct", "p99", "µs", 100)
	latency.put("haproxy", "p99", "µs", 200)
	latency.put("argosy", "p99", "µs", 180)
	lost := &Result{Name: "bulk-tls", Title: "bulk <&>", Notes: []string{"nginx: it has ended\nmore"}}
	lost.put("argosy", "CPU, 8 streams", "s per GB", 0.5)
	return &Report{Machine: "a machine", Rounds: 3, Slice: "1s", Versions: map[string]string{"nginx": "1"}, Results: []*Result{r, latency, lost}, Notes: []string{"x is left out"}}
}

func TestJudge(t *testing.T) {
	r := example()
	for _, c := range []struct {
		aim
		ok, reached bool
		low, median float64
	}{
		{aim{scenario: "requests", figure: "CPU per request", against: "haproxy", most: 0.85}, true, true, 0.75, 0.8},
		{aim{scenario: "requests", figure: "CPU per request", against: "haproxy", most: 0.75}, true, false, 0.75, 0.8},
		{aim{scenario: "requests", figure: "requests", against: "haproxy", least: 1.15}, true, true, 1.1, 1.2},
		{aim{scenario: "requests", figure: "requests", against: "haproxy", least: 1.25}, true, false, 1.1, 1.2},
		{aim{scenario: "requests", figure: "CPU per request", most: 16}, true, true, 15, 16},
		{aim{scenario: "latency", figure: "p99", against: "haproxy", most: 1, added: true}, true, true, 0.8, 0.8},
		{aim{scenario: "requests", figure: "requests", against: "nginx", least: 1}, false, false, 0, 0},
		{aim{scenario: "requests", figure: "nothing", most: 1}, false, false, 0, 0},
		{aim{scenario: "nothing", figure: "requests", most: 1}, false, false, 0, 0},
		{aim{scenario: "bulk-tls", figure: "CPU, 8 streams", against: "haproxy", added: true, most: 1}, false, false, 0, 0},
	} {
		v, ok := r.judge(c.aim)
		if ok != c.ok || v.reached != c.reached || math.Abs(v.low-c.low) > 1e-9 || math.Abs(v.median-c.median) > 1e-9 {
			t.Errorf("%s: %+v, %v", c.what(), v, ok)
		}
	}
}

func TestPrint(t *testing.T) {
	var b strings.Builder
	example().Print(&b)
	lines := regexp.MustCompile(" {2,}").ReplaceAllString(b.String(), "|") // however wide the columns are
	for _, want := range []string{
		"\nrequests: small requests\n",
		"|argosy|1200 (1100..1300)|16.0 (15.0..44.0)|",
		"|direct|5000|-|",
		"not measured: nginx: it has ended",
		"requests: CPU per request, ratio to haproxy|at most 0.85|0.800 (0.750..2.00)|reached",
		"latency: p99 added, ratio to haproxy|at most 1|0.800 (0.800..0.800)|reached",
		"\nx is left out\n",
	} {
		if !strings.Contains(lines, want) {
			t.Errorf("there is no %q in\n%s", want, lines)
		}
	}
}

func TestMarkdown(t *testing.T) {
	text := example().Markdown("c.svg")
	for _, want := range []string{
		"(c.svg)\n",
		"| | requests, per s | CPU per request, µs |\n|---|---|---|\n| haproxy | 1000 | 20.0 (20.0..22.0) |\n| argosy | 1200 (1100..1300) | 16.0 (15.0..44.0) |\n| direct | 5000 |  |\n",
		"| requests: CPU per request, ratio to haproxy | at most 0.85 | 0.800 | 0.750..2.00 | reached |\n",
		"### TLS from the client\n",
		"Not measured: nginx: it has ended.\n",
		"- nginx: 1\n",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("there is no %q in\n%s", want, text)
		}
	}
	if strings.Contains(text, "mTLS between") {
		t.Error("a heading with nothing below it")
	}
}

// The chart is well-formed, whatever the figures are.
func TestChart(t *testing.T) {
	zero := &Result{Name: "idle"}
	zero.put("a <&> b", "memory per connection", "KiB", -1)
	for name, r := range map[string]*Report{"example": example(), "empty": {}, "zero": {Results: []*Result{zero}}} {
		svg := r.Chart()
		d := xml.NewDecoder(strings.NewReader(svg))
		rects := 0
		for {
			token, err := d.Token()
			if errors.Is(err, io.EOF) {
				break
			}
			if err != nil {
				t.Fatalf("%s: %v\n%s", name, err, svg)
			}
			if e, ok := token.(xml.StartElement); ok && e.Name.Local == "rect" {
				rects++
				for _, a := range e.Attr {
					if a.Name.Local == "width" && (strings.HasPrefix(a.Value, "-") || a.Value == "NaN") {
						t.Errorf("%s: a bar is %s wide", name, a.Value)
					}
				}
			}
		}
		if want := map[string]int{"example": 6, "zero": 1}[name]; rects != want {
			t.Errorf("%s: %d bars, want %d", name, rects, want)
		}
	}
}

func TestFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "r.json")
	if err := example().WriteFile(path); err != nil {
		t.Fatal(err)
	}
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if r, err := Read(f); err != nil || !reflect.DeepEqual(r, example()) {
		t.Errorf("%+v, %v", r, err)
	}
	for _, text := range []string{"", "[]", `{"other": 1}`, `{"results": [null]}`, `{"results": [{"figures": [null]}]}`, `{"results": [{"figures": [{"peers": [{"peer": "a"}]}]}]}`} {
		if r, err := Read(strings.NewReader(text)); err == nil {
			t.Errorf("%s: %+v", text, r)
		}
	}
}

func TestShow(t *testing.T) {
	for v, want := range map[float64]string{0: "0", 0.01234: "0.0123", 0.5: "0.500", 9.999: "10.00", 100: "100", -2: "-2.00", -150: "-150", 12.34: "12.3", 123456: "123456"} {
		if got := Show(v); got != want {
			t.Errorf("%v: %s, want %s", v, got, want)
		}
	}
}

func TestSpread(t *testing.T) {
	for _, c := range []struct {
		values            []float64
		low, median, high float64
	}{
		{[]float64{7}, 7, 7, 7},
		{[]float64{3, 1, 2}, 1, 2, 3},
		{[]float64{4, 1, 3, 2}, 1, 2.5, 4},
	} {
		if low, median, high := Spread(c.values); low != c.low || median != c.median || high != c.high {
			t.Errorf("%v: %v %v %v", c.values, low, median, high)
		}
	}
}
