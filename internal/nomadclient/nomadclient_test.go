package nomadclient

import (
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"argosy/internal/settings"
)

// clearEnv makes a test independent of where it runs.
func clearEnv(t *testing.T) {
	for _, v := range os.Environ() {
		if name, value, _ := strings.Cut(v, "="); strings.HasPrefix(name, "NOMAD_") {
			os.Unsetenv(name)
			t.Cleanup(func() { os.Setenv(name, value) })
		}
	}
}

// fakeNomad tells the token and the region of the last request.
func fakeNomad(t *testing.T, l net.Listener) (s *httptest.Server, last func() string) {
	seen := make(chan string, 1)
	s = httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		seen <- r.Header.Get("X-Nomad-Token") + "|" + r.URL.Query().Get("region")
		w.Write([]byte(`"127.0.0.1:4647"`))
	}))
	if l != nil {
		s.Listener = l
	}
	s.Start()
	t.Cleanup(s.Close)
	return s, func() string { return <-seen }
}

func ask(t *testing.T, s settings.Nomad) {
	t.Helper()
	c, err := New(s)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.Status().Leader(); err != nil {
		t.Fatal(err)
	}
}

func TestEnvironmentFillsWhatIsNotConfigured(t *testing.T) {
	clearEnv(t)
	s, last := fakeNomad(t, nil)
	for _, c := range []struct {
		name string
		env  map[string]string
		s    settings.Nomad
		want string
	}{
		{"nothing", nil, settings.Nomad{}, "|"},
		{"environment", map[string]string{"NOMAD_TOKEN": "env", "NOMAD_REGION": "eu"}, settings.Nomad{}, "env|eu"},
		{"configured", map[string]string{"NOMAD_TOKEN": "env", "NOMAD_REGION": "eu"},
			settings.Nomad{Token: settings.NewSecret("mine"), Region: "us"}, "mine|us"},
		{"address without scheme", nil, settings.Nomad{Address: strings.TrimPrefix(s.URL, "http://")}, "|"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Setenv("NOMAD_ADDR", s.URL)
			for k, v := range c.env {
				t.Setenv(k, v)
			}
			ask(t, c.s)
			if got := last(); got != c.want {
				t.Errorf("sent %q, want %q", got, c.want)
			}
		})
	}
}

func TestTokenFileIsReadAgain(t *testing.T) {
	clearEnv(t)
	s, last := fakeNomad(t, nil)
	path := filepath.Join(t.TempDir(), "token")
	conf := settings.Nomad{Address: s.URL, TokenFile: path, Token: settings.NewSecret("other")}
	if _, err := New(conf); err == nil || !strings.Contains(err.Error(), "read the Nomad token") {
		t.Fatalf("a missing token file: %v", err)
	}
	write := func(text string) {
		t.Helper()
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("first\n")
	c, err := New(conf)
	if err != nil {
		t.Fatal(err)
	}
	for _, step := range []struct{ text, want string }{{"first", "first|"}, {" second\n", "second|"}, {"", "second|"}} {
		write(step.text)
		if _, err := c.Status().Leader(); err != nil {
			t.Fatal(err)
		}
		if got := last(); got != step.want {
			t.Errorf("sent %q, want %q", got, step.want)
		}
	}
}

func TestUnixSocket(t *testing.T) {
	clearEnv(t)
	path := filepath.Join(t.TempDir(), "api.sock")
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	_, last := fakeNomad(t, l)
	ask(t, settings.Nomad{Address: "unix://" + path, Token: settings.NewSecret("task")})
	if got := last(); got != "task|" {
		t.Errorf("sent %q", got)
	}
}

func TestMissingCertificates(t *testing.T) {
	clearEnv(t)
	if _, err := New(settings.Nomad{Address: "https://127.0.0.1:1", CAFile: "/nowhere/ca.pem"}); err == nil {
		t.Error("a CA file that is not there was accepted")
	}
}
