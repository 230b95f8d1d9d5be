package memstore_test

import (
	"errors"
	"testing"

	"github.com/keywicket/keywicket/core/store"
	"github.com/keywicket/keywicket/core/store/memstore"
	"github.com/keywicket/keywicket/core/store/storetest"
)

func TestContract(t *testing.T) {
	storetest.Run(t, func(tb testing.TB) store.Store {
		s := memstore.New()
		tb.Cleanup(func() { _ = s.Close() })
		return s
	})
}

func TestClosed(t *testing.T) {
	s := memstore.New()
	c, err := s.Watch(t.Context(), "")
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(s.Close(), s.Close()); err != nil {
		t.Fatal(err)
	}
	if _, open := <-c; open {
		t.Error("a watch goes on after Close")
	}
	if err := storetest.CheckClosed(t.Context(), s); err != nil {
		t.Error(err)
	}
}
