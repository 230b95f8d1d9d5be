package audit

import (
	"fmt"
	"syscall"
	"testing"
	"time"

	"github.com/keywicket/keywicket/core"
)

// signIn is what the engine records of a sign-in.
func signIn(i int) core.Event {
	return core.Event{
		Time: time.Now(), Kind: core.EventAttempt, Account: fmt.Sprintf("user%06d@contoso.com", i),
		AppPassword: core.Ref{ID: "6f1d0c2a9b3e4875", Name: "laptop"},
		Service:     "radius/vpn1", Source: "192.0.2.10", Device: "02-00-5E-10-00-01", Method: "cleartext",
	}
}

// processorTime is what this process has used.
func processorTime() time.Duration {
	var u syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &u)
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// perTurn is how many events are about hurryOctets.
const perTurn = 700

// BenchmarkRecord is what an event costs until it is in the file; cpu-ns/op is
// the processor time of both goroutines.
func BenchmarkRecord(b *testing.B) {
	opt := testOptions(b)
	opt.Now = time.Now
	l := open(b, opt)
	e := signIn(1)
	b.ReportAllocs()
	before, n := processorTime(), 0
	for b.Loop() {
		if err := l.Record(e); err != nil {
			b.Fatal(err)
		}
		if n++; n%perTurn == 0 {
			syncLog(b, l)
		}
	}
	b.ReportMetric(float64(processorTime()-before)/float64(n), "cpu-ns/op")
}

// BenchmarkRecordParallel is what it costs those who record at once.
func BenchmarkRecordParallel(b *testing.B) {
	opt := testOptions(b)
	opt.Now = time.Now
	l := open(b, opt)
	b.ReportAllocs()
	before := processorTime()
	b.RunParallel(func(pb *testing.PB) {
		e := signIn(1)
		for n := 1; pb.Next(); n++ {
			if err := l.Record(e); err != nil {
				b.Error(err)
			}
			if n%perTurn == 0 {
				if err := l.Sync(b.Context()); err != nil {
					b.Error(err)
				}
			}
		}
	})
	b.ReportMetric(float64(processorTime()-before)/float64(b.N), "cpu-ns/op")
}

// BenchmarkBody is the half of whoever records.
func BenchmarkBody(b *testing.B) {
	e := signIn(1)
	space, d := make([]byte, 0, bufferedOctets), new(dates)
	b.ReportAllocs()
	for b.Loop() {
		space = appendBody(space[:0], &e, e.Time, d)
	}
}

// BenchmarkLine is the other half but for the file.
func BenchmarkLine(b *testing.B) {
	e := signIn(1)
	body := appendBody(nil, &e, e.Time, new(dates))
	w := &writer{chain: chain{key: newSigner(testKey(1))}}
	b.ReportAllocs()
	for b.Loop() {
		w.out = w.out[:0]
		w.event(body)
	}
}
