package storetest

import (
	"context"
	"errors"
	"fmt"

	"github.com/keywicket/keywicket/core/store"
)

func applyCases() []Case {
	return []Case{
		{"apply/IfAbsent", checkIfAbsent},
		{"apply/IfRevision", checkIfRevision},
		{"apply/Check", checkCheck},
		{"apply/a conflict changes nothing", checkAllOrNothing},
		{"apply/revisions grow", checkRevisionsGrow},
		{"apply/removing nothing is no error", checkRemoveNothing},
		{"apply/a deleted key is absent", checkDeletedAbsent},
		{"apply/no revision comes back", checkNoRevisionTwice},
	}
}

// conflict demands that b is refused and that nothing is changed: it compares
// everything before and after.
func conflict(ctx context.Context, s store.Store, what string, b ...store.Op) error {
	return refused(ctx, s, what, store.ErrConflict, b...)
}

func refused(ctx context.Context, s store.Store, what string, want error, b ...store.Op) error {
	before, err := s.Scan(ctx, "", "", 1000)
	if err != nil {
		return fmt.Errorf("Scan: %w", err)
	}
	_, err = s.Apply(ctx, b)
	if err := wantErr(what, err, want); err != nil {
		return err
	}
	after, err := s.Scan(ctx, "", "", 1000)
	if err != nil {
		return fmt.Errorf("Scan: %w", err)
	}
	if len(before) != len(after) {
		return fmt.Errorf("%s: refused, and yet there are %d entries instead of %d", what, len(after), len(before))
	}
	for i, e := range before {
		if err := sameEntry(what+": refused, and yet", after[i], e.Key, string(e.Value), e.Revision); err != nil {
			return err
		}
	}
	return nil
}

func checkIfAbsent(ctx context.Context, s store.Store) error {
	if _, err := apply(ctx, s, ifAbsent(put("a", "1"))); err != nil {
		return err
	}
	if _, err := apply(ctx, s, ifAbsent(del("b"))); err != nil {
		return err
	}
	if _, err := apply(ctx, s, put("empty", "")); err != nil {
		return err
	}
	return errors.Join(
		conflict(ctx, s, "Put if absent, where something is", ifAbsent(put("a", "2"))),
		conflict(ctx, s, "Put if absent, where an empty value is", ifAbsent(put("empty", "2"))),
		conflict(ctx, s, "Delete if absent, where something is", ifAbsent(del("a"))),
	)
}

func checkIfRevision(ctx context.Context, s store.Store) error {
	first, err := apply(ctx, s, put("a", "1"))
	if err != nil {
		return err
	}
	second, err := apply(ctx, s, ifRevision(put("a", "2"), first), put("b", "2"))
	if err != nil {
		return err
	}
	if err := wantEntry(ctx, s, "a", "2", second); err != nil {
		return err
	}
	if err := errors.Join(
		conflict(ctx, s, "Put at an older revision", ifRevision(put("a", "3"), first)),
		conflict(ctx, s, "Put at a newer revision", ifRevision(put("a", "3"), second+1)),
		conflict(ctx, s, "Put at a revision, where nothing is", ifRevision(put("c", "3"), second)),
		conflict(ctx, s, "Delete at an older revision", ifRevision(del("a"), first)),
		conflict(ctx, s, "Delete at a revision, where nothing is", ifRevision(del("c"), second)),
	); err != nil {
		return err
	}
	// A demand is about its own key, not about the store.
	if _, err := apply(ctx, s, put("b", "3")); err != nil {
		return err
	}
	if _, err := apply(ctx, s, ifRevision(del("a"), second)); err != nil {
		return err
	}
	return wantNothing(ctx, s, "a")
}

func checkCheck(ctx context.Context, s store.Store) error {
	r, err := apply(ctx, s, put("a", "1"))
	if err != nil {
		return err
	}
	last, err := apply(ctx, s, ifRevision(check("a"), r), ifAbsent(check("b")), put("c", "2"))
	if err != nil {
		return err
	}
	alone, err := apply(ctx, s, ifRevision(check("a"), r), ifAbsent(check("b")))
	if err != nil {
		return err
	}
	if alone <= last {
		return fmt.Errorf("Apply that only checks has revision %d after %d", alone, last)
	}
	return errors.Join(
		wantEntry(ctx, s, "a", "1", r), // a Check writes nothing, so the revision stays
		wantNothing(ctx, s, "b"),
		conflict(ctx, s, "Check of an older revision", put("x", "3"), ifRevision(check("c"), r)),
		conflict(ctx, s, "Check of a revision, where nothing is", put("x", "3"), ifRevision(check("b"), r)),
		conflict(ctx, s, "Check of absence, where something is", put("x", "3"), ifAbsent(check("a"))),
	)
}

// Wherever in the batch the broken demand stands, nothing happens.
func checkAllOrNothing(ctx context.Context, s store.Store) error {
	r, err := fill(ctx, s, "a", "b", "c")
	if err != nil {
		return err
	}
	good := []store.Op{put("a", "new"), del("b"), put("x", "new"), ifRevision(put("c", "new"), r)}
	bad := ifAbsent(put("d", "new"))
	if _, err := fill(ctx, s, "d"); err != nil {
		return err
	}
	for at := range len(good) + 1 {
		b := append(append(append([]store.Op{}, good[:at]...), bad), good[at:]...)
		if err := conflict(ctx, s, fmt.Sprintf("a batch whose operation %d cannot be", at), b...); err != nil {
			return err
		}
	}
	last, err := apply(ctx, s, good...)
	if err != nil {
		return err
	}
	return errors.Join(wantEntry(ctx, s, "a", "new", last), wantNothing(ctx, s, "b"),
		wantEntry(ctx, s, "x", "new", last), wantEntry(ctx, s, "c", "new", last))
}

func checkRevisionsGrow(ctx context.Context, s store.Store) error {
	var last store.Revision
	for i, b := range []store.Batch{
		{put("a", "1")}, {put("b", "1")}, {put("a", "1")}, {del("a")}, {del("a")}, {put("a", "1")}, {ifAbsent(check("n"))}, {put("b", "2"), del("a")},
	} {
		r, err := apply(ctx, s, b...)
		if err != nil {
			return err
		}
		if r <= last {
			return fmt.Errorf("Apply %d has revision %d after %d", i, r, last)
		}
		last = r
	}
	return nil
}

func checkRemoveNothing(ctx context.Context, s store.Store) error {
	if _, err := apply(ctx, s, del("a")); err != nil {
		return fmt.Errorf("removing nothing: %w", err)
	}
	if _, err := apply(ctx, s, del("a"), put("b", "1")); err != nil {
		return fmt.Errorf("removing nothing: %w", err)
	}
	return wantKeys(ctx, s, "", "", 10, "b")
}

func checkDeletedAbsent(ctx context.Context, s store.Store) error {
	for range 3 {
		r, err := apply(ctx, s, ifAbsent(put("a", "1")))
		if err != nil {
			return fmt.Errorf("at a key that was deleted: %w", err)
		}
		if _, err := apply(ctx, s, ifRevision(del("a"), r)); err != nil {
			return err
		}
		if err := wantNothing(ctx, s, "a"); err != nil {
			return err
		}
		if err := conflict(ctx, s, "Put at the revision before the deletion", ifRevision(put("a", "2"), r)); err != nil {
			return err
		}
	}
	return nil
}

// Who read a key before it was deleted and made anew must not take the new one
// for the old.
func checkNoRevisionTwice(ctx context.Context, s store.Store) error {
	seen := make(map[store.Revision]bool)
	for range 4 {
		r, err := apply(ctx, s, put("a", "same"))
		if err != nil {
			return err
		}
		if seen[r] {
			return fmt.Errorf("revision %d comes back after a deletion", r)
		}
		for old := range seen {
			if err := conflict(ctx, s, "Put at the revision of a former life", ifRevision(put("a", "2"), old)); err != nil {
				return err
			}
		}
		seen[r] = true
		if err := wantEntry(ctx, s, "a", "same", r); err != nil {
			return err
		}
		if _, err := apply(ctx, s, del("a")); err != nil {
			return err
		}
	}
	return nil
}
