package badgerstore_test

import (
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/dgraph-io/badger/v4"

	"github.com/keywicket/keywicket/core/store"
)

// each calls write from 64 goroutines, n times together.
func each(tb testing.TB, writers, n int, write func(writer int) error) time.Duration {
	tb.Helper()
	var next atomic.Int64
	var group sync.WaitGroup
	start := time.Now()
	for w := range writers {
		group.Go(func() {
			for next.Add(1) <= int64(n) {
				if err := write(w); err != nil {
					tb.Error(err)
					return
				}
			}
		})
	}
	group.Wait()
	return time.Since(start)
}

// BenchmarkApplyAgainstBadger compares what 64 writers get from the committer
// with one synced Badger transaction at a time, in turns and on the same disk:
// "ratio" is how many times as much.
func BenchmarkApplyAgainstBadger(b *testing.B) {
	const writers, alone, grouped = 64, 200, 4000
	value := []byte(strings.Repeat("v", 1000))
	s := open(b, newDir(b))
	db, err := badger.Open(badger.DefaultOptions(b.TempDir()).WithSyncWrites(true).WithLogger(nil))
	if err != nil {
		b.Fatal(err)
	}
	defer db.Close()
	var turn sync.Mutex
	var ours, theirs time.Duration
	for b.Loop() {
		ours += each(b, writers, grouped, func(w int) error {
			_, err := s.Apply(b.Context(), store.Batch{put(fmt.Sprint("account/", w), string(value))})
			return err
		})
		theirs += each(b, writers, alone, func(w int) error {
			turn.Lock()
			defer turn.Unlock()
			return db.Update(func(txn *badger.Txn) error { return txn.Set(fmt.Append(nil, "account/", w), value) })
		})
	}
	perSecond := func(n int, d time.Duration) float64 { return float64(n*b.N) / d.Seconds() }
	b.ReportMetric(perSecond(grouped, ours), "applies/s")
	b.ReportMetric(perSecond(alone, theirs), "badger/s")
	b.ReportMetric(perSecond(grouped, ours)/perSecond(alone, theirs), "ratio")
}

func BenchmarkGet(b *testing.B) {
	s := open(b, newDir(b))
	for i := range 100 {
		if _, err := s.Apply(b.Context(), store.Batch{put(fmt.Sprint("account/", i), strings.Repeat("v", 1000))}); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := s.Get(b.Context(), "account/50"); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkApply(b *testing.B) {
	for _, writers := range []int{1, 64} {
		b.Run(fmt.Sprintf("writers=%d", writers), func(b *testing.B) {
			s := open(b, newDir(b))
			value := strings.Repeat("v", 1000)
			var next atomic.Int64
			var group sync.WaitGroup
			b.ResetTimer()
			for w := range writers {
				group.Go(func() {
					for next.Add(1) <= int64(b.N) {
						if _, err := s.Apply(b.Context(), store.Batch{put(fmt.Sprint("account/", w), value)}); err != nil {
							b.Error(err)
							return
						}
					}
				})
			}
			group.Wait()
		})
	}
}
