package radius

import (
	"crypto/md5"
	"strings"
	"testing"

	"github.com/keywicket/keywicket/core/proof"
)

// everyMethod is testClient with all that a client may use.
func everyMethod() Client {
	c := testClient()
	c.Methods, c.AllowInsecureMSCHAP = proof.Methods(), true
	return c
}

// RFC 2865, section 5.3, and R14: CHAP-Password, and what it answers to.
func TestR14CHAP(t *testing.T) {
	a := testAuthenticator(1)
	response := func(id, text, challenge string) string {
		sum := md5.Sum([]byte(id + text + challenge))
		return id + string(sum[:])
	}
	right := func(challenge string) []byte { return attr(3, response("\x07", testPassword, challenge)) }
	for name, tt := range map[string]struct {
		attributes       [][]byte
		wrong, malformed bool
	}{
		"to the Request Authenticator": {[][]byte{right(a)}, false, false},
		"to a CHAP-Challenge":          {[][]byte{right("a challenge"), attr(60, "a challenge")}, false, false},
		"challenge first":              {[][]byte{attr(60, "a challenge"), right("a challenge")}, false, false},
		"challenge of 8 octets":        {[][]byte{attr(60, "8 octets"), right("8 octets")}, false, false},
		"challenge of 253 octets":      {[][]byte{attr(60, strings.Repeat("x", 253)), right(strings.Repeat("x", 253))}, false, false},
		"wrong password":               {[][]byte{attr(3, response("\x07", "wrong", a))}, true, false},
		"another identifier":           {[][]byte{attr(3, "\x08"+string(right(a)[3:]))}, true, false},
		"of another challenge":         {[][]byte{attr(60, "a challenge"), right(a)}, true, false},
		"challenge of 7 octets":        {[][]byte{attr(60, "7octets"), right("7octets")}, false, true},
		"challenge of no octets":       {[][]byte{attr(60, ""), right("")}, false, true},
		"empty one for the other":      {[][]byte{attr(60, ""), right(a)}, false, true},
		"two challenges":               {[][]byte{attr(60, "a challenge"), attr(60, "a challenge"), right("a challenge")}, false, true},
		"two responses":                {[][]byte{right(a), right(a)}, false, true},
		"16 octets":                    {[][]byte{attr(3, strings.Repeat("x", 16))}, false, true},
		"18 octets":                    {[][]byte{attr(3, strings.Repeat("x", 18))}, false, true},
		"no octets":                    {[][]byte{attr(3, "")}, false, true},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, testConfig(everyMethod()), trialEngine(testPassword), func(h *harness) {
				request := signRequest(rawPacket(1, 1, a, append(tt.attributes, attr(1, testName), emptyMA)...), testSecret)
				h.ask(request)
				h.later(rejectTime)
				got := h.engine.attempts()[0].Proof
				if tt.malformed != (got == nil) {
					t.Errorf("proof %T, malformed: %v", got, tt.malformed)
				}
				want := byte(codeAccessAccept)
				if tt.malformed || tt.wrong {
					want = codeAccessReject
				}
				if got := attributesOf(h.reply(request, want)); want == codeAccessReject && len(got) != 1 {
					t.Errorf("the Reject has %q", got)
				}
			})
		})
	}
}
