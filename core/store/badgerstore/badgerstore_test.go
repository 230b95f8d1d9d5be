package badgerstore_test

import (
	"path/filepath"
	"testing"

	"github.com/keywicket/keywicket/core/store"
	"github.com/keywicket/keywicket/core/store/badgerstore"
	"github.com/keywicket/keywicket/core/store/storetest"
)

func open(tb testing.TB, dir string) *badgerstore.Store {
	tb.Helper()
	s, err := badgerstore.Open(dir, badgerstore.Options{})
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		if err := s.Close(); err != nil {
			tb.Error(err)
		}
	})
	return s
}

func newDir(tb testing.TB) string { return filepath.Join(tb.TempDir(), "store") }

func TestContract(t *testing.T) {
	storetest.Run(t, func(tb testing.TB) store.Store { return open(tb, newDir(tb)) })
}
