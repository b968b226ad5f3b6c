// Package terminal has what pictures for people have in common: colours, and texts that fit into a line.
package terminal

import (
	"fmt"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// Colour is the parameter of an ANSI escape. The zero value is none.
type Colour string

// The colours of texts.
const (
	Bold   Colour = "1"
	Dim    Colour = "2"
	Red    Colour = "31"
	Green  Colour = "32"
	Yellow Colour = "33"
	Cyan   Colour = "36"
)

// Paint puts a text into the colour.
func (c Colour) Paint(text string) string {
	if c == "" || text == "" {
		return text
	}
	return "\x1b[" + string(c) + "m" + text + "\x1b[0m"
}

// OneLine takes out of a text what would disturb a terminal, line ends among it: texts may have come from anywhere.
func OneLine(text string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsControl(r) {
			return ' '
		}
		return r
	}, strings.ToValidUTF8(text, "?"))
}

// Clip cuts a text to so many columns.
func Clip(text string, width int) string {
	if width < 1 || utf8.RuneCountInString(text) <= width {
		return text
	}
	return string([]rune(text)[:width-1]) + "…"
}

// Count writes a number of things: 1 name, 2 names, 3 entries.
func Count(n int, what string) string {
	switch {
	case n == 1:
		return "1 " + what
	case strings.HasSuffix(what, "y"):
		return fmt.Sprintf("%d %sies", n, strings.TrimSuffix(what, "y"))
	}
	return fmt.Sprintf("%d %ss", n, what)
}

// Bytes writes an amount in few letters: 999, 1.2k, 34M, by thousands.
func Bytes(n int64) string {
	v, unit := float64(n), 0
	const units = " kMGTPE"
	for ; v >= 999.5 && unit < len(units)-1; unit++ {
		v /= 1000
	}
	switch {
	case unit == 0:
		return fmt.Sprint(n)
	case v < 9.95:
		return fmt.Sprintf("%.1f%c", v, units[unit])
	}
	return fmt.Sprintf("%.0f%c", v, units[unit])
}

// Percent writes a share: 90%, 33.3%, <0.1%.
func Percent(share float64) string {
	switch v := 100 * share; {
	case v > 0 && v < 0.1:
		return "<0.1%"
	case v > 99.9 && v < 100:
		return ">99.9%"
	default:
		return strings.TrimSuffix(fmt.Sprintf("%.1f", v), ".0") + "%"
	}
}

// Age writes how long ago something was, in one unit: <1s, 12s, 3m, 7h, 12d.
func Age(d time.Duration) string {
	switch {
	case d < time.Second: // below 0 where a clock has been set
		return "<1s"
	case d < 2*time.Minute:
		return fmt.Sprintf("%ds", int(d.Seconds()))
	case d < 2*time.Hour:
		return fmt.Sprintf("%dm", int(d.Minutes()))
	case d < 48*time.Hour:
		return fmt.Sprintf("%dh", int(d.Hours()))
	}
	return fmt.Sprintf("%dd", int(d.Hours()/24))
}
