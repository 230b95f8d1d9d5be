package core

import (
	"fmt"
	"testing"
	"time"

	"github.com/keywicket/keywicket/core/keyring"
	proofs "github.com/keywicket/keywicket/core/proof"
	"layeh.com/radius/rfc2759"
)

// TestMaterialKey: its form stands in what is stored, and no two places have
// the same.
func TestMaterialKey(t *testing.T) {
	seen := map[string]bool{}
	for _, services := range [][]string{nil, {"*"}, {"radius/vpn*", "pam/sshd"}, {`radius/vpn*" "pam/sshd`}, {"radius/v\u00e4\n"}} {
		key := materialKey([]byte{1, 0xab}, []byte{2}, "chap", services)
		if want := fmt.Sprintf("01ab/02/chap/%q", services); key != want {
			t.Errorf("%s, want %s", key, want)
		}
		if seen[key] {
			t.Errorf("%s is the key of two places", key)
		}
		seen[key] = true
	}
}

// TestDummyIsNoMatch: what fits the dummy, which everybody knows, is refused,
// and nothing is derived of it.
func TestDummyIsNoMatch(t *testing.T) {
	keys, err := keyring.New(time.Now())
	if err != nil {
		t.Fatal(err)
	}
	e, _ := fuzzEngine(t, keys, recordSeeds(t, keys)[0], nil)
	hash := proofs.Material(proofs.MethodMSCHAPv2, dummyText)
	challenge := rfc2759.ChallengeHash(make([]byte, 16), make([]byte, 16), []byte("alain"))
	known := proofs.NewMSCHAPv2([16]byte{}, [16]byte{}, [24]byte(rfc2759.ChallengeResponse(challenge, hash)), "alain")
	if !known.Try(hash) {
		t.Fatal("the response is not that of the dummy")
	}
	for _, account := range []string{"alain", "nobody"} {
		_, err := e.Verify(t.Context(), Attempt{Account: account, Proof: known, Service: "radius/vpn1"})
		if _, derived := known.Success(); err == nil || derived {
			t.Errorf("%s: %v, derived %v", account, err, derived)
		}
	}
}
