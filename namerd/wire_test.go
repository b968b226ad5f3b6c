package namerd

import (
	"net/http"
	"net/url"
	"testing"

	"argosy/namerd/store"
)

func TestDecodeVersion(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]store.Version{
		"": "", "*": "", `""`: "", "MTIz": "123", `"MTIz"`: "123", " MT Iz ": "123", "MTI=": "12", "MTI": "12", "MQ==": "1", "MQ": "1",
		"AAAAAAAAAAE=": "\x00\x00\x00\x00\x00\x00\x00\x01", `'MTIz'`: "123", "M-T_I.z": "123", "MQ==\"": "1", "-_": "",
		`W/"AAAAAAAAAAE="`: "bad", `"MTIz", "MTI="`: "123\x31\x32", `"MTI=", "MTIz"`: "bad", "x": "bad", "MQ=": "bad", "MTIz=": "bad", "=": "bad", "MQ==M": "bad",
	} {
		got, err := decodeVersion(text)
		if err != nil {
			got = "bad"
		}
		if got != want {
			t.Errorf("%q: got %q, want %q", text, got, want)
		}
		if err == nil {
			if again, err := decodeVersion(etag(got)); err != nil || again != got {
				t.Errorf("%q does not come back: %q %v", got, again, err)
			}
		}
	}
}

func TestParameter(t *testing.T) {
	t.Parallel()
	for query, want := range map[string]string{
		"": "", "watch": "", "watch=true": "true", "a=b&watch=1": "1", "a=b;watch=1;watch=2": "1", "%77atch=t+r%75e": "t rue", "watch=%zz": "", "watched=1": "", "%zz=1&watch=x": "x",
	} {
		r := &http.Request{URL: &url.URL{RawQuery: query}}
		if got := parameter(r, "watch"); got != want {
			t.Errorf("%q: got %q, want %q", query, got, want)
		}
	}
	for text, want := range map[string]bool{"1": true, "t": true, "T": true, "true": true, "TRUE": true, "": false, "yes": false, "0": false, "on": false} {
		if isTrue(text) != want {
			t.Error(text)
		}
	}
}
