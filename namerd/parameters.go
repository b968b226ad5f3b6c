package namerd

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"

	"argosy/dtab"
)

// maxForm is the largest form that is taken, in bytes: as much as a query may have. Streams keep the table that is in it.
const maxForm = 64 << 10

// typeForm is a body that has parameters.
const typeForm = "application/x-www-form-urlencoded"

var (
	errMissing   = errors.New(`the parameter is missing`)
	errUndecoded = errors.New("it is not percent-encoded as it should be")
)

// requestError is what is wrong with a request: the text of a 400, which is Namerd's.
type requestError struct {
	what string
	why  error
}

func (e *requestError) Error() string { return e.what + ": " + e.why.Error() }
func (e *requestError) Unwrap() error { return e.why }

// find returns the first value of a name in a query or form. Semicolons separate parameters as ampersands do.
func find(encoded, name string) (value string, found bool, err error) {
	for pair := range strings.FieldsFuncSeq(encoded, func(c rune) bool { return c == '&' || c == ';' }) {
		key, value, _ := strings.Cut(pair, "=")
		if k, err := url.QueryUnescape(key); err != nil || k != name {
			continue
		}
		v, err := url.QueryUnescape(value)
		if err != nil {
			return "", true, errUndecoded
		}
		return v, true, nil
	}
	return "", false, nil
}

// parameter is the first value of a query parameter.
func parameter(r *http.Request, name string) string {
	v, _, _ := find(r.URL.RawQuery, name)
	return v
}

func isTrue(s string) bool {
	s = strings.ToLower(s)
	return s == "1" || s == "t" || s == "true"
}

// parameters are those of a request: of a form in its body, else of its query.
type parameters struct{ form, query string }

// parametersOf reads a form, and answers the request where it cannot.
func (s *Server) parametersOf(w http.ResponseWriter, r *http.Request) (parameters, bool) {
	p := parameters{query: r.URL.RawQuery}
	if bare(r.Header.Get("Content-Type")) != typeForm {
		return p, true
	}
	body, ok := s.readBody(w, r)
	if ok && len(body) > maxForm {
		replyText(w, http.StatusRequestEntityTooLarge, fmt.Sprintf("a form has at most %d bytes", maxForm))
		return p, false
	}
	p.form = string(body)
	return p, ok
}

func (p parameters) get(name string) (value string, found bool, err error) {
	if value, found, err = find(p.form, name); !found {
		value, found, err = find(p.query, name)
	}
	return value, found, err
}

// path is the parameter path, or a requestError.
func (p parameters) path() (dtab.Path, error) {
	text, found, err := p.get("path")
	switch {
	case err != nil:
		return nil, &requestError{"Invalid path", err}
	case !found:
		return nil, &requestError{"Invalid path", errMissing}
	}
	path, err := dtab.ParsePath(text)
	if err != nil {
		return nil, &requestError{"Invalid path", fmt.Errorf("%s / %w", text, err)}
	}
	return path, nil
}

// dtab is the parameter dtab, an empty table without one, or a requestError.
func (p parameters) dtab() (table dtab.Dtab, text string, err error) {
	if text, _, err = p.get("dtab"); err == nil {
		table, err = dtab.Parse(text)
	}
	if err != nil {
		return nil, "", &requestError{"Invalid dtab", err}
	}
	return table, text, nil
}

// isWatch reports whether a stream is asked for. What has no body can be none.
func (p parameters) isWatch(r *http.Request) bool {
	text, _, _ := p.get("watch")
	return isTrue(text) && r.Method != http.MethodHead
}

// keyOf puts parts together so that other parts give another key. Only the last may have a zero byte in it.
func keyOf(parts ...string) string { return strings.Join(parts, "\x00") }
