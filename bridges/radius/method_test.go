package radius

import (
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/keywicket/keywicket/core"
	"github.com/keywicket/keywicket/core/proof"
)

func prefixes(all ...string) (out []netip.Prefix) {
	for _, p := range all {
		out = append(out, netip.MustParsePrefix(p))
	}
	return out
}

// attemptOf sends a request of attributes, and returns what the engine was asked.
func attemptOf(t *testing.T, config Config, attributes ...[]byte) (got asked) {
	t.Helper()
	inBubble(t, config, &fakeEngine{}, func(h *harness) {
		request := signRequest(rawPacket(1, 1, testAuthenticator(1), append([][]byte{emptyMA}, attributes...)...), testSecret)
		h.ask(request)
		all := h.engine.attempts()
		if len(all) != 1 || h.s.counters.dropped[dropPanic].Load() != 0 {
			t.Fatalf("the engine was asked %d times: %v", len(all), h.s.Counters().Dropped)
		}
		got = all[0]
		h.later(2 * time.Second)
		if _, clear := got.Proof.(proof.Cleartext); !clear {
			h.reply(request, codeAccessReject)
		}
	})
	return got
}

// R13, RFC 2865, section 5.2: the length and what follows the first NUL.
func TestR13UserPassword(t *testing.T) {
	a := testAuthenticator(1)
	pad := func(text string) string { return text + strings.Repeat("\x00", (16-len(text)%16)%16) }
	for name, tt := range map[string]struct {
		attribute []byte
		want      string // "" for malformed
	}{
		"one block":              {hidePassword("abc", testSecret, a), "abc"},
		"two blocks":             {hidePassword(testPassword, testSecret, a), testPassword},
		"16, no NUL":             {hidePassword("0123456789abcdef", testSecret, a), "0123456789abcdef"},
		"128 octets":             {hidePassword(strings.Repeat("x", 128), testSecret, a), strings.Repeat("x", 128)},
		"octets above 127":       {hidePassword("pässwörd\xff", testSecret, a), "pässwörd\xff"},
		"padded by three blocks": {attr(2, string(hideBlocks(pad("abc")+strings.Repeat("\x00", 32), testSecret, a))), "abc"},
		"144 octets":             {hidePassword(strings.Repeat("x", 144), testSecret, a), ""},
		"empty":                  {hidePassword("", testSecret, a), ""},
		"no octets":              {attr(2, ""), ""},
		"15 octets":              {attr(2, strings.Repeat("x", 15)), ""},
		"17 octets":              {attr(2, strings.Repeat("x", 17)), ""},
		"NUL inside":             {attr(2, string(hideBlocks(pad("abc\x00d"), testSecret, a))), ""},
		"NUL first":              {attr(2, string(hideBlocks(pad("\x00abc"), testSecret, a))), ""},
		"NUL, then second block": {attr(2, string(hideBlocks(pad("abc")+pad("d"), testSecret, a))), ""},
	} {
		t.Run(name, func(t *testing.T) {
			got := attemptOf(t, testConfig(), attr(1, testName), tt.attribute)
			if got.text != tt.want || (got.Proof == nil) != (tt.want == "") {
				t.Errorf("password %q, proof %T, want %q", got.text, got.Proof, tt.want)
			}
		})
	}
}

// R14: exactly one of the methods, and those that are refused.
func TestR14ExactlyOneMethod(t *testing.T) {
	a := testAuthenticator(1)
	methods := map[string][]byte{
		"PAP":          hidePassword(testPassword, testSecret, a),
		"CHAP":         attr(3, strings.Repeat("x", 17)),
		"MS-CHAP":      vsa(311, 1, strings.Repeat("x", 50)),
		"MS-CHAPv2":    slices.Concat(vsa(311, 11, strings.Repeat("c", 16)), vsa(311, 25, mschap2Value("x", 0))),
		"MS-CHAP2-CPW": vsa(311, 27, strings.Repeat("x", 68)),
		"EAP":          attr(79, "\x02\x01\x00\x06\x01x"),
	}
	alone := map[string]proof.Proof{
		"PAP": proof.Cleartext(nil), "CHAP": proof.Unsupported(proof.MethodCHAP), "MS-CHAPv2": proof.Unsupported(proof.MethodMSCHAPv2),
		"MS-CHAP": proof.Unsupported(proof.MethodMSCHAPv1), "MS-CHAP2-CPW": proof.Unsupported(proof.MethodMSCHAPChange),
		"EAP": proof.Unsupported(proof.MethodEAP),
	}
	for one, first := range methods {
		got := attemptOf(t, testConfig(), attr(1, testName), first).Proof
		switch want := alone[one].(type) {
		case proof.Cleartext:
			if _, ok := got.(proof.Cleartext); !ok {
				t.Errorf("%s: proof %T", one, got)
			}
		default:
			if got != want {
				t.Errorf("%s: proof %v, want %v", one, got, want)
			}
		}
		for other, second := range methods {
			if other == one && one != "PAP" || strings.HasPrefix(one, "MS-CHAP") && other == "MS-CHAP2-CPW" && one != "MS-CHAPv2" || one == "MS-CHAP2-CPW" && other == "MS-CHAP" {
				continue // the same, or two that are one for us
			}
			if got := attemptOf(t, testConfig(), attr(1, testName), first, second); got.Proof != nil {
				t.Errorf("%s with %s: proof %T, want none", one, other, got.Proof)
			}
		}
	}
	if got := attemptOf(t, testConfig(), attr(1, testName)); got.Proof != nil {
		t.Errorf("no method: proof %T", got.Proof)
	}
}

// R9, R14: names that are missing, doubled or empty, and services that ask for
// no check of a password, are malformed and recorded as that.
func TestR9R14Malformed(t *testing.T) {
	password := hidePassword(testPassword, testSecret, testAuthenticator(1))
	for name, attributes := range map[string][][]byte{
		"no name":             {password},
		"empty name":          {attr(1, ""), password},
		"two names":           {attr(1, testName), attr(1, "nemo"), password},
		"Authorize-Only":      {attr(1, testName), password, attr(6, "\x00\x00\x00\x11")},
		"Call-Check":          {attr(1, testName), password, attr(6, "\x00\x00\x00\x0a")},
		"short Service-Type":  {attr(1, testName), password, attr(6, "\x00\x00\x11")},
		"one octet of it":     {attr(1, testName), password, attr(6, "\x11")},
		"five octets of it":   {attr(1, testName), password, attr(6, "\x00\x00\x00\x01\x00")},
		"two Service-Types":   {attr(1, testName), password, attr(6, "\x00\x00\x00\x01"), attr(6, "\x00\x00\x00\x11")},
		"large Service-Type":  {attr(1, testName), password, attr(6, "\x01\x00\x00\x0b")},
		"empty Service-Type":  {attr(1, testName), password, attr(6, "")},
		"only a State":        {attr(1, testName), attr(24, "state")},
		"CHAP-Challenge only": {attr(1, testName), attr(60, "challenge")},
	} {
		if got := attemptOf(t, testConfig(), attributes...); got.Proof != nil {
			t.Errorf("%s: proof %T, want none", name, got.Proof)
		}
	}
	for _, service := range []string{"\x00\x00\x00\x01", "\x00\x00\x00\x02", "\x00\x00\x00\x08"} {
		if got := attemptOf(t, testConfig(), attr(1, testName), password, attr(6, service)); got.Proof == nil {
			t.Errorf("Service-Type %x is refused", service)
		}
	}
}

func TestAttemptWords(t *testing.T) {
	c := testClient()
	c.ServiceName = "lounge"
	got := attemptOf(t, testConfig(c), attr(1, testName), attr(31, "00-11-22-AA-BB-CC"), attr(30, "AA-BB-CC-DD-EE-FF:ssid"), hidePassword(testPassword, testSecret, testAuthenticator(1)))
	want := core.Attempt{Account: testName, Service: "radius/lounge", Source: testSource.Addr(), Device: "00:11:22:aa:bb:cc", Client: "vpn1"}
	got.Proof, got.Answerer = nil, nil
	if got.Attempt != want {
		t.Errorf("attempt %+v, want %+v", got.Attempt, want)
	}
}

// RFC 3580, section 3.21, and what devices send instead.
func TestDevice(t *testing.T) {
	const mac = "00:11:22:aa:bb:cc"
	for station, want := range map[string]string{
		"00-11-22-AA-BB-CC": mac, "00-11-22-aa-bb-cc": mac, "00:11:22:aa:bb:cc": mac, "00:11:22:AA:BB:CC": mac, "0011.22aa.bbcc": mac,
		"00 11 22 aa bb cc": mac, "0011 22AA BBCC": mac, "001122aabbcc": mac, "001122AABBCC": mac, "001122-aabbcc": mac, "0011-22aa-bbcc": mac, " 00-11-22-AA-BB-CC ": mac, "00.11.22.aa.bb.cc": mac,
		"00-11-22:aa-bb-cc": "00-11-22:aa-bb-cc", "0-01122aabbcc": "0-01122aabbcc", "001122aabbcc-": "001122aabbcc-", "-001122aabbcc": "-001122aabbcc",
		"00-11-22-AA-BB": "00-11-22-AA-BB", "00-11-22-AA-BB-CC-DD": "00-11-22-AA-BB-CC-DD", "00-11-22-AA-BB-CC:net": mac, "00-11-22-AA-BB-CC:": "00-11-22-AA-BB-CC:",
		"001122aabbcc:Guest Wi-Fi": mac, "0011.22aa.bbcc:00": mac, "00:11:22:AA:BB:CC:net": "00:11:22:AA:BB:CC:net", "00:11:22:aa:bb:cc:dd:ee": "0:11:22:aa:bb:cc:dd:ee",
		"192.0.2.7[4500]": "192.0.2.7", "192.0.2.7:51234": "192.0.2.7", "[2001:DB8::7]:51234": "2001:db8::7", "2001:db8:0:0::7[4500]": "2001:db8::7", "2001:DB8:0::7": "2001:db8::7",
		"::ffff:192.0.2.7": "192.0.2.7", "192.0.2.7[]": "192.0.2.7[]", "192.0.2.7[4500": "192.0.2.7[4500", "192.0.2.7[999999]": "192.0.2.7[999999]", "[4500]": "[4500]",
		"192.0.2.7:99999": "192.0.2.7:99999", "fe80::1%eth0": "fe80::1%eth0",
		"+49 (30) 123-4567": "+49301234567", "+49/30.1234567": "+49301234567", "+49301234567": "+49301234567", "+1": "+1", "+49 30 call me": "+49 30 call me", "+1234567890123456": "+1234567890123456",
		"0-12": "0-12", "01-2": "01-2", "030 1234567": "030 1234567",

		"00--11-22-AA-BB-CC": "00--11-22-AA-BB-CC", "0011\r22aa\rbbcc": `0011\r22aa\rbbcc`, "\x10\x11\x12\x13\x14\x15\x16\x17\x18\x19\x10\x11": `\x10\x11\x12\x13\x14\x15\x16\x17\x18\x19\x10\x11`,
		"": "", "  ": "", "192.0.2.7": "192.0.2.7", "+49 30 1234567": "+49301234567", "büro": "büro",
		"a\xffb": `a\xffb`, "a\u202eb": `a\u202eb`, "a\nb": `a\nb`, "a\x00b": `a\x00b`,
		strings.Repeat("x", 253):          strings.Repeat("x", 128),
		strings.Repeat("x", 127) + "üüüü": strings.Repeat("x", 127),
	} {
		if got := device([]byte(station)); got != want {
			t.Errorf("device(%q) = %q, want %q", station, got, want)
		}
	}
}

func TestRealm(t *testing.T) {
	for name, want := range map[string]string{
		"alain": "alain", "alain@contoso.com": "alain", `CONTOSO\alain`: "alain", `CONTOSO\alain@contoso.com`: "alain",
		"alain@home@contoso.com": "alain@home", `A\B\alain`: `B\alain`, "@contoso.com": "@contoso.com", `CONTOSO\`: `CONTOSO\`, "alain@": "alain", `\alain`: "alain", "": "",
	} {
		strip, keep := &table{config: Config{Realm: RealmStrip}}, &table{}
		if got := string(strip.account([]byte(name))); got != want {
			t.Errorf("strip: %q becomes %q, want %q", name, got, want)
		}
		if got := string(keep.account([]byte(name))); got != name {
			t.Errorf("keep: %q becomes %q", name, got)
		}
	}
}
