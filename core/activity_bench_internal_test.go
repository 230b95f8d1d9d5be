package core

import (
	"math/rand/v2"
	"testing"
	"time"

	"github.com/keywicket/keywicket/core/proof"
)

// BenchmarkGroup is what it costs to group an attempt by its account, one of
// 10,000 in no order: far more than the caches of a processor hold.
func BenchmarkGroup(b *testing.B) {
	accounts := make([]*account, 10_000)
	for i := range accounts {
		accounts[i] = &account{name: accountName(i)}
	}
	activity, now := newActivity(), time.Now()
	b.ReportAllocs()
	for n := 0; n < b.N; {
		b.StopTimer()
		for ; n < b.N && activity.waiting.Load() < crowd; n++ {
			of := accounts[rand.IntN(len(accounts))]
			h := happened{at: now, service: "radius/vpn1", source: "192.0.2.7", device: "02-00-00-00-00-01", method: proof.MethodCleartext, ref: Ref{ID: of.name[:16], Name: "phone"}}
			activity.add(attemptAt{of.name, of, h})
		}
		b.StartTimer()
		activity.group()
	}
}
