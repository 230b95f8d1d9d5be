package proof_test

import (
	"crypto/md5"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/keywicket/keywicket/core/proof"
)

const chapText = "kfmwtbrqhjaxpdnesgcy"

// chapResponse is RFC 1994, section 4.1, word by word.
func chapResponse(id byte, text, challenge string) [16]byte {
	return md5.Sum([]byte(string([]byte{id}) + text + challenge))
}

// TestRFC1994Section41: identifier, secret, challenge, in this order. The sum
// was computed with: printf '\026secret!challenge' | md5sum
func TestRFC1994Section41(t *testing.T) {
	p := &proof.CHAP{ID: 0x16, Challenge: []byte("!challenge")}
	response, err := hex.DecodeString("65759ad83765de4ff5de4436fcf5131c")
	if err != nil {
		t.Fatal(err)
	}
	copy(p.Response[:], response)
	if !p.Try([]byte("secret")) {
		t.Error("the right text is refused")
	}
	for _, wrong := range []string{"", "Secret", "secret!", "secre", "!challenge"} {
		if p.Try([]byte(wrong)) {
			t.Errorf("%q is right, too", wrong)
		}
	}
}

// TestCHAPTry: every octet counts.
func TestCHAPTry(t *testing.T) {
	for _, challenge := range []string{"8 octets", "sixteen octets!!", strings.Repeat("x", 253)} {
		right := proof.CHAP{ID: 7, Challenge: []byte(challenge), Response: chapResponse(7, chapText, challenge)}
		if !right.Try([]byte(chapText)) {
			t.Errorf("%d octets: the right text is refused", len(challenge))
		}
		other := right
		other.ID++
		if other.Try([]byte(chapText)) {
			t.Error("the identifier does not count")
		}
		other = right
		other.Challenge = []byte(strings.ToUpper(challenge))
		if other.Try([]byte(chapText)) {
			t.Error("the challenge does not count")
		}
		for i := range right.Response {
			other = right
			other.Response[i] ^= 1 << (i % 8)
			if other.Try([]byte(chapText)) {
				t.Errorf("octet %d of the response does not count", i)
			}
		}
	}
}

// TestR14CHAPShortChallenge: with fewer than 8 octets nothing matches.
func TestR14CHAPShortChallenge(t *testing.T) {
	for n := range proof.MinChallenge {
		challenge := strings.Repeat("x", n)
		p := &proof.CHAP{Challenge: []byte(challenge), Response: chapResponse(0, chapText, challenge)}
		if p.Try([]byte(chapText)) {
			t.Errorf("a challenge of %d octets is taken", n)
		}
	}
}

// TestTrialsAreNotPrinted: what was captured can be searched for the text or
// its hash, so it stays out of logs.
func TestTrialsAreNotPrinted(t *testing.T) {
	response := chapResponse(7, chapText, "challenge challenge")
	p := &proof.CHAP{ID: 7, Challenge: []byte("challenge challenge"), Response: response}
	m := proof.NewMSCHAPv2([16]byte([]byte("challenge of us!")), [16]byte([]byte("challenge of you")), [24]byte([]byte("response response respon")), "alain")
	m.Derive(proof.Material(proof.MethodMSCHAPv2, chapText))
	success, _ := m.Success()
	for _, v := range []any{p, m, success} {
		b, err := json.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		text := fmt.Sprintf("%v %+v %#v %s %q %x %d", v, v, v, v, v, v, v) + string(b)
		for _, secret := range []string{"hallenge", "respon", hex.EncodeToString(response[:]), hex.EncodeToString([]byte("challenge")), hex.EncodeToString(success.SendKey[:]), "S=", "83"} {
			if strings.Contains(text, secret) {
				t.Errorf("%T shows %q: %s", v, secret, text)
			}
		}
	}
}
