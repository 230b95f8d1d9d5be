package proof_test

import (
	"encoding/hex"
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/keywicket/keywicket/core/proof"
)

// TestRFC2759Section92NTHash is the PasswordHash of the RFC's example.
func TestRFC2759Section92NTHash(t *testing.T) {
	got := proof.Material(proof.MethodMSCHAPv2, "clientPass")
	if want := "44ebba8d5312b8d611474411f56989ae"; hex.EncodeToString(got) != want {
		t.Errorf("NT hash %x, want %s", got, want)
	}
}

// TestMaterial: a new method must say what is kept of an app password for it.
func TestMaterial(t *testing.T) {
	want := map[proof.Method]int{proof.MethodCleartext: 0, proof.MethodCHAP: 4, proof.MethodMSCHAPv2: 16}
	for _, m := range proof.Methods() {
		octets, ok := want[m]
		if !ok {
			t.Errorf("method %q: no row here; decide what is kept", m)
			continue
		}
		if got := proof.Material(m, "text"); len(got) != octets {
			t.Errorf("%d octets are kept for %q, want %d", len(got), m, octets)
		}
	}
	if proof.Material("another", "text") != nil {
		t.Error("something is kept for an unknown method")
	}
}

func TestCleartextIsNotPrinted(t *testing.T) {
	p := proof.Cleartext("kfmwtbrq")
	b, err := json.Marshal(p)
	if err != nil {
		t.Fatal(err)
	}
	for _, got := range []string{fmt.Sprint(p), fmt.Sprintf("%v %+v %#v %s %q %x %d", p, p, p, p, p, p, p), string(b)} {
		if strings.Contains(got, "kfmw") || strings.Contains(got, "107") {
			t.Errorf("printed as %s", got)
		}
	}
}
