package store_test

import (
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"

	"argosy/dtab"
	"argosy/namerd/store"
)

func TestRecordsComeBack(t *testing.T) {
	var large dtab.Dtab
	for i := range 5000 {
		d, err := dtab.Parse(fmt.Sprintf("/svc/%d => /host/%d", i, i))
		if err != nil {
			t.Fatal(err)
		}
		large = append(large, d...)
	}
	for _, table := range []dtab.Dtab{nil, large[:1], large} {
		want := store.Change{
			Version: "17", At: time.Date(2026, 1, 2, 3, 4, 5, 6, time.UTC), Action: store.ActionPut, Exists: table != nil, Dtab: table,
			Author: store.Author{Name: "ann", Verified: true, Address: "10.0.0.1:4", Message: "a <b> & \"c\""},
		}
		line := store.MarshalChange(want)
		if strings.Contains(string(line), "\n") {
			t.Error("more than a line")
		}
		if text := len(table.String()); len(line) > 400 && len(line) > text/2 {
			t.Errorf("%d bytes for a table of %d", len(line), text)
		}
		got, err := store.UnmarshalChange(line)
		if err != nil {
			t.Fatal(err)
		}
		if !got.Dtab.Equal(want.Dtab) {
			t.Errorf("table of %d entries came back with %d", len(want.Dtab), len(got.Dtab))
		}
		got.Dtab = want.Dtab
		if !reflect.DeepEqual(got, want) {
			t.Errorf("got  %+v\nwant %+v", got, want)
		}
	}
	for _, line := range []string{"", "{", "[]", `{"dtab":"x"}`, `{"dtab_gzip":"AAAA"}`, `{"time":"yesterday"}`} {
		if _, err := store.UnmarshalChange([]byte(line)); err == nil {
			t.Errorf("%q is a change", line)
		}
	}
}

func TestLimits(t *testing.T) {
	for _, test := range []struct {
		limits store.Limits
		sizes  []int
		drop   int
	}{
		{store.Limits{Changes: 3, Bytes: 10}, nil, 0},
		{store.Limits{Changes: 3, Bytes: 10}, []int{1, 1, 1}, 0},
		{store.Limits{Changes: 3, Bytes: 10}, []int{1, 1, 1, 1}, 1},
		{store.Limits{Changes: 3, Bytes: 10}, []int{5, 5, 5}, 1},
		{store.Limits{Changes: 3, Bytes: 10}, []int{1, 1, 50}, 2},
		{store.Limits{Changes: 3, Bytes: 10}, []int{50}, 0},
	} {
		if got := test.limits.Excess(test.sizes); got != test.drop {
			t.Errorf("%+v of %v drops %d, want %d", test.limits, test.sizes, got, test.drop)
		}
	}
}

// Namespaces that are made and deleted again and again do not fill the memory.
func TestMemoryForgetsTheGone(t *testing.T) {
	m := store.NewMemory(nil)
	for i := range store.MaxForgotten + 5 {
		ns := fmt.Sprintf("ns-%d", i)
		if err := m.Create(t.Context(), ns, nil); err != nil {
			t.Fatal(err)
		}
		if err := m.Delete(t.Context(), ns); err != nil {
			t.Fatal(err)
		}
	}
	known := 0
	for i := range store.MaxForgotten + 5 {
		if _, err := m.History(t.Context(), fmt.Sprintf("ns-%d", i), 1); err == nil {
			known++
		}
	}
	if _, err := m.History(t.Context(), "ns-0", 1); known != store.MaxForgotten || err == nil {
		t.Errorf("%d are remembered; the first: %v", known, err)
	}
}
