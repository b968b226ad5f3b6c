package settings

import "testing"

func TestExposed(t *testing.T) {
	t.Parallel()
	plain, mutual, connect := &DoorTLS{CertFile: "c"}, &DoorTLS{ClientCAFile: "ca.pem"}, &DoorTLS{Connect: "edge"}
	tokens := []DoorToken{{Name: "ci"}}
	for _, test := range []struct {
		door Door
		want string
	}{
		{Door{Address: "127.0.0.1:4180"}, ""},
		{Door{Address: "127.9.9.9:4180"}, ""},
		{Door{Address: "[::1]:4180"}, ""},
		{Door{Address: "[::ffff:127.0.0.1]:4180"}, ""},
		{Door{Address: "localhost:4180"}, ""},
		{Door{Network: "unix", Address: "/run/x"}, ""},
		{Door{Address: ":4180"}, "TLS and authentication"},
		{Door{Address: "0.0.0.0:4180"}, "TLS and authentication"},
		{Door{Address: "0.0.0.0:4180", Closed: true}, ""},
		{Door{Address: "[::]:4180"}, "TLS and authentication"},
		{Door{Address: "10.0.0.1:4180", Tokens: tokens}, "TLS"},
		{Door{Address: "namerd.example:4180", TLS: plain}, "authentication"},
		{Door{Address: "localhost.example:4180"}, "TLS and authentication"},
		{Door{Address: ":4180", TLS: plain, Tokens: tokens}, ""},
		{Door{Address: ":4180", TLS: mutual}, ""},
		{Door{Address: ":4180", TLS: connect}, ""},
	} {
		if got := test.door.Exposed(); got != test.want {
			t.Errorf("%+v: %q, want %q", test.door, got, test.want)
		}
	}
}
