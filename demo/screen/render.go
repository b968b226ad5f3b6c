package screen

import (
	"errors"
	"fmt"
	"regexp"
	"strings"
	"time"
	"unicode/utf8"

	"argosy/demo/story"
)

// View is what there is to show.
type View struct {
	Facts    story.Facts
	Up       time.Duration
	Titles   []string       // of all steps
	Step     int            // the one that is being told, from 1; 0: none
	Progress string         // what it waits for
	Results  []story.Result // of those that are done
	Free     bool           // the story is over, or given up: the keys are all there is
	Seen     bool           // Now is known
	Now      story.Observation
	Rates    map[string]float64 // requests a second by cluster
	OKRate   float64
	P50, P99 time.Duration
	Note     string // the last thing that a key has done
	Quitting bool   // the user wants to end
	Stopping bool   // it is being ended
}

const (
	bold, dim, red, green, yellow, cyan, reset = "\x1b[1m", "\x1b[2m", "\x1b[31m", "\x1b[32m", "\x1b[33m", "\x1b[36m", "\x1b[0m"
	barWidth                                   = 24
)

// Render draws a view as lines of at most width characters, at most height of them.
func Render(v View, width, height int) []string {
	var out []string
	add := func(format string, a ...any) { out = append(out, fmt.Sprintf(format, a...)) }

	add("%sArgosy demo%s on a %s   up %s   %s", bold, reset, v.Facts.Name, clock(v.Up), v.headline())
	add("")
	out = append(out, v.story(width)...)
	add("")
	if v.Seen {
		out = append(out, v.clusters()...)
		add("")
		out = append(out, v.fleet()...)
		add("")
		d := v.Now.Load
		add("%sload%s       %.0f requests a second: %.0f answered in %d ms (p50), %d ms (p99); %d failed since the start", bold, reset,
			d.Rate, v.OKRate, v.P50.Milliseconds(), v.P99.Milliseconds(), d.Failed)
		add("")
	}
	if len(v.Facts.Links) > 0 {
		add("%sin another terminal%s", bold, reset)
		for _, l := range v.Facts.Links {
			add("  %s%-22s%s %s", dim, l.What, reset, l.Text)
		}
		add("")
	}
	if v.Note != "" {
		add("%s%s%s", cyan, v.Note, reset)
	}
	keys := fmt.Sprintf("%s1%s %s2%s shift to redis1, redis2   %s+%s %s-%s load   %sq%s quit", bold, reset, bold, reset, bold, reset, bold, reset, bold, reset)
	if !v.Free {
		keys += dim + "   (a key takes over from the story)" + reset
	}
	out = append(out, keys)
	return fit(out, width, height)
}

func (v View) headline() string {
	switch {
	case v.Stopping || v.Quitting:
		return yellow + "ending everything" + reset
	case v.Free:
		return green + "it is yours" + reset
	}
	return ""
}

// story lists the steps, with what was measured in the latest.
func (v View) story(width int) []string {
	var out []string
	for i, title := range v.Titles {
		n := i + 1
		mark, colour := " ", dim
		var detail []string
		if i < len(v.Results) {
			r := v.Results[i]
			mark, colour = green+"✓"+reset, ""
			if errors.Is(r.Err, story.ErrTakenOver) {
				mark = dim + "-" + reset
			} else if r.Err != nil {
				mark = red + "✗" + reset
				detail = append(detail, red+oneLine(r.Err.Error())+reset)
			}
			if n == len(v.Results) && (n == v.Step || v.Step == 0 || v.Step == n+1) {
				detail = append(r.Measured, detail...)
			}
		} else if n == v.Step {
			mark, colour = yellow+"▸"+reset, bold
			if v.Progress != "" {
				detail = []string{v.Progress}
			}
		}
		out = append(out, fmt.Sprintf("%s %s%s%s", mark, colour, title, reset))
		for _, d := range detail {
			for _, l := range wrap(oneLine(d), width-6) {
				out = append(out, "    "+l)
			}
		}
	}
	return out
}

func (v View) clusters() []string {
	out := []string{fmt.Sprintf("%s%-10s %-*s %-*s%s", bold, "cluster", barWidth+6, "connections", barWidth+6, "requests a second", reset)}
	names := []string{story.Redis1, story.Redis2}
	mostC, mostR := 20.0, 50.0
	for _, n := range names {
		mostC, mostR = max(mostC, float64(v.Now.Backends[n].Connections)), max(mostR, v.Rates[n])
	}
	for i, n := range names {
		colour := []string{cyan, yellow}[i]
		c := v.Now.Backends[n].Connections
		out = append(out, fmt.Sprintf("%-10s %s%s%s %4d  %s%s%s %4.0f", n, colour, bar(float64(c), mostC, barWidth), reset, c,
			colour, bar(v.Rates[n], mostR, barWidth), reset, v.Rates[n]))
	}
	return out
}

func (v View) fleet() []string {
	o := v.Now
	out := []string{fmt.Sprintf("%sfleet%s      %d wanted, %d running (from %d to %d)", bold, reset, o.Wanted, len(o.Instances), v.Facts.Min, v.Facts.Max)}
	most := 10.0
	for _, i := range o.Instances {
		most = max(most, float64(i.Connections))
	}
	for _, i := range o.Instances {
		pid := ""
		if i.Pid != 0 {
			pid = fmt.Sprintf("pid %d", i.Pid)
		}
		out = append(out, fmt.Sprintf("  %-14s %-12s %s%s%s %4d connections", i.ID, pid, green, bar(float64(i.Connections), most, barWidth/2), reset, i.Connections))
	}
	if d := o.Decision; !d.At.IsZero() {
		out = append(out, fmt.Sprintf("%sscheduler%s  %s, %s: %s", bold, reset, d.At.Format("15:04:05"), d.Action, oneLine(d.Why)))
	}
	return out
}

// bar draws a share of width characters, in eighths.
func bar(value, most float64, width int) string {
	eighths := 0
	if most > 0 && value > 0 {
		eighths = max(1, int(value/most*float64(width)*8+0.5))
	}
	eighths = min(eighths, width*8)
	s := strings.Repeat("█", eighths/8)
	if rest := eighths % 8; rest > 0 {
		s += string([]rune("▏▎▍▌▋▊▉")[rest-1])
	}
	return s + strings.Repeat(" ", width-utf8.RuneCountInString(s))
}

// wrap breaks a text at spaces; from the second line on it is set in a little.
func wrap(s string, width int) []string {
	var out []string
	line, n := "", 0
	for _, word := range strings.Fields(s) {
		w := utf8.RuneCountInString(colours.ReplaceAllString(word, ""))
		if n > 0 && n+1+w > width {
			out = append(out, line)
			line, n = "  "+word, w+2
			continue
		}
		if n > 0 {
			line, n = line+" ", n+1
		}
		line, n = line+word, n+w
	}
	return append(out, line)
}

// colours are the sequences that take no room.
var colours = regexp.MustCompile("\x1b\\[[0-9;]*m")

func clock(d time.Duration) string {
	return fmt.Sprintf("%d:%02d", int(d.Minutes()), int(d.Seconds())%60)
}

func oneLine(s string) string { return strings.Join(strings.Fields(s), " ") }

// fit cuts lines that are too long, not counting colours, and when there are too many takes away from the middle, so that
// the title and the keys stay.
func fit(lines []string, width, height int) []string {
	for i, l := range lines {
		lines[i] = cut(l, width)
	}
	if len(lines) <= height {
		return lines
	}
	var kept []string // first do without empty lines
	for _, l := range lines {
		if l != "" {
			kept = append(kept, l)
		}
	}
	if over := len(kept) - max(height, 2); over > 0 {
		kept = append(kept[:len(kept)-1-over:len(kept)-1-over], kept[len(kept)-1])
	}
	return kept
}

func cut(s string, width int) string {
	var b strings.Builder
	n := 0
	inColour := false
	for _, r := range s {
		switch {
		case r == '\x1b':
			inColour = true
		case inColour:
			inColour = r != 'm'
			b.WriteRune(r)
			continue
		default:
			if n++; n > width {
				continue
			}
		}
		b.WriteRune(r)
	}
	return b.String()
}
