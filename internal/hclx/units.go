package hclx

import (
	"errors"
	"fmt"
	"io/fs"
	"math"
	"regexp"
	"strconv"
	"strings"
	"time"
	"unicode"

	"github.com/zclconf/go-cty/cty"
)

// Forever is no upper limit for Duration.
const Forever = time.Duration(math.MaxInt64)

// Duration takes a duration such as "1m30s", from low to high.
func (d *Decoder) Duration(a Attr, low, high time.Duration) time.Duration {
	if a == nil {
		return 0
	}
	v, ok := d.eval(a.Name, a.Expr)
	if !ok {
		return 0
	}
	if v.Type() == cty.Number {
		n := v.AsBigFloat().Text('f', -1)
		if n == "0" && low <= 0 {
			return 0
		}
		d.Errorf(Place(a), fmt.Sprintf("write \"%ss\" for seconds", n), "%s needs a unit", a.Name)
		return 0
	}
	if v.Type() != cty.String {
		d.Errorf(Place(a), "write a duration such as \"1m30s\"", "%s must be a duration, not %s", a.Name, kind(v))
		return 0
	}
	got, err := time.ParseDuration(v.AsString())
	if err != nil {
		d.Errorf(Place(a), durationHint(v.AsString()), "%s %q is no duration", a.Name, v.AsString())
		return 0
	}
	if got < low || got > high {
		d.Errorf(Place(a), between(brief(low), brief(high), high == Forever), "%s cannot be %s", a.Name, v.AsString())
		return 0
	}
	return got
}

var spelledOut = regexp.MustCompile(`(?i)^\s*(\d+)\s*(ms|s|m|h|d|millis|sec|min|hour|day)[a-z]*\s*$`)

// durationHint guesses what was meant.
func durationHint(s string) string {
	if m := spelledOut.FindStringSubmatch(s); m != nil {
		unit := strings.ToLower(m[2])
		switch n, _ := strconv.Atoi(m[1]); {
		case unit == "d" || unit == "day":
			return fmt.Sprintf("write \"%dh\"", 24*n)
		case unit == "millis" || unit == "ms":
			return fmt.Sprintf("write \"%dms\"", n)
		default:
			return fmt.Sprintf("write \"%d%s\"", n, unit[:1])
		}
	}
	return `write numbers with the units ms, s, m or h, such as "500ms" or "1m30s"`
}

// brief prints a duration without zero parts: 10m, not 10m0s.
func brief(v time.Duration) string {
	s := v.String()
	if strings.HasSuffix(s, "m0s") {
		s = strings.TrimSuffix(s, "0s")
	}
	if strings.HasSuffix(s, "h0m") {
		s = strings.TrimSuffix(s, "0m")
	}
	return s
}

// Size takes a number of bytes: 4096, or "64KiB", "10MB".
func (d *Decoder) Size(a Attr, low, high int64) int64 {
	if a == nil {
		return 0
	}
	v, ok := d.eval(a.Name, a.Expr)
	if !ok {
		return 0
	}
	var n int64
	switch v.Type() {
	case cty.Number:
		f := v.AsBigFloat()
		i, exact := f.Int64()
		n, ok = i, f.IsInt() && exact == 0
	case cty.String:
		n, ok = parseSize(v.AsString())
	default:
		ok = false
	}
	if !ok {
		d.Errorf(Place(a), `write bytes, or a number with the unit B, kB, MB, GB, KiB, MiB or GiB, such as "64KiB"`,
			"%s must be a size, not %s", a.Name, shown(v))
		return 0
	}
	if n < low || n > high {
		d.Errorf(Place(a), between(fmt.Sprint(low), fmt.Sprint(high), high == math.MaxInt64), "%s cannot be %d bytes", a.Name, n)
		return 0
	}
	return n
}

func parseSize(s string) (int64, bool) {
	s = strings.TrimSpace(s)
	i := strings.IndexFunc(s, func(c rune) bool { return !unicode.IsDigit(c) })
	if i < 0 {
		i = len(s)
	}
	n, err := strconv.ParseInt(s[:i], 10, 64)
	if err != nil {
		return 0, false
	}
	var unit int64
	switch strings.ToLower(strings.TrimSpace(s[i:])) {
	case "", "b":
		unit = 1
	case "kb":
		unit = 1000
	case "mb":
		unit = 1000 * 1000
	case "gb":
		unit = 1000 * 1000 * 1000
	case "kib", "k":
		unit = 1 << 10
	case "mib", "m":
		unit = 1 << 20
	case "gib", "g":
		unit = 1 << 30
	default:
		return 0, false
	}
	if n > math.MaxInt64/unit {
		return 0, false
	}
	return n * unit, true
}

// pathless takes the file name out of an error where the message has it elsewhere.
func pathless(err error) error {
	var at *fs.PathError
	if errors.As(err, &at) {
		return fmt.Errorf("%s: %w", at.Path, at.Err)
	}
	return err
}
