package core

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/keywicket/keywicket/core/keyring"
	"github.com/keywicket/keywicket/core/store/memstore"
)

// TestNodesFlushTheSameAccounts: what happens at the same accounts on two nodes at the
// same time is written before long by both, whichever is the first each time.
func TestNodesFlushTheSameAccounts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		keys, err := keyring.New(time.Now())
		if err != nil {
			t.Fatal(err)
		}
		const accounts, rounds = 100, 12
		opt := Options{Store: memstore.New(), Directory: everybody{}, Keyring: keys, Flush: 3 * time.Second}
		populate(t, openBench(t, opt), accounts)
		var nodes []*Engine
		for _, opt.Node = range []string{"a", "b"} {
			nodes = append(nodes, openBench(t, opt))
			time.Sleep(100 * time.Millisecond)
		}
		for range rounds {
			for _, e := range nodes {
				for i := range accounts {
					a, err := e.lookup(t.Context(), accountName(i))
					if err != nil {
						t.Fatal(err)
					}
					e.activity.add(attemptAt{a.name, a, happened{at: time.Now(), ref: a.passwords[0].ref}})
				}
			}
			time.Sleep(3 * time.Second)
		}
		opt.Node = "c"
		reader := openBench(t, opt)
		for i := range accounts {
			all, err := reader.List(t.Context(), accountName(i))
			if err != nil {
				t.Fatal(err)
			}
			if uses := all[0].Uses; uses < 2*(rounds-2) {
				t.Fatalf("%d uses of account %d are written, want %d, but for the last ones", uses, i, 2*rounds)
			}
		}
	})
}
