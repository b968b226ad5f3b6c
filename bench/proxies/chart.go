package proxies

import (
	"encoding/xml"
	"fmt"
	"strings"
)

// panel is one figure in the chart.
type panel struct {
	scenario, figure, title string
	more                    bool // more is better
}

func panels() []panel {
	return []panel{
		{"requests", "CPU per request", "CPU per small request", false},
		{"connections", "CPU per connection", "CPU per connection", false},
		{"bulk", "CPU, 8 streams", "CPU of 8 streams", false},
		{"idle", "memory per connection", "memory per idle connection", false},
		{"latency", "p99", "p99 at 2,000 requests a second", false},
		{"requests-tls", "CPU per request", "TLS: CPU per small request", false},
		{"handshakes-tls", "CPU per handshake", "TLS: CPU per handshake", false},
		{"x25519-tls", "CPU per handshake", "TLS: CPU per handshake with X25519", false},
		{"bulk-tls", "CPU, 8 streams", "TLS: CPU of 8 streams", false},
		{"idle-tls", "memory per connection", "TLS: memory per idle connection", false},
		{"requests-mtls", "requests", "mTLS: small requests", true},
		{"bulk-mtls", "8 streams", "mTLS: 8 streams", true},
		{"idle-mtls", "memory per connection", "mTLS: memory per idle connection", false},
	}
}

// The chart's measures, in pixels.
const (
	panelWidth = 400
	labelWidth = 120
	barWidth   = 180
	lineHeight = 20
	headHeight = 30
	columns    = 2
)

// Colours that can be read on light and on dark ground.
const chartStyle = `<style>
text { font: 13px sans-serif; fill: #1f2328 }
.head { font-weight: bold }
.bar { fill: #8c959f }
.us { fill: #0969da }
.reach { stroke: #1f2328; stroke-width: 1.5 }
@media (prefers-color-scheme: dark) {
  text { fill: #e6edf3 }
  .bar { fill: #6e7681 }
  .us { fill: #58a6ff }
  .reach { stroke: #e6edf3 }
}
</style>
`

// Chart draws the report as SVG: a bar for each median, a line over it from the smallest to the largest value.
func (r *Report) Chart() string {
	var b strings.Builder
	height := 0 // of the row
	x, y := 0, 10
	for _, p := range panels() {
		f := r.figure(p.scenario, p.figure)
		if f == nil || len(f.Peers) == 0 {
			continue
		}
		height = max(height, headHeight+lineHeight*len(f.Peers)+16)
		p.draw(&b, f, x, y)
		if x += panelWidth; x >= columns*panelWidth {
			x, y, height = 0, y+height, 0
		}
	}
	y += height
	return fmt.Sprintf("<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 %d %d\" width=\"%d\" height=\"%d\" role=\"img\">\n<title>What the proxies cost</title>\n%s%s</svg>\n",
		columns*panelWidth, y, columns*panelWidth, y, chartStyle, b.String())
}

func (p panel) draw(b *strings.Builder, f *Figure, x, y int) {
	title := fmt.Sprintf("%s, %s", p.title, f.Unit)
	if p.more {
		title += " (more is better)"
	}
	fmt.Fprintf(b, "<text class=\"head\" x=\"%d\" y=\"%d\">%s</text>\n", x+8, y+16, escape(title))
	most := 0.0
	for _, s := range f.Peers {
		_, m, high := Spread(s.Values)
		most = max(most, m, min(high, 2*m)) // one wild round is not to shrink all bars
	}
	if most <= 0 {
		most = 1
	}
	pixels := func(v float64) float64 { return min(max(v, 0)/most, 1) * barWidth }
	for i, s := range f.Peers {
		low, m, high := Spread(s.Values)
		top := y + headHeight + i*lineHeight
		class := "bar"
		if strings.HasPrefix(s.Peer, us) {
			class = "us"
		}
		left := float64(x + labelWidth + 8)
		fmt.Fprintf(b, "<text x=\"%d\" y=\"%d\">%s</text>", x+8, top+12, escape(s.Peer))
		fmt.Fprintf(b, "<rect class=\"%s\" x=\"%.0f\" y=\"%d\" width=\"%.1f\" height=\"12\"/>", class, left, top+2, pixels(m))
		fmt.Fprintf(b, "<line class=\"reach\" x1=\"%.1f\" x2=\"%.1f\" y1=\"%d\" y2=\"%d\"/>", left+pixels(low), left+pixels(high), top+8, top+8)
		fmt.Fprintf(b, "<text x=\"%.0f\" y=\"%d\">%s</text>\n", left+barWidth+8, top+12, Show(m))
	}
}

func escape(text string) string {
	var b strings.Builder
	xml.EscapeText(&b, []byte(text)) // a strings.Builder does not fail
	return b.String()
}
