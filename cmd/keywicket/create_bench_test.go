package main_test

import (
	"fmt"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/dgraph-io/badger/v4"

	"github.com/keywicket/keywicket/core"
	"github.com/keywicket/keywicket/core/directory/local"
	"github.com/keywicket/keywicket/core/keyring"
	"github.com/keywicket/keywicket/core/store/badgerstore"
)

// BenchmarkCreate compares creations by 64 at once, each durable when it is
// answered, with one synced Badger transaction at a time that writes what such a
// creation does: in turns, and on the same disk. "ratio" is how many times as
// many there are in a second. The accounts are new and come to have 3 app
// passwords, or 40.
func BenchmarkCreate(b *testing.B) {
	for _, each := range []int{3, core.MaxLimit} {
		b.Run(fmt.Sprintf("accounts of %d", each), func(b *testing.B) { benchCreate(b, each) })
	}
}

func benchCreate(b *testing.B, each int) {
	const creators, alone = 64, 300
	ctx := b.Context()
	keys, err := keyring.New(time.Now())
	must(b, err)
	disk, err := badgerstore.Open(filepath.Join(b.TempDir(), "store"), badgerstore.Options{})
	must(b, err)
	defer func() { must(b, disk.Close()) }()
	policy := core.DefaultPolicy()
	policy.RequireTwoStep = false
	e, err := core.Open(ctx, core.Options{Store: disk, Directory: local.New(disk, keys, local.Options{}), Keyring: keys, Policy: &policy})
	must(b, err)
	defer func() { must(b, e.Close()) }()
	made := 0
	newAccount := func() string {
		made++
		a, err := e.AddAccount(ctx, fmt.Sprint("user", made), nil, nil)
		must(b, err)
		return a.Name
	}
	create := func(account string, n int) {
		for i := range n {
			if _, _, err := e.Create(ctx, account, core.NewAppPassword{Name: fmt.Sprint("device ", i)}); err != nil {
				b.Error(err) // not must: others call it too
			}
		}
	}
	// What is written on the average: the record of an account with half of them.
	half := newAccount()
	create(half, (each+1)/2)
	middle, err := disk.Get(ctx, "account/"+half)
	must(b, err)
	db, err := badger.Open(badger.DefaultOptions(b.TempDir()).WithSyncWrites(true).WithLogger(nil))
	must(b, err)
	defer func() { must(b, db.Close()) }()

	accounts := 2560 / each
	var together, single time.Duration
	for b.Loop() {
		b.StopTimer()
		names := make(chan string, accounts)
		for range accounts {
			names <- newAccount()
		}
		close(names)
		b.StartTimer()
		begin := time.Now()
		var all sync.WaitGroup
		for range creators {
			all.Go(func() {
				for name := range names {
					create(name, each)
				}
			})
		}
		all.Wait()
		together += time.Since(begin)
		begin = time.Now()
		for i := range alone {
			must(b, db.Update(func(txn *badger.Txn) error { return txn.Set(fmt.Append(nil, "account/", i%creators), middle.Value) }))
		}
		single += time.Since(begin)
	}
	perSecond := func(n int, d time.Duration) float64 { return float64(n*b.N) / d.Seconds() }
	b.ReportMetric(perSecond(accounts*each, together), "creations/s")
	b.ReportMetric(perSecond(alone, single), "badger/s")
	b.ReportMetric(perSecond(accounts*each, together)/perSecond(alone, single), "ratio")
}
