package core

import (
	"encoding/base32"
	"fmt"
	"net/url"
	"testing"
	"time"
)

// TestRFC6238AppendixB: the vectors for SHA-1, of which we show the last six of
// eight digits (RFC 4226, section 5.3: the number modulo 10^digits).
func TestRFC6238AppendixB(t *testing.T) {
	secret := []byte("12345678901234567890")
	for seconds, want := range map[int64]string{
		59: "94287082", 1111111109: "07081804", 1111111111: "14050471", 1234567890: "89005924", 2000000000: "69279037", 20000000000: "65353130",
	} {
		if got := totpCode(secret, seconds/30); got != want[2:] {
			t.Errorf("at %d: %s, want %s", seconds, got, want[2:])
		}
	}
}

// TestRFC4226AppendixD: the vectors for the counter.
func TestRFC4226AppendixD(t *testing.T) {
	for step, want := range []string{"755224", "287082", "359152", "969429", "338314", "254676", "287922", "162583", "399871", "520489"} {
		if got := totpCode([]byte("12345678901234567890"), int64(step)); got != want {
			t.Errorf("step %d: %s, want %s", step, got, want)
		}
	}
}

// TestTOTPStep: what is no code is none, whatever its shape.
func TestTOTPStep(t *testing.T) {
	secret := []byte("12345678901234567890")
	now := time.Unix(1234567890, 0)
	current := now.Unix() / 30
	for code, ok := range map[string]bool{
		totpCode(secret, current): true, "": false, "89005924": false, "5924": false, "005924 ": false, " 05924": false, "٠٠٥٩٢٤": false,
	} {
		if step, got := totpStep(secret, code, now, 0); got != ok || ok && step != current {
			t.Errorf("%q: step %d, %v", code, step, got)
		}
	}
	if _, ok := totpStep(secret, totpCode(secret, current), now, current); ok {
		t.Error("a step that was used is taken again")
	}
}

// TestTOTPURI: what an authenticator app reads of it.
func TestTOTPURI(t *testing.T) {
	secret := []byte("12345678901234567890")
	for _, tt := range []struct{ issuer, account string }{{"Keywicket", "alain@contoso.com"}, {"A & B: C", "josé/x?y#z%41"}} {
		text := totpURI(tt.issuer, tt.account, secret)
		u, err := url.Parse(text)
		if err != nil {
			t.Fatal(err)
		}
		q := u.Query()
		key, err := base32.StdEncoding.WithPadding(base32.NoPadding).DecodeString(q.Get("secret"))
		if err != nil || string(key) != string(secret) || u.Scheme != "otpauth" || u.Host != "totp" || u.Path != "/"+tt.issuer+":"+tt.account ||
			q.Get("issuer") != tt.issuer || q.Get("algorithm") != "SHA1" || q.Get("digits") != "6" || q.Get("period") != "30" {
			t.Errorf("%s is read as %v with secret %q (%v)", text, q, key, err)
		}
		code, err := CodeFor(text, time.Unix(59, 0))
		if err != nil || code != "287082" {
			t.Errorf("CodeFor: %s (%v)", code, err)
		}
	}
	for _, text := range []string{"", "https://example.com/?secret=ME", "otpauth://totp/x", "otpauth://totp/x?secret=1", "%"} {
		if code, err := CodeFor(text, time.Now()); KindOf(err) != KindInvalid || code != "" {
			t.Errorf("CodeFor(%q) = %q, %v", text, code, err)
		}
	}
	if fmt.Sprint(totpPeriod) != "30s" || totpSkew != 1 {
		t.Error("the parameters are not those that apps know")
	}
}
