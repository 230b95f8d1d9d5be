package core_test

import (
	"fmt"
	"syscall"
	"testing"
	"time"

	"github.com/keywicket/keywicket/core"
	"github.com/keywicket/keywicket/core/proof"
)

// BenchmarkVerifyTrial is what an attempt costs that answers a challenge, with
// as many app passwords as an account can have. attempts/core-s counts the time
// of the processor, which other programs do not lengthen much.
func BenchmarkVerifyTrial(b *testing.B) {
	for _, m := range []proof.Method{proof.MethodCHAP, proof.MethodMSCHAPv2} {
		b.Run(string(m), func(b *testing.B) {
			f := newFixture(b, func(f *fixture) {
				f.opt.Recorder = nil
				f.policy.Profiles["all"] = core.Profile{Letters: 20, Services: []string{"radius/vpn*"}, Methods: proof.Methods()}
			})
			f.addAlain()
			var text string
			for i := range core.MaxLimit - 1 {
				_, text = f.create(fmt.Sprint("device ", i), "all")
			}
			attempt := core.Attempt{Account: alain, Proof: responseOf(m, text), Service: "radius/vpn1"}
			b.ReportAllocs()
			start := processorTime(b)
			for b.Loop() {
				if _, err := f.Verify(f.ctx, attempt); err != nil {
					b.Fatal(err)
				}
				f.store.forgetCounts()
			}
			b.ReportMetric(float64(b.N)/(processorTime(b)-start).Seconds(), "attempts/core-s")
		})
	}
}

// processorTime is how long the processors have worked for this process.
func processorTime(t testing.TB) time.Duration {
	t.Helper()
	var u syscall.Rusage
	must(t, syscall.Getrusage(syscall.RUSAGE_SELF, &u))
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
