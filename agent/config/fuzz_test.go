package config

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"argosy/internal/hclx"
)

// Whatever stands in a file, loading it gives a configuration or problems that can be shown, and never panics.
func FuzzLoad(f *testing.F) {
	for _, pattern := range []string{"testdata/bad/*.hcl", "../../hcl/agent-*.hcl"} {
		files, err := filepath.Glob(pattern)
		if err != nil || len(files) == 0 {
			f.Fatal(pattern, err)
		}
		for _, file := range files {
			text, err := os.ReadFile(file)
			if err != nil {
				f.Fatal(err)
			}
			f.Add(string(text))
		}
	}
	for _, text := range []string{"", "\x00", "\xff\xfe", "\xef\xbb\xbfname = \"x\"", "dtab {", "dtab = 1", "a b c {}", "listener {}", "namer \"static\" { services = 1 }",
		"name = <<EOT\n", "name = \"${", "name = [for x in [1] : x]", "name = {}[0]", "name = \"a\"[0]", "dtab { static = <<-EOT\n\tx\n  EOT\n}", "client \"\\u00e4\" {}",
		"name = 1e999999999", "drain { timeout = 1e400 }", "listener \"a\" { max_connections = 1e400 }", strings.Repeat("(", 5000), "name = env(null)", "name = env(env)",
		"register { tags = [null] }", "register { meta = { (1) = 2 } }", "register { meta = {for k in [1]: k => k} }", "register { tags = [] ... }"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		file := filepath.Join(t.TempDir(), "f.hcl")
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		c, err := Load([]string{file})
		if err == nil {
			if c == nil || c.Name == "" || len(c.Listeners) == 0 {
				t.Errorf("%q gives %+v", text, c)
			}
			return
		}
		var invalid *hclx.Error
		if c != nil || !errors.As(err, &invalid) || len(invalid.Problems) == 0 || err.Error() == "" {
			t.Errorf("%q gives %+v and %v", text, c, err)
		}
		for _, p := range invalid.Problems {
			if p.Message == "" || p.Line > 0 && p.Column < 1 {
				t.Errorf("%q: problem %+v", text, p)
			}
		}
	})
}
