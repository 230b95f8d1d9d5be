package keyring

import (
	"bytes"
	"sync"
	"testing"
	"time"
)

// No nonce comes twice: not within a moment, not when the clock is put back, and
// not from several goroutines.
func TestSeriesNeverRepeats(t *testing.T) {
	k, err := New(time.Now())
	if err != nil {
		t.Fatal(err)
	}
	now := time.Now()
	seen := map[string]bool{}
	var mu sync.Mutex
	var all sync.WaitGroup
	for range 4 {
		all.Go(func() {
			for _, at := range []time.Time{now, now, now.Add(time.Second), now, now.Add(-time.Hour), {}} {
				for range 100 {
					sealed := k.AppendSeal(nil, at, "kind", "key", []byte("plain"))
					mu.Lock()
					nonce := string(sealed[headerSize:sealedAt])
					if seen[nonce] {
						t.Errorf("the nonce %x came before", nonce)
					}
					seen[nonce] = true
					mu.Unlock()
				}
			}
		})
	}
	all.Wait()
}

// A process that was copied with its memory seals at another time, and so under
// another nonce; one that is started anew has another beginning.
func TestSeriesOfACopy(t *testing.T) {
	k, err := New(time.Now())
	if err != nil {
		t.Fatal(err)
	}
	r := k.current.Load().newest()
	now := time.Now()
	r.series.next(now)
	copied := &series{first: r.series.first, cipher: r.series.cipher}
	copied.last.Store(r.series.last.Load())
	if a, b := r.series.next(now.Add(time.Second)), copied.next(now.Add(time.Minute)); a == b {
		t.Errorf("both have the nonce %x", a)
	}
	again, err := newRootKey(r.root, now)
	if err != nil {
		t.Fatal(err)
	}
	if bytes.Equal(again.series.first[:], r.series.first[:]) {
		t.Error("two series of a key begin alike")
	}
}
