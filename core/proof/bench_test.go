package proof_test

import (
	"testing"

	"github.com/keywicket/keywicket/core/proof"
)

// BenchmarkTry is what one app password of an account costs in an attempt.
func BenchmarkTry(b *testing.B) {
	for _, p := range []proof.Trial{
		&proof.CHAP{Challenge: make([]byte, 16)},
		proof.NewMSCHAPv2([16]byte{}, [16]byte{}, [24]byte{}, "User"),
	} {
		b.Run(string(p.Method()), func(b *testing.B) {
			material := proof.Material(p.Method(), "kfmwtbrqhjaxpdnesgcy")
			b.ReportAllocs()
			for b.Loop() {
				if p.Try(material) {
					b.Fatal("a response of zeros is right")
				}
			}
		})
	}
}
