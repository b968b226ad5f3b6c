package terminal

import (
	"testing"
	"time"
)

func TestTexts(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ got, want string }{
		{Red.Paint("gone"), "\x1b[31mgone\x1b[0m"}, {Red.Paint(""), ""}, {Colour("").Paint("plain"), "plain"},
		{OneLine("a\x1b[2Jb\r\nc\x7f\u009bd\xffé"), "a [2Jb  c  d?é"},
		{Clip("naïve", 4), "naï…"}, {Clip("naïve", 5), "naïve"}, {Clip("naïve", 0), "naïve"},
		{Count(1, "entry"), "1 entry"}, {Count(0, "entry"), "0 entries"}, {Count(2, "name"), "2 names"},
		{Bytes(0), "0"}, {Bytes(999), "999"}, {Bytes(1000), "1.0k"}, {Bytes(9949), "9.9k"}, {Bytes(9960), "10k"}, {Bytes(999_499), "999k"},
		{Bytes(999_600), "1.0M"}, {Bytes(1<<63 - 1), "9.2E"},
		{Percent(0), "0%"}, {Percent(1), "100%"}, {Percent(0.9), "90%"}, {Percent(1. / 3), "33.3%"}, {Percent(1e-6), "<0.1%"}, {Percent(0.99999), ">99.9%"},
		{Age(-time.Second), "<1s"}, {Age(119 * time.Second), "119s"}, {Age(2 * time.Minute), "2m"}, {Age(47 * time.Hour), "47h"}, {Age(49 * time.Hour), "2d"},
	} {
		if c.got != c.want {
			t.Errorf("%q, want %q", c.got, c.want)
		}
	}
}
