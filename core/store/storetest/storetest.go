package storetest

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/keywicket/keywicket/core/store"
)

// ErrNotOffered is what a Case says that is about an interface which the store
// does not have. It is no fault.
var ErrNotOffered = errors.New("the store does not offer this")

// A Case is one promise. Check gets an empty store and returns what was
// broken. It takes no *testing.T, so that Cases also runs against a plugin from
// the command line, and so that this package can be tested: storetest_test.go
// feeds it stores with one fault each and wants an error.
//
// Check waits for a store that keeps silent until ctx ends and no longer; give
// ctx a deadline.
type Case struct {
	Name  string
	Check func(ctx context.Context, s store.Store) error
}

// Cases returns every promise of the contract that can be checked from
// outside while the store's process lives.
func Cases() []Case {
	var all []Case
	for _, part := range [][]Case{readCases(), scanCases(), applyCases(), limitCases(), raceCases(), watchCases(), contextCases(), snapshotCases(), nearbyCases()} {
		all = append(all, part...)
	}
	return all
}

// patience is how long Run lets a store keep silent. Only a broken store
// makes anybody wait for it.
const patience = time.Minute

// Run runs every case, each on a store from open. open must give an empty
// store and close it through tb.Cleanup.
func Run(t *testing.T, open func(tb testing.TB) store.Store) {
	for _, c := range Cases() {
		t.Run(c.Name, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), patience)
			defer cancel()
			err := c.Check(ctx, open(t))
			if errors.Is(err, ErrNotOffered) {
				t.Skip(err)
			}
			if err != nil {
				t.Error(err)
			}
		})
	}
}

// CheckClosed says whether every method of s, which was closed, answers
// ErrUnavailable. How a store is closed is no part of the contract, so this is
// no Case.
func CheckClosed(ctx context.Context, s store.Store) error {
	return eachMethod(ctx, s, func(method string, err error) error {
		return wantErr(method+" on a closed store", err, store.ErrUnavailable)
	})
}

// eachMethod calls every method once and hands each error to check.
func eachMethod(ctx context.Context, s store.Store, check func(method string, err error) error) error {
	_, getErr := s.Get(ctx, "k")
	_, scanErr := s.Scan(ctx, "", "", 1)
	_, applyErr := s.Apply(ctx, store.Batch{put("k", "v")})
	_, watchErr := s.Watch(ctx, "")
	return errors.Join(check("Get", getErr), check("Scan", scanErr), check("Apply", applyErr), check("Watch", watchErr))
}

func put(key, value string) store.Op {
	return store.Op{Action: store.Put, Key: key, Value: []byte(value)}
}

func del(key string) store.Op { return store.Op{Action: store.Delete, Key: key} }

func ifAbsent(op store.Op) store.Op {
	op.IfAbsent = true
	return op
}

func ifRevision(op store.Op, r store.Revision) store.Op {
	op.IfRevision = r
	return op
}

func check(key string) store.Op { return store.Op{Action: store.Check, Key: key} }

// fill puts keys, each with itself as value, in one batch.
func fill(ctx context.Context, s store.Store, keys ...string) (store.Revision, error) {
	var b store.Batch
	for _, key := range keys {
		b = append(b, put(key, key))
	}
	return apply(ctx, s, b...)
}

// apply is Apply where an error is a broken promise.
func apply(ctx context.Context, s store.Store, b ...store.Op) (store.Revision, error) {
	r, err := s.Apply(ctx, b)
	switch {
	case err != nil:
		return 0, fmt.Errorf("Apply of a valid batch: %w", err)
	case r == 0:
		return 0, errors.New("Apply returned revision 0, which is none")
	}
	return r, nil
}

func wantErr(what string, err, want error) error {
	if !errors.Is(err, want) {
		return fmt.Errorf("%s: got error %v, want %v", what, err, want)
	}
	return nil
}

// wantEntry demands that there is value at key, last written at r.
func wantEntry(ctx context.Context, s store.Store, key, value string, r store.Revision) error {
	e, err := s.Get(ctx, key)
	if err != nil {
		return fmt.Errorf("Get %.20q: %w", key, err)
	}
	return sameEntry("Get", e, key, value, r)
}

func sameEntry(method string, e store.Entry, key, value string, r store.Revision) error {
	switch {
	case e.Key != key:
		return fmt.Errorf("%s: the entry of %.20q has the key %.20q", method, key, e.Key)
	case string(e.Value) != value:
		return fmt.Errorf("%s: %.20q has %d octets %.20q, want %d octets %.20q", method, key, len(e.Value), e.Value, len(value), value)
	case e.Revision != r:
		return fmt.Errorf("%s: %.20q has revision %d, want %d", method, key, e.Revision, r)
	}
	return nil
}

func wantNothing(ctx context.Context, s store.Store, key string) error {
	_, err := s.Get(ctx, key)
	return wantErr(fmt.Sprintf("Get %.20q, where nothing is", key), err, store.ErrNotFound)
}

// wantKeys demands that Scan finds keys, in this order.
func wantKeys(ctx context.Context, s store.Store, prefix, after string, limit int, keys ...string) error {
	entries, err := s.Scan(ctx, prefix, after, limit)
	if err != nil {
		return fmt.Errorf("Scan(%.20q, %.20q, %d): %w", prefix, after, limit, err)
	}
	got := make([]string, len(entries))
	for i, e := range entries {
		got[i] = e.Key
	}
	if fmt.Sprintf("%q", got) != fmt.Sprintf("%q", keys) {
		return fmt.Errorf("Scan(%.20q, %.20q, %d) found %.20q, want %.20q", prefix, after, limit, got, keys)
	}
	return nil
}
