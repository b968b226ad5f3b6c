package namer_test

import (
	"encoding/json"
	"reflect"
	"testing"
	"testing/synctest"

	"argosy/dtab"
	"argosy/namerd/wire"
)

// TestCorpusDelegate compares what a delegation looks like as JSON.
func TestCorpusDelegate(t *testing.T) {
	type delegateCase struct {
		ID     string
		In     corpusInput
		Expect struct {
			JSON   any
			Failed string
		}
	}
	for _, c := range corpusOf[delegateCase](t, "delegate") {
		t.Run(c.ID, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				x, err := newWorld(t, c.In).interpreter(c.In).Explain(t.Context(), dtab.MustParsePath(c.In.Path))
				if err != nil {
					if c.Expect.Failed == "" || err.Error() != c.Expect.Failed {
						t.Errorf("failed with %v, want %q", err, c.Expect.Failed)
					}
					return
				}
				var got any
				body, err := wire.Delegation(x)
				if err != nil {
					t.Fatal(err)
				}
				if err := json.Unmarshal(body, &got); err != nil {
					t.Fatal(err)
				}
				if !reflect.DeepEqual(got, c.Expect.JSON) {
					want, _ := json.Marshal(c.Expect.JSON)
					t.Errorf("got  %s\nwant %s", body, want)
				}
			})
		})
	}
}
