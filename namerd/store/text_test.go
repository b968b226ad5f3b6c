package store

import (
	"strings"
	"testing"
)

func TestParseText(t *testing.T) {
	t.Parallel()
	if d, err := ParseText("x", "/a => /b ; # fine\n/c => /d"); err != nil || d.String() != "/a=>/b;/c=>/d" {
		t.Error(d, err)
	}
	long := strings.Repeat("/a => /bcdefghi ;\n", 10_000)
	for text, want := range map[string]string{
		"/svc -> /d":                "x, line 1, column 6: '=' expected but '-' found at '/svc [-]> /d'",
		"/svc => /d ;\n/é\n":        "x, line 2, column 2: '=' expected but 'é' found at '/[é]'",
		"/a =>\n\n":                 "x, line 3, column 1: simple expected but end of input found at '[]'",
		"/a\n=> /b ; /c > /d\n":     "x, line 2, column 12: '=' expected but '>' found at '=> /b ; /c [>] /d'",
		long + "/a > /b ;\n" + long: "x, line 10001, column 4: '=' expected but '>' found at '/a [>] /b ;'",
		strings.Repeat("/a=>/b;", 60) + "/c;" + strings.Repeat("/a=>/b;", 60): "x, line 1, column 423: '=' expected but ';' found at '..." +
			strings.Repeat("/a=>/b;", 14) + "/c[;]" + strings.Repeat("/a=>/b;", 14) + "/...'",
	} {
		if _, err := ParseText("x", text); err == nil || err.Error() != want {
			t.Errorf("%.40q: %v\nwant %s", text, err, want)
		}
	}
}
