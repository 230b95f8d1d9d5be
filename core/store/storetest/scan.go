package storetest

import (
	"context"
	"fmt"
	"strings"

	"github.com/keywicket/keywicket/core/store"
)

func scanCases() []Case {
	return []Case{
		{"scan/nothing there", checkScanEmpty},
		{"scan/prefix", checkScanPrefix},
		{"scan/prefix of octets 0xff", checkScanHighPrefix},
		{"scan/after", checkScanAfter},
		{"scan/limit", checkScanLimit},
		{"scan/pages", checkScanPages},
		{"scan/values and revisions", checkScanEntries},
		{"scan/deleted keys are gone", checkScanDeleted},
	}
}

func checkScanEmpty(ctx context.Context, s store.Store) error {
	if err := wantKeys(ctx, s, "", "", 10); err != nil {
		return err
	}
	if _, err := fill(ctx, s, "a", "c"); err != nil {
		return err
	}
	return wantKeys(ctx, s, "b", "", 10)
}

func checkScanPrefix(ctx context.Context, s store.Store) error {
	if _, err := fill(ctx, s, "a", "b", "b/", "b/1", "b/2", "b0", "c"); err != nil {
		return err
	}
	for prefix, want := range map[string][]string{
		"":     {"a", "b", "b/", "b/1", "b/2", "b0", "c"},
		"b":    {"b", "b/", "b/1", "b/2", "b0"},
		"b/":   {"b/", "b/1", "b/2"},
		"b/1":  {"b/1"},
		"b/1x": nil,
		"B":    nil,
	} {
		if err := wantKeys(ctx, s, prefix, "", 10, want...); err != nil {
			return err
		}
	}
	return wantKeys(ctx, s, strings.Repeat("b", store.MaxKey), "", 10)
}

func checkScanHighPrefix(ctx context.Context, s store.Store) error {
	if _, err := fill(ctx, s, "a", "a\xff", "a\xff\xff", "b", "\xfe", "\xff", "\xff\xff", "\xff\xff\xff"); err != nil {
		return err
	}
	for prefix, want := range map[string][]string{
		"a\xff":        {"a\xff", "a\xff\xff"},
		"\xff":         {"\xff", "\xff\xff", "\xff\xff\xff"},
		"\xff\xff":     {"\xff\xff", "\xff\xff\xff"},
		"\xff\xff\xff": {"\xff\xff\xff"},
	} {
		if err := wantKeys(ctx, s, prefix, "", 10, want...); err != nil {
			return err
		}
	}
	return nil
}

func checkScanAfter(ctx context.Context, s store.Store) error {
	if _, err := fill(ctx, s, "a", "b/1", "b/1\x00", "b/2", "b/3", "c"); err != nil {
		return err
	}
	for _, tt := range []struct {
		prefix, after string
		want          []string
	}{
		{"", "b/1", []string{"b/1\x00", "b/2", "b/3", "c"}},
		{"", "b/1\x00", []string{"b/2", "b/3", "c"}},
		{"", "b/10", []string{"b/2", "b/3", "c"}}, // nothing is there
		{"", "c", nil},
		{"", "\xff", nil},
		{"b/", "a", []string{"b/1", "b/1\x00", "b/2", "b/3"}}, // before the prefix
		{"b/", "b/2", []string{"b/3"}},
		{"b/", "b/3", nil},
		{"b/", "c", nil}, // behind the prefix
	} {
		if err := wantKeys(ctx, s, tt.prefix, tt.after, 10, tt.want...); err != nil {
			return err
		}
	}
	return nil
}

func checkScanLimit(ctx context.Context, s store.Store) error {
	if _, err := fill(ctx, s, "a", "b", "c"); err != nil {
		return err
	}
	for limit, want := range map[int][]string{1: {"a"}, 2: {"a", "b"}, 3: {"a", "b", "c"}, 4: {"a", "b", "c"}, 1 << 30: {"a", "b", "c"}} {
		if err := wantKeys(ctx, s, "", "", limit, want...); err != nil {
			return err
		}
	}
	for _, limit := range []int{0, -1} {
		_, err := s.Scan(ctx, "", "", limit)
		if err := wantErr(fmt.Sprintf("Scan with limit %d", limit), err, store.ErrInvalid); err != nil {
			return err
		}
	}
	return nil
}

// A reader goes on after the last key of a page until a page is not full.
func checkScanPages(ctx context.Context, s store.Store) error {
	const total = 300
	for first := 0; first < total; first += 100 {
		var keys []string
		for i := first; i < first+100; i++ {
			keys = append(keys, fmt.Sprintf("p/%03d", i))
		}
		if _, err := fill(ctx, s, keys...); err != nil {
			return err
		}
	}
	if _, err := fill(ctx, s, "o", "q"); err != nil {
		return err
	}
	for _, limit := range []int{7, 100, total, total + 1} {
		after, seen := "", 0
		for {
			page, err := s.Scan(ctx, "p/", after, limit)
			if err != nil {
				return fmt.Errorf("Scan after %q: %w", after, err)
			}
			for _, e := range page {
				if want := fmt.Sprintf("p/%03d", seen); e.Key != want {
					return fmt.Errorf("Scan in pages of %d: %q where %q should be", limit, e.Key, want)
				}
				seen++
			}
			if len(page) < limit {
				break
			}
			after = page[len(page)-1].Key
		}
		if seen != total {
			return fmt.Errorf("Scan in pages of %d found %d of %d keys", limit, seen, total)
		}
	}
	return nil
}

func checkScanEntries(ctx context.Context, s store.Store) error {
	first, err := apply(ctx, s, put("a", "1"), put("b", "2"))
	if err != nil {
		return err
	}
	second, err := apply(ctx, s, put("b", "3"), put("c", ""))
	if err != nil {
		return err
	}
	entries, err := s.Scan(ctx, "", "", 10)
	if err != nil || len(entries) != 3 {
		return fmt.Errorf("Scan for 3 keys: %d entries, error %w", len(entries), err)
	}
	if err := sameEntry("Scan", entries[0], "a", "1", first); err != nil {
		return err
	}
	if err := sameEntry("Scan", entries[1], "b", "3", second); err != nil {
		return err
	}
	return sameEntry("Scan", entries[2], "c", "", second)
}

func checkScanDeleted(ctx context.Context, s store.Store) error {
	if _, err := fill(ctx, s, "a", "b", "c", "d"); err != nil {
		return err
	}
	if _, err := apply(ctx, s, del("b"), del("c")); err != nil {
		return err
	}
	if err := wantKeys(ctx, s, "", "", 2, "a", "d"); err != nil {
		return err
	}
	return wantKeys(ctx, s, "b", "", 1)
}
