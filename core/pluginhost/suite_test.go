package pluginhost_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/keywicket/keywicket/core/directory/directorytest"
	"github.com/keywicket/keywicket/core/pluginhost"
	"github.com/keywicket/keywicket/core/store/storetest"
)

// TestStoreContract runs the suite on a store that is another process.
func TestStoreContract(t *testing.T) {
	f := run(t, pluginhost.KindStore, "store", quick, nil).wait()
	s := f.store()
	for _, c := range storetest.Cases() {
		t.Run(c.Name, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			err := errors.Join(storetest.Empty(ctx, s), c.Check(ctx, s))
			if errors.Is(err, storetest.ErrNotOffered) {
				t.Skip(err)
			}
			if err != nil {
				t.Error(err)
			}
		})
	}
	if s := f.status(); s.Faults != 0 || s.Restarts != 0 {
		t.Errorf("%+v", s)
	}
}

// TestDirectoryContract does so with directories, of each sort.
func TestDirectoryContract(t *testing.T) {
	for mode, offers := range map[string]map[string]bool{"directory": {"watch/": true}, "directory-codes": {"code/": true}} {
		t.Run(mode, func(t *testing.T) {
			needMore := []string{"watch/changes", "code/right-once"} // an Editor, and codes
			d, err := run(t, pluginhost.KindDirectory, mode, quick, nil).wait().DirectoryNow("p")
			if err != nil {
				t.Fatal(err)
			}
			for _, c := range directorytest.Cases() {
				ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
				err := c.Check(ctx, d, directorytest.Standard())
				cancel()
				for prefix := range offers {
					if errors.Is(err, directorytest.ErrNotOffered) && strings.HasPrefix(c.Name, prefix) && !slices.Contains(needMore, c.Name) {
						t.Errorf("%s: %v", c.Name, err)
					}
				}
				if errors.Is(err, directorytest.ErrNotTried) != (err != nil && slices.Contains(needMore, c.Name) && offers[c.Name[:strings.IndexByte(c.Name, '/')+1]]) {
					t.Errorf("%s: %v", c.Name, err)
				}
				if err != nil && !errors.Is(err, directorytest.ErrNotOffered) && !errors.Is(err, directorytest.ErrNotTried) {
					t.Errorf("%s: %v", c.Name, err)
				}
			}
		})
	}
}
