package core_test

import (
	"fmt"
	"testing"

	"github.com/keywicket/keywicket/core"
	"github.com/keywicket/keywicket/core/directory/local"
	"github.com/keywicket/keywicket/core/proof"
	"github.com/keywicket/keywicket/core/store"
	"github.com/keywicket/keywicket/core/store/badgerstore"
)

// benched returns an engine whose account has n app passwords, and the text of
// the last one.
func benched(b *testing.B, n int, edit func(*fixture)) (*fixture, string) {
	b.Helper()
	f := newFixture(b, func(f *fixture) {
		f.opt.Recorder = nil // what a program does with events is not ours
		f.opt.Flush = 0      // as often as in a program
		if edit != nil {
			edit(f)
		}
	})
	_, text := f.addAlain()
	for i := range n - 1 {
		_, text = f.create(fmt.Sprint("device ", i), "")
	}
	f.reopen()
	f.try(text)
	b.ReportAllocs()
	b.ResetTimer()
	return f, text
}

// uncached leaves no room for any account.
func uncached(f *fixture) { f.opt.CacheBytes = 1 }

// onDisk puts the fixture over a Badger store.
func onDisk(b *testing.B) func(*fixture) {
	return func(f *fixture) {
		uncached(f)
		disk, err := badgerstore.Open(b.TempDir(), badgerstore.Options{})
		must(b, err)
		b.Cleanup(func() { must(b, disk.Close()) })
		f.store = &faultyStore{Store: disk}
		f.opt.Store = f.store
		f.opt.Directory = local.New(f.store, f.keys, local.Options{Now: f.clock, Cost: local.Cost{Time: 1, MemoryKiB: 8, Threads: 1}})
	}
}

// BenchmarkVerify is what a sign-in costs. "cold" reads the account and its
// record every time.
func BenchmarkVerify(b *testing.B) {
	for _, tt := range []struct {
		name string
		n    int
		edit func(*testing.B) func(*fixture)
	}{
		{"cached 1", 1, nil},
		{"cached 40", core.MaxLimit, nil},
		{"cold 1", 1, func(*testing.B) func(*fixture) { return uncached }},
		{"cold 40", core.MaxLimit, func(*testing.B) func(*fixture) { return uncached }},
		{"cold 40 on disk", core.MaxLimit, onDisk},
	} {
		b.Run(tt.name, func(b *testing.B) {
			var edit func(*fixture)
			if tt.edit != nil {
				edit = tt.edit(b)
			}
			f, text := benched(b, tt.n, edit)
			attempt := core.Attempt{Account: alain, Proof: proof.Cleartext(text), Service: "radius/vpn1"}
			for b.Loop() {
				if _, err := f.Verify(f.ctx, attempt); err != nil {
					b.Fatal(err)
				}
				f.store.forgetCounts()
			}
		})
	}
}

// BenchmarkVerifyParallel is the same on all processors, from the cache.
func BenchmarkVerifyParallel(b *testing.B) {
	f, text := benched(b, core.MaxLimit, nil)
	attempt := core.Attempt{Account: alain, Proof: proof.Cleartext(text), Service: "radius/vpn1"}
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			if _, err := f.Verify(f.ctx, attempt); err != nil {
				b.Error(err)
				return
			}
		}
	})
}

// BenchmarkVerifyRefused is what a failure costs.
func BenchmarkVerifyRefused(b *testing.B) {
	wrong := otherText(b)
	for name, a := range map[string]core.Attempt{
		"wrong":           {Account: alain, Proof: proof.Cleartext(wrong)},
		"mistyped":        {Account: alain, Proof: proof.Cleartext(wrong[1:] + "b")},
		"unknown account": {Account: "nobody@contoso.com", Proof: proof.Cleartext(wrong)},
		"CHAP":            {Account: alain, Proof: trial{text: "x"}},
	} {
		b.Run(name, func(b *testing.B) {
			f, _ := benched(b, core.MaxLimit, nil)
			a.Service = "radius/vpn1"
			for b.Loop() {
				if _, err := f.Verify(f.ctx, a); err == nil {
					b.Fatal("granted")
				}
				f.store.forgetCounts()
			}
		})
	}
}

// BenchmarkFlush is what it costs to write the last uses of 1,000 accounts.
func BenchmarkFlush(b *testing.B) {
	const accounts = 1000
	f := newFixture(b, func(f *fixture) { f.opt.Recorder = nil; f.policy.RequireTwoStep = false })
	var attempts []core.Attempt
	for i := range accounts {
		name := fmt.Sprint("user", i)
		_, err := f.AddAccount(f.ctx, name, nil, nil)
		must(b, err)
		_, text, err := f.Create(f.ctx, name, core.NewAppPassword{Name: "x"})
		must(b, err)
		attempts = append(attempts, core.Attempt{Account: name, Proof: proof.Cleartext(text.Canonical()), Service: "radius/vpn1"})
	}
	b.ReportAllocs()
	for b.Loop() {
		b.StopTimer()
		for _, a := range attempts {
			_, err := f.Verify(f.ctx, a)
			must(b, err)
		}
		b.StartTimer()
		must(b, f.Flush(f.ctx))
		f.store.forgetCounts()
	}
}

// forgetCounts keeps a long run from filling the memory.
func (s *faultyStore) forgetCounts() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.gets, s.applied = s.gets[:0], 0
}

var _ store.Store = (*faultyStore)(nil)
