package mounts

import (
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"

	"argosy/dtab"
	"argosy/internal/hclx"
	"argosy/internal/settings"
	"argosy/namer/nomad"
)

func load(t *testing.T, text string) ([]Namer, error) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "a.hcl")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	var raw struct {
		Namers []Block `hcl:"namer,block"`
	}
	d := hclx.Decode([]string{file}, &raw)
	all := Load(d, raw.Namers)
	return all, d.Err()
}

func TestNomad(t *testing.T) {
	token := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(token, []byte("secret\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	got, err := load(t, `
namer "nomad" {}
namer "nomad" {
  prefix      = "/#/tagged"
  include_tag = true
  filter      = "Datacenter == \"dc1\""
  hold_empty  = "1m"
  nomad {
    address    = "unix:///secrets/api.sock"
    token_file = "`+token+`"
    region     = "eu"
  }
}`)
	if err != nil {
		t.Fatal(err)
	}
	want := []Namer{
		{Kind: KindNomad, Prefix: dtab.MustParsePath("/#/nomad"), Nomad: &Nomad{Options: nomad.Options{HoldEmpty: 15 * time.Second}}},
		{Kind: KindNomad, Prefix: dtab.MustParsePath("/#/tagged"), Nomad: &Nomad{
			Server:  settings.Nomad{Address: "unix:///secrets/api.sock", TokenFile: token, Region: "eu"},
			Options: nomad.Options{IncludeTag: true, Filter: `Datacenter == "dc1"`, HoldEmpty: time.Minute},
		}},
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
	mounted, err := Open(got, settings.Consul{}, hclog.NewNullLogger(), nil)
	if err != nil || len(mounted) != 2 || !mounted[0].Prefix.Equal(want[1].Prefix) {
		t.Errorf("mounted %v, %v", mounted, err)
	}
	if err := os.Remove(token); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(got, settings.Consul{}, hclog.NewNullLogger(), nil); err == nil || !strings.HasPrefix(err.Error(), "namer /#/tagged: read the Nomad token:") {
		t.Errorf("without the token file: %v", err)
	}
}
