package core

import (
	"crypto/hmac"
	"crypto/sha1"
	"crypto/subtle"
	"encoding/base32"
	"encoding/binary"
	"fmt"
	"net/url"
	"time"
)

// The parameters of TOTP (RFC 6238) that every authenticator app knows.
const (
	totpSecret = 20 // octets, as RFC 4226, section 4, recommends
	totpDigits = 6
	totpPeriod = 30 * time.Second
	totpSkew   = 1 // steps before and after now that are taken too (RFC 6238, section 5.2)
)

// totpCode returns the code of a step (RFC 4226, section 5.3).
func totpCode(secret []byte, step int64) string {
	mac := hmac.New(sha1.New, secret)
	var counter [8]byte
	binary.BigEndian.PutUint64(counter[:], uint64(step))
	mac.Write(counter[:])
	sum := mac.Sum(nil)
	offset := sum[len(sum)-1] & 0xf
	number := binary.BigEndian.Uint32(sum[offset:]) & 0x7fffffff
	return fmt.Sprintf("%0*d", totpDigits, number%1_000_000)
}

// totpStep returns the step that code is of, if it is one around now and later
// than used, the last one that was used.
func totpStep(secret []byte, code string, now time.Time, used int64) (int64, bool) {
	current := now.Unix() / int64(totpPeriod/time.Second)
	found, ok := int64(0), false
	for step := current - totpSkew; step <= current+totpSkew; step++ {
		if subtle.ConstantTimeCompare([]byte(totpCode(secret, step)), []byte(code)) == 1 && step > used {
			found, ok = step, true
		}
	}
	return found, ok
}

// totpURI returns the text that an authenticator app scans (the Key URI format
// of Google Authenticator, which the others took over).
func totpURI(issuer, account string, secret []byte) string {
	v := url.Values{}
	v.Set("secret", base32.StdEncoding.WithPadding(base32.NoPadding).EncodeToString(secret))
	v.Set("issuer", issuer)
	v.Set("algorithm", "SHA1")
	v.Set("digits", fmt.Sprint(totpDigits))
	v.Set("period", fmt.Sprint(int(totpPeriod/time.Second)))
	u := url.URL{Scheme: "otpauth", Host: "totp", Path: "/" + issuer + ":" + account, RawQuery: v.Encode()}
	return u.String()
}

// CodeFor returns the security code that an authenticator app which scanned uri
// shows at now. It is for tests and demonstrations.
func CodeFor(uri string, now time.Time) (string, error) {
	u, err := url.Parse(uri)
	if err != nil || u.Scheme != "otpauth" {
		return "", invalid("security code", "this is no otpauth URI")
	}
	secret, err := base32.StdEncoding.WithPadding(base32.NoPadding).DecodeString(u.Query().Get("secret"))
	if err != nil || len(secret) == 0 {
		return "", invalid("security code", "the otpauth URI has no secret")
	}
	return totpCode(secret, now.Unix()/int64(totpPeriod/time.Second)), nil
}
