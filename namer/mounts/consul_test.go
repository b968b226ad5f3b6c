package mounts

import (
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"

	"argosy/internal/settings"
	"argosy/namer/consul"
)

func TestConsulKeys(t *testing.T) {
	t.Parallel()
	got, err := load(t, `
namer "io.l5d.consul" {
  tags                   = ["a", "b"]
  filter                 = "Service.Meta.version == v2"
  resolver               = true
  health_statuses        = ["passing", "warning", "maintenance"]
  connect                = "prefer"
  tagged_address         = "wan"
  weights                = { large = 3, small = 0.5 }
  transfer_metadata      = true
  set_host               = true
  consistency_mode       = "stale"
  cached                 = true
  near                   = "_agent"
  near_count             = 5
  hold_empty             = "1s"
  guard_share            = 0.25
  guard_hold             = "2s"
  max_stale              = "3h"
  snapshot_dir           = "snapshots"
  consul {
    address = "https://consul.example:8501"
    token   = "secret"
  }
}`)
	if err != nil {
		t.Fatal(err)
	}
	want := &Consul{
		SnapshotDir: "snapshots",
		At:          &settings.Consul{Address: "https://consul.example:8501", Token: settings.NewSecret("secret"), Timeout: 10 * time.Second, WatchConnections: 80},
		Options: consul.Options{
			Tags: []string{"a", "b"}, Filter: "Service.Meta.version == v2", Resolver: true, UseHealth: true,
			Statuses: []string{"passing", "warning", "maintenance"}, Connect: consul.ConnectPrefer, PreferService: true,
			TaggedAddress: "wan", Weights: []consul.TagWeight{{Tag: "large", Weight: 3}, {Tag: "small", Weight: 0.5}}, Metadata: true,
			Authority: "consul", Consistency: "stale", Cached: true, Near: "_agent", NearCount: 5, HoldEmpty: time.Second,
			GuardShare: 0.25, GuardHold: 2 * time.Second, MaxStale: 3 * time.Hour,
		},
	}
	if len(got) != 1 || !reflect.DeepEqual(got[0].Consul, want) {
		t.Errorf("got  %+v\nwant %+v", got[0].Consul, want)
	}
	for text, mode := range map[string]consul.Connect{"true": consul.ConnectAlways, "false": consul.ConnectNever, `"true"`: consul.ConnectAlways} {
		if got, err := load(t, `namer "io.l5d.consul" { connect = `+text+` }`); err != nil || got[0].Consul.Connect != mode {
			t.Errorf("connect = %s is %v, %v", text, got[0].Consul.Connect, err)
		}
	}
}

func TestConsulMistakes(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"include_tag = true\n resolver = true":                       `3:13: resolver and include_tag do not go together`,
		"cached = true\n consistency_mode = \"consistent\"":          `2:10: cached answers cannot be consistent`,
		`consistency_mode = "quick"`:                                 `consistency_mode cannot be "quick"`,
		`health_statuses = ["passing", "good"]`:                      `2:31: there is no status "good"`,
		`health_statuses = []`:                                       `health_statuses is empty`,
		"use_health_check = false\n health_statuses = [\"passing\"]": `3:20: health_statuses is set and use_health_check is off`,
		`connect = "maybe"`:                                          `connect cannot be "maybe"`,
		`connect = 1`:                                                `connect must be a string, not a number`,
		`filter = ""`:                                                `filter is empty`,
		`tags = [""]`:                                                `a tag is empty`,
		`tags = "a"`:                                                 `tags must be a list of strings`,
		`weights = { a = -1 }`:                                       `a cannot be -1`,
		`weights = ["a"]`:                                            `weights must be a map`,
		`guard_share = 1.5`:                                          `guard_share cannot be 1.5`,
		`guard_hold = "2h"`:                                          `guard_hold cannot be 2h`,
		`max_stale = 5`:                                              `max_stale needs a unit`,
		`near_count = 2`:                                             `near_count is set without near`,
		"near = \"_agent\"\n near_count = 0":                         `near_count cannot be 0`,
		"consul {\n addres = \"x\"\n}":                               `addres`,
		"consul {\n token = \"x\"\n token_file = \"/nonexistent\"\n}": `token and token_file are both set`,
	} {
		_, err := load(t, "namer \"io.l5d.consul\" {\n"+text+"\n}")
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s:\ngot  %v\nwant %s", text, err, want)
		}
	}
}

func TestOpenSharesWhatIsAskedOfOneConsul(t *testing.T) {
	t.Parallel()
	o := opener{logger: hclog.NewNullLogger(), consuls: map[settings.Consul]*consul.Seats{}}
	here, there := settings.Consul{Address: "127.0.0.1:1"}, settings.Consul{Address: "127.0.0.1:2"}
	a, err := o.reach(here)
	b, err2 := o.reach(here)
	c, err3 := o.reach(there)
	if err != nil || err2 != nil || err3 != nil {
		t.Fatal(err, err2, err3)
	}
	if a != b || a == c || a.Client() == c.Client() {
		t.Error("clients are not shared by what they reach")
	}
	open := func(dir string) error {
		_, err := Open([]Namer{{Kind: KindConsul, Consul: &Consul{SnapshotDir: dir}}}, here, hclog.NewNullLogger(), nil)
		return err
	}
	if err := open(filepath.Join(t.TempDir(), "a", "b")); err != nil {
		t.Error(err)
	}
	shared := t.TempDir()
	if err := os.Chmod(shared, 0o777); err != nil {
		t.Fatal(err)
	}
	if err := open(shared); err == nil || !strings.Contains(err.Error(), "can be written to by others") {
		t.Errorf("a folder for everybody: %v", err)
	}
	if err := open("/dev/null/x"); err == nil {
		t.Error("a folder that cannot be made")
	}
}
