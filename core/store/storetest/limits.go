package storetest

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/keywicket/keywicket/core/store"
)

func limitCases() []Case {
	return []Case{
		{"limits/key", checkKeyLimit},
		{"limits/value", checkValueLimit},
		{"limits/operations", checkOpsLimit},
		{"limits/octets of a batch", checkBatchLimit},
		{"limits/malformed batches", checkMalformed},
	}
}

func invalid(ctx context.Context, s store.Store, what string, b ...store.Op) error {
	return refused(ctx, s, what, store.ErrInvalid, b...)
}

func checkKeyLimit(ctx context.Context, s store.Store) error {
	long := strings.Repeat("k", store.MaxKey)
	r, err := apply(ctx, s, put(long, "v"), put("k", "v"))
	if err != nil {
		return fmt.Errorf("a key of %d octets: %w", len(long), err)
	}
	if err := wantEntry(ctx, s, long, "v", r); err != nil {
		return err
	}
	if err := wantKeys(ctx, s, long, "", 2, long); err != nil {
		return err
	}
	_, longErr := s.Get(ctx, long+"k")
	_, emptyErr := s.Get(ctx, "")
	return errors.Join(
		wantErr("Get of a key that is too long", longErr, store.ErrInvalid),
		wantErr("Get of the empty key", emptyErr, store.ErrInvalid),
		invalid(ctx, s, "Put of a key that is too long", put("a", "1"), put(long+"k", "v")),
		invalid(ctx, s, "Put of the empty key", put("a", "1"), put("", "v")),
		invalid(ctx, s, "Delete of the empty key", put("a", "1"), del("")),
		invalid(ctx, s, "Check of a key that is too long", put("a", "1"), ifAbsent(check(long+"k"))),
	)
}

func checkValueLimit(ctx context.Context, s store.Store) error {
	value := strings.Repeat("v", store.MaxValue)
	r, err := apply(ctx, s, put("a", value))
	if err != nil {
		return fmt.Errorf("a value of %d octets: %w", len(value), err)
	}
	if err := wantEntry(ctx, s, "a", value, r); err != nil {
		return err
	}
	return invalid(ctx, s, "Put of a value that is too long", put("b", "1"), put("c", value+"v"))
}

func checkOpsLimit(ctx context.Context, s store.Store) error {
	var b store.Batch
	for i := range store.MaxOps + 1 {
		b = append(b, put(fmt.Sprintf("%03d", i), "v"))
	}
	if err := invalid(ctx, s, "a batch with too many operations", b...); err != nil {
		return err
	}
	if err := invalid(ctx, s, "a batch without operations"); err != nil {
		return err
	}
	r, err := apply(ctx, s, b[:store.MaxOps]...)
	if err != nil {
		return fmt.Errorf("a batch of %d operations: %w", store.MaxOps, err)
	}
	entries, err := s.Scan(ctx, "", "", store.MaxOps+1)
	if err != nil || len(entries) != store.MaxOps {
		return fmt.Errorf("Scan for %d entries: got %d, error %w", store.MaxOps, len(entries), err)
	}
	for i, e := range entries {
		if err := sameEntry("Scan", e, b[i].Key, "v", r); err != nil {
			return err
		}
	}
	return nil
}

// largest is a batch of exactly MaxBatch octets in as many operations as are
// allowed, each with a key as long as is allowed.
func largest() store.Batch {
	var b store.Batch
	left := store.MaxBatch
	for i := range store.MaxOps {
		key := fmt.Sprintf("%0*d", store.MaxKey, i)
		size := (left - (store.MaxOps-1-i)*store.MaxKey) / (store.MaxOps - i)
		if i == store.MaxOps-1 {
			size = left
		}
		value := strings.Repeat(string(rune('a'+i%26)), size-store.MaxKey)
		b = append(b, put(key, value))
		left -= store.MaxKey + len(value)
	}
	return b
}

func checkBatchLimit(ctx context.Context, s store.Store) error {
	b := largest()
	tooBig := append(store.Batch{}, b...)
	tooBig[0].Value = append([]byte("x"), tooBig[0].Value...)
	if err := invalid(ctx, s, "a batch of too many octets", tooBig...); err != nil {
		return err
	}
	four := store.Batch{}
	for i := range 4 { // few operations, each as large as is allowed
		four = append(four, put(fmt.Sprint(i), strings.Repeat("v", store.MaxValue-1)))
	}
	for _, b := range []store.Batch{b, four} {
		r, err := apply(ctx, s, b...)
		if err != nil {
			return fmt.Errorf("a batch of the largest size: %w", err)
		}
		for _, op := range b {
			if err := wantEntry(ctx, s, op.Key, string(op.Value), r); err != nil {
				return err
			}
		}
	}
	return nil
}

func checkMalformed(ctx context.Context, s store.Store) error {
	r, err := apply(ctx, s, put("a", "1"), put("b", "1"))
	if err != nil {
		return err
	}
	withValue := func(op store.Op) store.Op {
		op.Value = []byte("v")
		return op
	}
	return errors.Join(
		invalid(ctx, s, "a key twice", put("c", "1"), put("a", "2"), put("a", "3")),
		invalid(ctx, s, "a key twice, once deleted", put("c", "1"), put("a", "2"), del("a")),
		invalid(ctx, s, "a key twice, once checked", put("c", "1"), put("a", "2"), ifRevision(check("a"), r)),
		invalid(ctx, s, "no action", put("c", "1"), store.Op{Key: "d"}),
		invalid(ctx, s, "an unknown action", put("c", "1"), store.Op{Action: store.Check + 1, Key: "d"}),
		invalid(ctx, s, "two demands", put("c", "1"), ifAbsent(ifRevision(put("a", "2"), r))),
		invalid(ctx, s, "a Check that demands nothing", put("c", "1"), check("a")),
		invalid(ctx, s, "a Delete with a value", put("c", "1"), withValue(del("a"))),
		invalid(ctx, s, "a Check with a value", put("c", "1"), withValue(ifRevision(check("a"), r))),
	)
}
