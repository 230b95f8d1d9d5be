package core_test

import (
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/keywicket/keywicket/core"
	"github.com/keywicket/keywicket/core/store"
)

// BenchmarkCreate compares creations by 64 at once, each durable when it is
// answered, with as many durable writes of the same store one after another.
func BenchmarkCreate(b *testing.B) {
	const creators, each, alone = 64, 40, 300
	f := newFixture(b, func(f *fixture) {
		onDisk(b)(f)
		f.opt.Recorder, f.opt.CacheBytes = nil, 0
		f.policy.RequireTwoStep = false
	})
	for i := range creators {
		_, err := f.AddAccount(f.ctx, fmt.Sprint("user", i), nil, nil)
		must(b, err)
	}
	var together, single time.Duration
	value := []byte(strings.Repeat("v", 600))
	for b.Loop() {
		begin := time.Now()
		var all sync.WaitGroup
		for i := range creators {
			all.Go(func() {
				for j := range each {
					if _, _, err := f.Create(f.ctx, fmt.Sprint("user", i), core.NewAppPassword{Name: fmt.Sprint("device ", j)}); err != nil {
						b.Error(err)
						return
					}
				}
			})
		}
		all.Wait()
		together += time.Since(begin)
		begin = time.Now()
		for range alone {
			_, err := f.store.Store.Apply(f.ctx, store.Batch{{Action: store.Put, Key: "bench", Value: value}})
			must(b, err)
		}
		single += time.Since(begin)
		b.StopTimer()
		for i := range creators {
			_, err := f.DeleteAll(f.ctx, fmt.Sprint("user", i))
			must(b, err)
		}
		f.store.forgetCounts()
		b.StartTimer()
	}
	perSecond := func(n int, d time.Duration) float64 { return float64(n*b.N) / d.Seconds() }
	b.ReportMetric(perSecond(creators*each, together), "creations/s")
	b.ReportMetric(perSecond(alone, single), "one-at-a-time/s")
	b.ReportMetric(perSecond(creators*each, together)/perSecond(alone, single), "ratio")
}
