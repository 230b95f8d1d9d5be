package badgerstore_test

import (
	"errors"
	"fmt"
	"testing"

	"github.com/keywicket/keywicket/core/store"
	"github.com/keywicket/keywicket/core/store/badgerstore"
)

// A snapshot that takes longer than many logs and compactions still sees every
// value as it was, and writers do not wait for it.
func TestSnapshotOutlivesLogs(t *testing.T) {
	s, err := badgerstore.Open(t.TempDir()+"/store", badgerstore.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	const keys, size = 24, 128 << 10
	write := func(round byte) error {
		for i := range keys {
			value := make([]byte, size)
			value[0], value[size-1] = round, round
			if _, err := s.Apply(t.Context(), store.Batch{{Action: store.Put, Key: fmt.Sprintf("k%02d", i), Value: value}}); err != nil {
				return err
			}
		}
		return nil
	}
	if err := write(1); err != nil {
		t.Fatal(err)
	}
	seen, round := 0, byte(1)
	err = s.Snapshot(t.Context(), func(store.Revision) error { return nil }, func(e store.Entry) error {
		if round < 20 { // 60 MiB, in memtables of 8
			round++
			if err := write(round); err != nil {
				return err
			}
		}
		seen++
		if e.Value[0] != 1 || e.Value[size-1] != 1 {
			return fmt.Errorf("%s is of round %d", e.Key, e.Value[0])
		}
		return nil
	})
	if err != nil || seen != keys {
		t.Fatalf("%d of %d entries: %v", seen, keys, err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	err = s.Snapshot(t.Context(), func(store.Revision) error { return nil }, func(store.Entry) error { return nil })
	if !errors.Is(err, store.ErrUnavailable) {
		t.Errorf("Snapshot of a closed store: %v", err)
	}
}
