package consulclient

import (
	"os"
	"path/filepath"
	"testing"

	"argosy/internal/settings"
)

func TestToken(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string) string {
		t.Helper()
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path+".new", []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(path+".new", path); err != nil {
			t.Fatal(err)
		}
		return path
	}
	for _, name := range []string{"CONSUL_HTTP_TOKEN", "CONSUL_HTTP_TOKEN_FILE"} {
		t.Setenv(name, "")
	}
	check := func(s settings.Consul, want string) func() string {
		t.Helper()
		token, err := Token(s)
		if err != nil {
			t.Fatal(err)
		}
		if got := token(); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
		return token
	}
	check(settings.Consul{}, "")
	t.Setenv("CONSUL_HTTP_TOKEN", "from the environment")
	check(settings.Consul{}, "from the environment")
	check(settings.Consul{Token: settings.NewSecret("configured")}, "configured")
	file := write("token", "first\n")
	token := check(settings.Consul{TokenFile: file, Token: settings.NewSecret("configured")}, "first")
	write("token", "second\n")
	if got := token(); got != "second" {
		t.Errorf("got %q after the change", got)
	}
	t.Setenv("CONSUL_HTTP_TOKEN_FILE", write("other", "third"))
	check(settings.Consul{}, "third")
	check(settings.Consul{Token: settings.NewSecret("configured")}, "configured")
	if _, err := Token(settings.Consul{TokenFile: filepath.Join(dir, "none")}); err == nil {
		t.Error("a file that is not there gives a token")
	}
}
