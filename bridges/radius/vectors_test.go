package radius

import (
	"encoding/hex"
	"testing"
	"time"

	"github.com/keywicket/keywicket/core/proof"
)

const rfcSecret = "xyzzy5461" // of RFC 2865, section 7

// rfcClient has the secret of the RFC, and devices that sign nothing.
func rfcClient() Client {
	c := everyMethod()
	c.Secrets, c.AllowWeakSecret, c.RequireMessageAuthenticator = [][]byte{[]byte(rfcSecret)}, true, RequireNever
	return c
}

// TestRFC2865Section7_2: CHAP, with the Request Authenticator as the challenge.
func TestRFC2865Section7_2(t *testing.T) {
	for password, code := range map[string]byte{"arctangent": codeAccessAccept, "arctangens": codeAccessReject} {
		inBubble(t, testConfig(rfcClient()), trialEngine(password), func(h *harness) {
			request := hexFile(t, "rfc2865-7.2-request.hex")
			h.ask(request)
			h.answered(request, rfcSecret, code)
			got := h.engine.attempts()[0]
			chap, ok := got.Proof.(*proof.CHAP)
			if got.Account != "flopsy" || !ok || chap.ID != 22 {
				t.Errorf("attempt %+v", got.Attempt)
			}
		})
	}
}

// TestRFC2865Section7_3: nobody is challenged here, so that both requests are
// plain ones, and a State from elsewhere changes nothing.
func TestRFC2865Section7_3(t *testing.T) {
	request, reject := hexFile(t, "rfc2865-7.3-answer.hex"), hexFile(t, "rfc2865-7.3-reject.hex")
	if !responseRight(reject, request, rfcSecret) {
		t.Fatal("the tests' own Response Authenticator is not the RFC's")
	}
	for file, password := range map[string]string{"rfc2865-7.3-request.hex": "challenge", "rfc2865-7.3-answer.hex": "99101462"} {
		inBubble(t, testConfig(rfcClient()), &fakeEngine{}, func(h *harness) {
			request := hexFile(t, file)
			h.ask(request)
			h.answered(request, rfcSecret, codeAccessReject)
			if got := h.engine.attempts()[0]; got.Account != "mopsy" || got.text != password {
				t.Errorf("%s: account %q, password %q", file, got.Account, got.text)
			}
		})
	}
}

// TestRFC2759Section9_2: the RFC's exchange in a whole packet, and the key of
// RFC 3079, section 3.5.3, in the reply.
func TestRFC2759Section9_2(t *testing.T) {
	octets := func(digits string) string {
		raw, err := hex.DecodeString(digits)
		if err != nil {
			t.Fatal(err)
		}
		return string(raw)
	}
	challenge, peer := octets("5b5d7c7d7b3f2f3e3c2c602132262628"), octets("21402324255e262a28295f2b3a337c7e")
	response := octets("82309ecd8d708b5ea08faa3981cd83544233114a3d85d6df")
	request := signRequest(rawPacket(1, 1, testAuthenticator(1), emptyMA, attr(1, "User"), vsa(311, 11, challenge),
		vsa(311, 25, "\x01\x00"+peer+"\x00\x00\x00\x00\x00\x00\x00\x00"+response)), testSecret)
	inBubble(t, testConfig(everyMethod()), trialEngine("clientPass"), func(h *harness) {
		h.ask(request)
		reply := h.reply(request, codeAccessAccept)
		if got := string(microsoftOf(reply)[msCHAP2Success]); got != "\x01S=407A5589115FD0D6209F510FE9C04566932CDA56" {
			t.Errorf("MS-CHAP2-Success %q", got)
		}
		if got := hex.EncodeToString(mppeKey(t, parsed(t, reply), parsed(t, request), msMPPESendKey)); got != "8b7cdc149b993a1ba118cb153f56dccb" {
			t.Errorf("MS-MPPE-Send-Key %s", got)
		}
	})
	inBubble(t, testConfig(everyMethod()), trialEngine("clientpass"), func(h *harness) {
		h.ask(request)
		h.later(2 * time.Second)
		reply := h.reply(request, codeAccessReject)
		if got := string(microsoftOf(reply)[msCHAPError]); got != "\x01E=691 R=0" {
			t.Errorf("MS-CHAP-Error %q", got)
		}
	})
}
