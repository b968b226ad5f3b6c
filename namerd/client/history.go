package client

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
	"unicode"

	"argosy/dtab"
	"argosy/namerd/store"
)

// What a namerd takes in the headers of a change, in bytes.
const (
	maxFrom    = 200
	maxMessage = 1000
)

// signed adds who makes a change, and why, to its headers. What is too long is cut, and what cannot stand in a header
// left out: a shift that goes back for a reason of many lines must not fail by that.
func (c *Client) signed(ctx context.Context, header map[string]string) map[string]string {
	if header == nil {
		header = map[string]string{}
	}
	author := store.AuthorOf(ctx)
	longest := map[string]int{"From": maxFrom, "X-Argosy-Message": maxMessage}
	for name, values := range map[string][2]string{"From": {author.Name, c.options.From}, "X-Argosy-Message": {author.Message, c.options.Message}} {
		for _, v := range values {
			if v = headerText(v, longest[name]); v != "" && header[name] == "" {
				header[name] = v
			}
		}
	}
	return header
}

// headerText is a text as it may stand in a header: on one line, without control characters, of so many bytes at most.
func headerText(text string, longest int) string {
	text = strings.Map(func(r rune) rune {
		if unicode.IsControl(r) {
			return ' '
		}
		return r
	}, strings.ToValidUTF8(text, "?"))
	text = strings.Join(strings.Fields(text), " ")
	if len(text) > longest {
		text = strings.ToValidUTF8(text[:longest-len("...")], "") + "..."
	}
	return text
}

// History returns the changes of a namespace, the newest first; at most limit of them if that is above 0. It returns
// ErrNoHistory from a namerd that keeps none, as Namerd 1.x.
func (c *Client) History(ctx context.Context, ns string, limit int) ([]store.Change, error) {
	if err := store.CheckName(ns); err != nil {
		return nil, err
	}
	what, path := "history of "+ns, "history/"+ns
	if limit > 0 {
		path += "?limit=" + strconv.Itoa(limit)
	}
	r, body, err := c.answer(ctx, http.MethodGet, path, map[string]string{"Accept": "application/json"}, nil)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", what, err)
	}
	if r.StatusCode != http.StatusOK {
		return nil, c.forgetful(what, r, body)
	}
	var answer []struct {
		Version                      string
		Time                         time.Time
		Action, By, Address, Message string
		Verified, Exists             bool
		Dtab                         dtab.Dtab
	}
	if err := json.Unmarshal(body, &answer); err != nil {
		return nil, fmt.Errorf("%s: the answer of namerd at %s is no history: %w", what, c.base, err)
	}
	changes := make([]store.Change, len(answer))
	for i, a := range answer {
		var version store.Version
		if a.Version != "" { // as of a deletion that was found
			if version, err = DecodeVersion(a.Version); err != nil {
				return nil, fmt.Errorf("%s: %w", what, err)
			}
		}
		changes[i] = store.Change{
			Version: version, At: a.Time, Action: a.Action, Exists: a.Exists, Dtab: a.Dtab,
			Author: store.Author{Name: a.By, Verified: a.Verified, Address: a.Address, Message: a.Message},
		}
	}
	return changes, nil
}

// Rollback writes the table of an earlier version again, as a new version, if ifMatch is the current one, or, where it is
// empty, if nobody changes the table meanwhile; else it returns ErrVersion. It returns ErrForgotten for a version that
// namerd does not remember, or that was a deletion, and ErrNoHistory as History does.
func (c *Client) Rollback(ctx context.Context, ns string, version, ifMatch store.Version) error {
	if err := store.CheckName(ns); err != nil {
		return err
	}
	header := c.signed(ctx, nil)
	if ifMatch != "" {
		header["If-Match"] = EncodeVersion(ifMatch)
	}
	what := "roll back " + ns
	r, body, err := c.answer(ctx, http.MethodPost, "rollback/"+ns+"?version="+url.QueryEscape(EncodeVersion(version)), header, nil)
	if err != nil {
		return fmt.Errorf("%s: %w", what, err)
	}
	if r.StatusCode/100 != 2 {
		return c.forgetful(what, r, body)
	}
	return nil
}

// forgetful is refused for the routes that only our own namerd has: a 404 has a text there, and from others nothing is
// known about namespaces.
func (c *Client) forgetful(what string, r *http.Response, body []byte) error {
	switch text := strings.TrimSpace(string(body)); {
	case r.StatusCode == http.StatusNotImplemented:
		return fmt.Errorf("%s: %w", what, store.ErrNoHistory)
	case r.StatusCode == http.StatusNotFound && text == store.ErrForgotten.Error():
		return fmt.Errorf("%s: %w", what, store.ErrForgotten)
	case r.StatusCode == http.StatusNotFound && text != store.ErrMissing.Error():
		return fmt.Errorf("%s: %w", what, store.ErrNoHistory)
	}
	return c.refused(what, r, body)
}
