package namerd

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"net/http"
	"strconv"
	"strings"

	"argosy/dtab"
	"argosy/namerd/store"
	"argosy/namerd/wire"
)

// The formats of a table.
const (
	typeJSON = "application/json"
	typeDtab = "application/dtab"
	typeText = "text/plain"
)

var (
	errContentType = errors.New("unknown content type")
	errNullEntry   = errors.New("null is no entry")
	errVersion     = errors.New("not base64")
)

// bare is a content type without its parameters, in lower case.
func bare(contentType string) string {
	t, _, _ := strings.Cut(contentType, ";")
	return strings.ToLower(strings.TrimSpace(t))
}

// accepted is the first of our formats that the Accept headers name, JSON without one. Preferences (q) and wildcards
// have no effect, as in Namerd.
func accepted(r *http.Request) string {
	for _, header := range r.Header.Values("Accept") {
		for entry := range strings.SplitSeq(header, ",") {
			if t := bare(entry); t == typeJSON || t == typeDtab || t == typeText {
				return t
			}
		}
	}
	return typeJSON
}

func isJSON(r *http.Request) bool { return bare(r.Header.Get("Content-Type")) == typeJSON }

// decode reads the table in a body.
func decode(r *http.Request, body []byte) (dtab.Dtab, error) {
	switch bare(r.Header.Get("Content-Type")) {
	case typeDtab, typeText:
		return dtab.Parse(string(body))
	case typeJSON:
		var entries []json.RawMessage
		if err := json.Unmarshal(body, &entries); err != nil { // also refuses what follows the array
			return nil, err
		}
		for _, e := range entries {
			if string(e) == "null" {
				return nil, errNullEntry
			}
		}
		var table dtab.Dtab
		return table, (&table).UnmarshalJSON(body)
	}
	return nil, errContentType
}

// document is a table as an answer has it, with the newline at its end.
func document(contentType string, table dtab.Dtab) []byte {
	if contentType == typeJSON {
		return wire.Line(table)
	}
	return []byte(table.String() + "\n")
}

func namesDocument(names []string) []byte {
	if names == nil {
		names = []string{}
	}
	return wire.Line(names)
}

// setType sets the Content-Type; an empty one keeps net/http from guessing one.
func setType(w http.ResponseWriter, contentType string) {
	w.Header()["Content-Type"] = nil
	if contentType != "" {
		w.Header().Set("Content-Type", contentType)
	}
}

func reply(w http.ResponseWriter, status int, contentType string, body []byte) {
	setType(w, contentType)
	w.Header().Set("Content-Length", strconv.Itoa(len(body))) // else a long one would be chunked
	w.WriteHeader(status)
	_, _ = w.Write(body) // a reader that has gone away needs no answer
}

func replyText(w http.ResponseWriter, status int, text string) {
	reply(w, status, typeText, []byte(text))
}

// etag is a version as the API shows it: base64, without quotes and without W/.
func etag(v store.Version) string { return base64.StdEncoding.EncodeToString([]byte(v)) }

// decodeVersion reads an If-Match as leniently as Namerd: what is not of the alphabet is skipped, padding may be missing.
// A weak ETag and a list of several cannot be read that way.
func decodeVersion(s string) (store.Version, error) {
	digits := make([]byte, 0, len(s))
	padded := false
	for i := 0; i < len(s); i++ {
		c := s[i]
		alphabet := c >= 'A' && c <= 'Z' || c >= 'a' && c <= 'z' || c >= '0' && c <= '9' || c == '+' || c == '/'
		switch {
		case alphabet && padded:
			return "", errVersion
		case alphabet:
			digits = append(digits, c)
		case c == '=' && !padded:
			padded = true
			if len(digits)%4 == 0 || len(digits)%4 == 2 && !strings.HasPrefix(s[i+1:], "=") {
				return "", errVersion
			}
		}
	}
	v, err := base64.RawStdEncoding.DecodeString(string(digits))
	if err != nil {
		return "", errVersion
	}
	return store.Version(v), nil
}
