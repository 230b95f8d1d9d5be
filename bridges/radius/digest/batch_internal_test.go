package digest

import (
	"bytes"
	"crypto/hmac"
	"crypto/md5"
	"math/rand/v2"
	"testing"
)

// Whatever the lengths, in any order and however many, each sum is that of the
// library, from the wide registers of the processor and without them.
func TestSums(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	octets := func(n int) []byte {
		b := make([]byte, n)
		for i := range b {
			b[i] = byte(random.Uint32())
		}
		return b
	}
	for _, narrow := range []bool{false, true} {
		b := NewBatch()
		if narrow {
			b.wide = false
		} else if !b.wide {
			t.Log("this processor has no AVX2")
		}
		for n := range 300 {
			b.Reset()
			want := make([][]byte, 0, n%40)
			got := make([][Size]byte, cap(want))
			for range cap(want) {
				sum := &got[len(want)]
				text, secret := octets(random.IntN(n+1)), octets(random.IntN(130))
				if random.IntN(2) == 0 {
					md := md5.Sum(text)
					want = append(want, md[:])
					copy(b.Text(nil, len(text), sum), text)
					continue
				}
				mac := hmac.New(md5.New, secret)
				mac.Write(text)
				want = append(want, mac.Sum(nil))
				copy(b.Text(NewKey(secret), len(text), sum), text)
			}
			b.Make()
			for i := range want {
				if string(want[i]) != string(got[i][:]) {
					t.Fatalf("narrow %v: text %d of %d: wrong", narrow, i, len(want))
				}
			}
		}
	}
}

// What texts were made of, and their sums, are not left after Wipe, also not those
// before a Reset.
func TestWipe(t *testing.T) {
	for _, narrow := range []bool{false, true} {
		b := NewBatch()
		b.wide = b.wide && !narrow
		var sum [Size]byte
		for _, most := range []int{100, 10, 50} {
			for n := range most {
				copy(b.Text(nil, n, &sum), bytes.Repeat([]byte("secret"), n))
				copy(b.Text(NewKey([]byte("key")), n, &sum), bytes.Repeat([]byte("secret"), n))
			}
			b.Make()
			b.Reset()
		}
		copy(b.Text(nil, 5, &sum), "secret")
		b.Make()
		b.Wipe()
		if whole := b.room[:cap(b.room)]; len(bytes.Trim(whole, "\x00")) > 0 {
			t.Errorf("left in the room: %q", whole)
		}
		if len(b.room)+len(b.texts) != 0 || b.states != [4][lanes]uint32{} || b.words != [block / 4][lanes]uint32{} {
			t.Errorf("left: %v", b)
		}
	}
}

// BenchmarkSum is 32 texts of 48 octets, as the masks of passwords are, by one.
func BenchmarkSum(b *testing.B) {
	for name, wide := range map[string]bool{"wide": true, "narrow": false} {
		b.Run(name, func(b *testing.B) {
			batch := NewBatch()
			batch.wide = batch.wide && wide
			var sums [32][Size]byte
			b.ReportAllocs()
			for range b.N / 32 {
				batch.Reset()
				for i := range sums {
					batch.Text(nil, 48, &sums[i])[0]++
				}
				batch.Make()
			}
		})
	}
	b.Run("library", func(b *testing.B) {
		var text [48]byte
		for b.Loop() {
			sum := md5.Sum(text[:])
			text[0] = sum[0]
		}
	})
}

// BenchmarkMAC is the same of HMAC of 100 octets, as requests and replies have.
func BenchmarkMAC(b *testing.B) {
	k, batch := NewKey(make([]byte, 32)), NewBatch()
	var sums [32][Size]byte
	b.ReportAllocs()
	for range b.N / 32 {
		batch.Reset()
		for i := range sums {
			batch.Text(k, 100, &sums[i])[0]++
		}
		batch.Make()
	}
}
