package store_test

import (
	"testing"

	"argosy/dtab"
	"argosy/namerd/store"
	"argosy/namerd/store/storetest"
)

func TestMemory(t *testing.T) {
	storetest.Run(t, func(*testing.T) store.Store { return store.NewMemory(nil) })
}

func TestMemoryVersionsAreNamerds(t *testing.T) {
	m := store.NewMemory(map[string]dtab.Dtab{"default": nil})
	versions := func() store.Version {
		e, err := m.Get(t.Context(), "default")
		if err != nil {
			t.Fatal(err)
		}
		return e.Version
	}
	if v := versions(); v != "\x00\x00\x00\x00\x00\x00\x00\x01" {
		t.Errorf("first version %q", v)
	}
	if err := m.Put(t.Context(), "default", nil); err != nil {
		t.Fatal(err)
	}
	if v := versions(); v != "\x00\x00\x00\x00\x00\x00\x00\x02" {
		t.Errorf("second version %q", v)
	}
}
