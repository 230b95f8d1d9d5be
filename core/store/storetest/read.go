package storetest

import (
	"context"
	"fmt"
	"strings"

	"github.com/keywicket/keywicket/core/store"
)

func readCases() []Case {
	return []Case{
		{"get/nothing is ErrNotFound", checkGetNothing},
		{"get/what was put", checkGetPut},
		{"get/every answered Apply", checkGetAnswered},
		{"get/keys of any octets", checkBinaryKeys},
		{"get/values of any octets, also of none", checkBinaryValues},
		{"values/the caller may change what it put", checkValuesIn},
		{"values/the caller may change what it got", checkValuesOut},
	}
}

func checkGetNothing(ctx context.Context, s store.Store) error {
	if err := wantNothing(ctx, s, "b"); err != nil {
		return err
	}
	if _, err := fill(ctx, s, "a", "bb", "c"); err != nil {
		return err
	}
	return wantNothing(ctx, s, "b")
}

func checkGetPut(ctx context.Context, s store.Store) error {
	r, err := apply(ctx, s, put("a", "1"), put("b", "2"))
	if err != nil {
		return err
	}
	if err := wantEntry(ctx, s, "a", "1", r); err != nil {
		return err
	}
	return wantEntry(ctx, s, "b", "2", r)
}

func checkGetAnswered(ctx context.Context, s store.Store) error {
	for i := range 30 {
		value := fmt.Sprint(i)
		r, err := apply(ctx, s, put("a", value))
		if err != nil {
			return err
		}
		if err := wantEntry(ctx, s, "a", value, r); err != nil {
			return err
		}
	}
	if _, err := apply(ctx, s, del("a")); err != nil {
		return err
	}
	return wantNothing(ctx, s, "a")
}

// oddKeys are in the order of their octets.
var oddKeys = []string{
	"\x00", "\x00\x00", "\x00\xff", " ", "!badger!x", "%", "A", "A\x00", "A\x00B", "A/", "AB", "A\x80", "a", "b\xff", "b\xff\xff", "c", "\xc3(", "\xff", "\xff\x00", "\xff\xff",
}

func checkBinaryKeys(ctx context.Context, s store.Store) error {
	r, err := fill(ctx, s, oddKeys...)
	if err != nil {
		return err
	}
	for _, key := range oddKeys {
		if err := wantEntry(ctx, s, key, key, r); err != nil {
			return err
		}
	}
	return wantKeys(ctx, s, "", "", len(oddKeys)+1, oddKeys...)
}

func checkBinaryValues(ctx context.Context, s store.Store) error {
	var all strings.Builder
	for c := range 256 {
		all.WriteByte(byte(c))
	}
	for i, value := range []string{"", "\x00", "\x00\x00\x00", "\xff", "\n", all.String(), strings.Repeat("\x00", 5000)} {
		key := fmt.Sprintf("key %d", i)
		r, err := apply(ctx, s, put(key, value))
		if err != nil {
			return err
		}
		if err := wantEntry(ctx, s, key, value, r); err != nil {
			return err
		}
		entries, err := s.Scan(ctx, key, "", 1)
		if err != nil || len(entries) != 1 {
			return fmt.Errorf("Scan for one value of %d octets: %d entries, error %w", len(value), len(entries), err)
		}
		if err := sameEntry("Scan", entries[0], key, value, r); err != nil {
			return err
		}
	}
	r, err := apply(ctx, s, store.Op{Action: store.Put, Key: "nil"})
	if err != nil {
		return err
	}
	return wantEntry(ctx, s, "nil", "", r)
}

func checkValuesIn(ctx context.Context, s store.Store) error {
	value := []byte("before")
	batch := store.Batch{{Action: store.Put, Key: "a", Value: value}}
	r, err := apply(ctx, s, batch...)
	if err != nil {
		return err
	}
	copy(value, "AFTER!")
	batch[0].Key = "b"
	return wantEntry(ctx, s, "a", "before", r)
}

func checkValuesOut(ctx context.Context, s store.Store) error {
	var events []<-chan store.Event
	for range 2 {
		c, err := s.Watch(ctx, "")
		if err != nil {
			return fmt.Errorf("Watch: %w", err)
		}
		events = append(events, c)
	}
	r, err := apply(ctx, s, put("a", "before"))
	if err != nil {
		return err
	}
	for range 2 {
		e, err := s.Get(ctx, "a")
		if err != nil {
			return fmt.Errorf("Get: %w", err)
		}
		if err := sameEntry("Get, after an earlier answer was changed", e, "a", "before", r); err != nil {
			return err
		}
		copy(e.Value, "AFTER!")
		entries, err := s.Scan(ctx, "", "", 1)
		if err != nil || len(entries) != 1 {
			return fmt.Errorf("Scan: %d entries, error %w", len(entries), err)
		}
		if err := sameEntry("Scan, after an earlier answer was changed", entries[0], "a", "before", r); err != nil {
			return err
		}
		copy(entries[0].Value, "AFTER!")
	}
	for _, c := range events {
		e, err := nextEvent(ctx, c)
		if err != nil {
			return err
		}
		if err := sameEntry("Watch, after another's event was changed", e.Entry, "a", "before", r); err != nil {
			return err
		}
		copy(e.Entry.Value, "AFTER!")
	}
	return wantEntry(ctx, s, "a", "before", r)
}
