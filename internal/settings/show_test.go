package settings

import (
	"encoding/json"
	"io/fs"
	"math"
	"net/netip"
	"testing"
	"time"
)

type embedded struct{ Inner string }

// Embedded is one that others have the fields of.
type Embedded struct{ Shared string }

func TestShow(t *testing.T) {
	t.Parallel()
	type part struct {
		MaxConnections int
		hidden         string
	}
	secret := NewSecret("MARK")
	v := struct {
		Embedded
		embedded
		Name, Empty  string
		ClientCAFile string
		TLS          *part
		None         *part
		Token        Secret
		Tokens       []Secret
		More         map[string]Secret
		Pointer      *Secret
		Unset        Secret
		Any          any
		Wait         time.Duration
		Mode         fs.FileMode
		From         []netip.Prefix
		Address      string
		Most, Least  float64
		On           bool
		Do           func()
		Parts        map[string]part
	}{
		Embedded: Embedded{"shared"}, embedded: embedded{"x"}, Name: "n", ClientCAFile: "ca.pem", TLS: &part{1, "MARK"}, Token: secret,
		Tokens: []Secret{secret}, More: map[string]Secret{"a": secret}, Pointer: &secret, Any: secret, Wait: 90 * time.Second, Mode: 0o640,
		From: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}, Address: "http://me:MARK@consul", Most: math.Inf(1), Least: 0.5, On: true,
		Do: func() {}, Parts: map[string]part{"p": {2, ""}},
	}
	const want = `{"address":"http://(secret)@consul","any":"(secret)","client_ca_file":"ca.pem","from":["10.0.0.0/8"],"least":0.5,"mode":"0640",` +
		`"more":{"a":"(secret)"},"most":"+Inf","name":"n","on":true,"parts":{"p":{"max_connections":2}},"pointer":"(secret)","shared":"shared",` +
		`"tls":{"max_connections":1},"token":"(secret)","tokens":["(secret)"],"wait":"1m30s"}`
	got, err := json.Marshal(Show(&v))
	if err != nil || string(got) != want {
		t.Errorf("got  %s %v\nwant %s", got, err, want)
	}
	if got, err := json.Marshal(Show(nil)); err != nil || string(got) != "null" {
		t.Errorf("%s %v", got, err)
	}
}

func TestKey(t *testing.T) {
	t.Parallel()
	for name, want := range map[string]string{"Name": "name", "MaxConnections": "max_connections", "ClientCAFile": "client_ca_file", "TLS": "tls", "SPIFFEID": "spiffeid", "KV": "kv", "ID": "id"} {
		if got := key(name); got != want {
			t.Errorf("%s: %s, want %s", name, got, want)
		}
	}
}
