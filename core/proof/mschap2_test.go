package proof_test

import (
	"bytes"
	"encoding/hex"
	"fmt"
	"strings"
	"testing"

	"github.com/keywicket/keywicket/core/proof"
	"layeh.com/radius/rfc2759"
	"layeh.com/radius/rfc3079"
)

func unhex(t testing.TB, text string) []byte {
	t.Helper()
	b, err := hex.DecodeString(text)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// rfcExample is the example of RFC 2759, section 9.2, which RFC 3079, section 3.5,
// goes on with.
func rfcExample(t testing.TB, userName string) *proof.MSCHAPv2 {
	t.Helper()
	return proof.NewMSCHAPv2(
		[16]byte(unhex(t, "5b5d7c7d7b3f2f3e3c2c602132262628")),
		[16]byte(unhex(t, "21402324255e262a28295f2b3a337c7e")),
		[24]byte(unhex(t, "82309ecd8d708b5ea08faa3981cd83544233114a3d85d6df")), userName)
}

// TestRFC2759Section92: "User" with the password "clientPass".
func TestRFC2759Section92(t *testing.T) {
	material := proof.Material(proof.MethodMSCHAPv2, "clientPass")
	p := rfcExample(t, "User")
	if !p.Try(material) {
		t.Fatal("the right password is refused")
	}
	if _, ok := p.Success(); ok {
		t.Error("there is a success that was not derived")
	}
	p.Derive(material)
	s, ok := p.Success()
	if want := "S=407A5589115FD0D6209F510FE9C04566932CDA56"; !ok || string(s.AuthenticatorResponse[:]) != want {
		t.Errorf("authenticator response %s, want %s", s.AuthenticatorResponse[:], want)
	}
	p.Wipe()
	if s, ok := p.Success(); ok || s != (proof.Success{}) {
		t.Error("something is left after Wipe")
	}
}

// TestRFC3079Section353: the key that the server sends with, 128 bits; and of
// section 3.4, by others, the one that it receives with.
func TestRFC3079Section353(t *testing.T) {
	p := rfcExample(t, "User")
	p.Derive(proof.Material(proof.MethodMSCHAPv2, "clientPass"))
	s, _ := p.Success()
	if want := "8b7cdc149b993a1ba118cb153f56dccb"; hex.EncodeToString(s.SendKey[:]) != want {
		t.Errorf("send key %x, want %s", s.SendKey, want)
	}
	want, err := rfc3079.MakeKey(unhex(t, "82309ecd8d708b5ea08faa3981cd83544233114a3d85d6df"), []byte("clientPass"), false)
	if err != nil || !bytes.Equal(s.RecvKey[:], want) {
		t.Errorf("receive key %x, want %x, %v", s.RecvKey, want, err)
	}
}

// TestRFC2759Section82Domain: a domain in front of the name is not hashed, and
// what follows an @ is.
func TestRFC2759Section82Domain(t *testing.T) {
	material := proof.Material(proof.MethodMSCHAPv2, "clientPass")
	for name, want := range map[string]bool{
		"User": true, `CONTOSO\User`: true, `\User`: true,
		"user": false, "User@contoso.com": false, `User\`: false, `A\B\User`: false, "": false, "CONTOSO/User": false,
	} {
		if got := rfcExample(t, name).Try(material); got != want {
			t.Errorf("%q: %v, want %v", name, got, want)
		}
	}
}

// TestMSCHAPv2Others: all names, challenges and texts as layeh.com/radius
// computes them.
func TestMSCHAPv2Others(t *testing.T) {
	for i := range 100 {
		ours, theirs := [16]byte{byte(i), 15: 1}, [16]byte{byte(i * 7), 1: byte(i)}
		name, text := strings.Repeat("n", i), fmt.Sprint("text ", i*i)
		response, err := rfc2759.GenerateNTResponse(ours[:], theirs[:], []byte(name), []byte(text))
		if err != nil {
			t.Fatal(err)
		}
		p := proof.NewMSCHAPv2(ours, theirs, [24]byte(response), name)
		material := proof.Material(proof.MethodMSCHAPv2, text)
		if !p.Try(material) {
			t.Fatalf("%d: the right text is refused", i)
		}
		p.Derive(material)
		s, _ := p.Success()
		want, err := rfc2759.GenerateAuthenticatorResponse(ours[:], theirs[:], response, []byte(name), []byte(text))
		if err != nil || string(s.AuthenticatorResponse[:]) != want {
			t.Errorf("%d: %s, want %s, %v", i, s.AuthenticatorResponse, want, err)
		}
		for isSend, got := range map[bool][16]byte{true: s.SendKey, false: s.RecvKey} {
			if want, err := rfc3079.MakeKey(response, []byte(text), isSend); err != nil || !bytes.Equal(got[:], want) {
				t.Errorf("%d: send %v: key %x, want %x, %v", i, isSend, got, want, err)
			}
		}
		for at := range response { // each third of the response counts
			wrong := [24]byte(response)
			wrong[at] ^= 1 << (at % 8)
			if proof.NewMSCHAPv2(ours, theirs, wrong, name).Try(material) {
				t.Errorf("octet %d of the response does not count", at)
			}
		}
	}
}

// TestMSCHAPv2Material: nothing but 16 octets is an NT hash, also where what is
// left out or added is zero.
func TestMSCHAPv2Material(t *testing.T) {
	response := rfc2759.ChallengeResponse(make([]byte, 8), make([]byte, 16))
	var ours [16]byte
	challenge := rfc2759.ChallengeHash(ours[:], ours[:], nil)
	copy(response, rfc2759.ChallengeResponse(challenge, make([]byte, 16)))
	p := proof.NewMSCHAPv2(ours, ours, [24]byte(response), "")
	for n := range 40 {
		if got := p.Try(make([]byte, n)); got != (n == 16) {
			t.Errorf("%d octets of zero: %v", n, got)
		}
	}
}

// FuzzTrials: no challenge, response, name or material panics, and what others
// compute is right here too.
func FuzzTrials(f *testing.F) {
	f.Add(byte(1), []byte("challenge"), []byte("peer"), "User", "clientPass", []byte("material"))
	f.Add(byte(0), []byte{}, []byte{}, "", "", []byte{})
	f.Add(byte(255), bytes.Repeat([]byte{0xff}, 300), bytes.Repeat([]byte{1}, 16), `A\B`, chapText, bytes.Repeat([]byte{0}, 21))
	f.Fuzz(func(t *testing.T, id byte, challenge, peer []byte, name, text string, material []byte) {
		c := &proof.CHAP{ID: id, Challenge: challenge, Response: chapResponse(id, text, string(challenge))}
		if got := c.Try([]byte(text)); got != (len(challenge) >= proof.MinChallenge) {
			t.Fatalf("CHAP with a challenge of %d octets: %v", len(challenge), got)
		}
		c.Try(material)
		var ours, theirs [16]byte
		copy(ours[:], challenge)
		copy(theirs[:], peer)
		hash := proof.Material(proof.MethodMSCHAPv2, text)
		_, plain, ok := strings.Cut(name, `\`)
		if !ok {
			plain = name
		}
		response := rfc2759.ChallengeResponse(rfc2759.ChallengeHash(theirs[:], ours[:], []byte(plain)), hash)
		m := proof.NewMSCHAPv2(ours, theirs, [24]byte(response), name)
		if !m.Try(hash) {
			t.Fatal("the right hash is refused")
		}
		if m.Try(material) && !bytes.Equal(material, hash) {
			t.Fatalf("another hash is right: %x", material)
		}
		m.Derive(material)
	})
}
