package radius

import (
	"bytes"
	"context"
	"encoding/hex"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/keywicket/keywicket/core"
	"github.com/keywicket/keywicket/core/proof"
	layeh "layeh.com/radius"
	"layeh.com/radius/rfc2759"
	"layeh.com/radius/rfc3079"
	"layeh.com/radius/vendors/microsoft"
)

const rejectTime = 1250 * time.Millisecond

// trialEngine grants what text answers, as the engine does it.
func trialEngine(text string) *fakeEngine {
	return &fakeEngine{verify: func(_ context.Context, a core.Attempt) (core.Grant, error) {
		trial, ok := a.Proof.(proof.Trial)
		switch {
		case a.Proof == nil:
			return core.Grant{}, denied(core.ReasonMalformed)
		case !ok:
			return core.Grant{}, denied(core.ReasonMethodNotEnabled)
		}
		material := proof.Material(trial.Method(), text)
		if !trial.Try(material) {
			return core.Grant{}, denied(core.ReasonWrong)
		}
		if d, ok := trial.(proof.Deriver); ok {
			d.Derive(material)
		}
		return core.Grant{Account: a.Account, Session: []byte("session")}, nil
	}}
}

const (
	ourChallenge   = "our 16 octets !!"
	theirChallenge = "their 16 octets!"
	testIdent      = 0x5A
)

// mschap2Value is an MS-CHAP2-Response of fill alone, with these flags.
func mschap2Value(fill string, flags byte) string {
	return "\x5a" + string([]byte{flags}) + strings.Repeat(fill, 16) + strings.Repeat("\x00", 8) + strings.Repeat(fill, 24)
}

// ntResponse is what a device of this name answers, by layeh.com/radius.
func ntResponse(t testing.TB, name, text string) string {
	t.Helper()
	response, err := rfc2759.GenerateNTResponse([]byte(ourChallenge), []byte(theirChallenge), []byte(name), []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return string(response)
}

func mschap2Attributes(t testing.TB, name, text string) [][]byte {
	t.Helper()
	value := string([]byte{testIdent, 0}) + theirChallenge + strings.Repeat("\x00", 8) + ntResponse(t, name, text)
	return [][]byte{vsa(311, 11, ourChallenge), vsa(311, 25, value)}
}

// mschap2Request is a signed request number n of a device that was given text.
// hashed is the name in the response.
func mschap2Request(t testing.TB, n int, name, hashed, text string, more ...[]byte) []byte {
	t.Helper()
	attributes := append([][]byte{emptyMA, attr(1, name)}, mschap2Attributes(t, hashed, text)...)
	return signRequest(rawPacket(1, byte(n), testAuthenticator(n), append(attributes, more...)...), testSecret)
}

// R17 and RFC 2548, section 2: all that an Accept has, as another
// implementation reads it.
func TestR17Accept(t *testing.T) {
	inBubble(t, testConfig(everyMethod()), trialEngine(testPassword), func(h *harness) {
		request := mschap2Request(t, 1, testName, testName, testPassword, attr(33, "proxy"))
		h.ask(request)
		reply := h.reply(request, codeAccessAccept)
		got, ask := parsed(t, reply), parsed(t, request)
		want, err := rfc2759.GenerateAuthenticatorResponse([]byte(ourChallenge), []byte(theirChallenge), []byte(ntResponse(t, testName, testPassword)), []byte(testName), []byte(testPassword))
		if err != nil {
			t.Fatal(err)
		}
		if success := microsoft.MSCHAP2Success_Get(got); string(success) != "\x5a"+want {
			t.Errorf("MS-CHAP2-Success %q, want %q", success, want)
		}
		if policy, types := microsoft.MSMPPEEncryptionPolicy_Get(got), microsoft.MSMPPEEncryptionTypes_Get(got); policy != 1 || types != 4 {
			t.Errorf("MPPE policy %v, types %v", policy, types)
		}
		for isSend, key := range map[bool][]byte{true: mppeKey(t, got, ask, 16), false: mppeKey(t, got, ask, 17)} {
			want, err := rfc3079.MakeKey([]byte(ntResponse(t, testName, testPassword)), []byte(testPassword), isSend)
			if err != nil || !bytes.Equal(key, want) {
				t.Errorf("send %v: key %x, want %x, %v", isSend, key, want, err)
			}
		}
		if vendors := microsoftOf(reply); !slices.Equal(slices.Sorted(maps.Keys(vendors)), []byte{7, 8, 16, 17, 26}) {
			t.Errorf("attributes of Microsoft: %v", slices.Sorted(maps.Keys(vendors)))
		}
		h.ask(request) // the same octets again, salts included
		if again := h.reply(request, codeAccessAccept); !bytes.Equal(again, reply) {
			t.Error("a repeat is answered otherwise")
		}
	})
}

// parsed reads a packet with layeh.com/radius.
func parsed(t testing.TB, raw []byte) *layeh.Packet {
	t.Helper()
	p, err := layeh.Parse(raw, []byte(testSecret))
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// microsoftOf returns the attributes of vendor 311 in a packet, which must be
// one in each Vendor-Specific.
func microsoftOf(raw []byte) map[byte][]byte {
	all := map[byte][]byte{}
	for _, a := range attributesOf(raw) {
		if strings.HasPrefix(a[2:], "\x00\x00\x01\x37") && a[0] == 26 {
			all[a[6]] = []byte(a[8:])
		}
	}
	return all
}

// mppeKey decrypts a key as RFC 2548, section 2.4.2, tells it, and checks its
// padding.
func mppeKey(t testing.TB, reply, request *layeh.Packet, kind byte) []byte {
	t.Helper()
	raw, err := reply.Encode()
	if err != nil {
		t.Fatal(err)
	}
	value := string(microsoftOf(raw)[kind])
	if len(value) != 34 || value[0]&0x80 == 0 {
		t.Fatalf("key %d is %x", kind, value)
	}
	salt, hidden := value[:2], value[2:]
	first := string(hideBlocks(hidden[:16], testSecret, string(request.Authenticator[:])+salt))
	text := first + string(hideBlocks(hidden[16:], testSecret, hidden[:16]))
	if text[0] != 16 || strings.Trim(text[17:], "\x00") != "" {
		t.Fatalf("key %d decrypts to %x", kind, text)
	}
	return []byte(text[1:17])
}

// R17 and RFC 2548, section 2.4.2: the first bit of a salt is set, and no two
// of a packet are the same; nor are those of many packets.
func TestR17Salts(t *testing.T) {
	seen := map[string]int{}
	inBubble(t, testConfig(everyMethod()), trialEngine(testPassword), func(h *harness) {
		for n := range 500 {
			request := mschap2Request(t, n, testName, testName, testPassword)
			h.path.from = netipPort(n)
			h.ask(request)
			keys := microsoftOf(h.reply(request, codeAccessAccept))
			send, recv := string(keys[16][:2]), string(keys[17][:2])
			if send[0]&0x80 == 0 || recv[0]&0x80 == 0 || send == recv {
				t.Fatalf("salts %x and %x", send, recv)
			}
			seen[send]++
		}
	})
	if len(seen) < 450 {
		t.Errorf("%d different salts in 500 packets", len(seen))
	}
}

// R24, R17: every refusal of an MS-CHAP2-Response has the same octets, but for
// the identifier and the authenticators, whatever the reason is; also where the
// client may not use it. The Ident is the device's (RFC 2548, section 2.1.5).
func TestR24MSCHAPv2Refusals(t *testing.T) {
	plain := testClient()
	var first []byte
	for _, reason := range core.Reasons() {
		for _, c := range []Client{everyMethod(), plain} {
			if k := reason.Kind(); k == core.KindLimited || k == core.KindUnavailable {
				continue
			}
			engine := &fakeEngine{verify: func(context.Context, core.Attempt) (core.Grant, error) { return core.Grant{}, denied(reason) }}
			inBubble(t, testConfig(c), engine, func(h *harness) {
				request := mschap2Request(t, 1, testName, testName, "wrong")
				h.ask(request)
				h.later(rejectTime)
				reply := h.reply(request, codeAccessReject)
				if first == nil {
					first = reply
				}
				if !bytes.Equal(reply, first) {
					t.Errorf("%s: %x, another reason's %x", reason, reply, first)
				}
			})
		}
	}
	if got, want := attributesOf(first)[1:], []string{string(vsa(311, 2, "\x5aE=691 R=0"))}; !slices.Equal(got, want) {
		t.Errorf("the Reject has %q, want %q", got, want)
	}
}

// R3: neither the name nor the domain nor a challenge comes back, in Accept or
// Reject.
func TestR3MSCHAPv2EchoesNothing(t *testing.T) {
	for _, text := range []string{testPassword, "wrong"} {
		inBubble(t, testConfig(everyMethod()), trialEngine(testPassword), func(h *harness) {
			h.ask(mschap2Request(t, 1, `CONTOSO\alain`, "alain", text, vsa(311, 10, "CONTOSO")))
			h.later(rejectTime)
			for _, one := range h.replies() {
				for _, echo := range []string{"CONTOSO", "alain", ourChallenge, theirChallenge, testPassword} {
					if bytes.Contains(one.reply, []byte(echo)) {
						t.Errorf("code %d: %q comes back", one.reply[0], echo)
					}
				}
			}
		})
	}
}

// RFC 2759, section 8.2, and the realm rule: the account is looked up by the
// one, and the response computed over the name as it was sent, without domain.
func TestMSCHAPv2Names(t *testing.T) {
	for _, tt := range []struct{ sent, hashed, account string }{
		{"alain", "alain", "alain"},
		{"alain@contoso.com", "alain@contoso.com", "alain"},
		{`CONTOSO\alain`, "alain", "alain"},
		{`CONTOSO\alain@contoso.com`, "alain@contoso.com", "alain"},
	} {
		for realm, account := range map[Realm]string{RealmStrip: tt.account, RealmKeep: tt.sent} {
			config := testConfig(everyMethod())
			config.Realm = realm
			inBubble(t, config, trialEngine(testPassword), func(h *harness) {
				request := mschap2Request(t, 1, tt.sent, tt.hashed, testPassword)
				h.ask(request)
				h.reply(request, codeAccessAccept)
				if got := h.engine.attempts(); len(got) != 0 && got[0].Account != account {
					t.Errorf("%s: account %q, want %q", tt.sent, got[0].Account, account)
				}
			})
		}
	}
}

// R14, R17: lengths, reserved octets and counts of what MS-CHAPv2 has.
func TestR17Malformed(t *testing.T) {
	challenge, good := vsa(311, 11, ourChallenge), mschap2Value("x", 0)
	reserved := []byte(good)
	reserved[20] = 1
	both := append(attr(11, ourChallenge), attr(25, good)...)
	for name, tt := range map[string]struct {
		attributes [][]byte
		good       bool
	}{
		"good":                     {[][]byte{challenge, vsa(311, 25, good)}, true},
		"response first":           {[][]byte{vsa(311, 25, good), challenge}, true},
		"both in one":              {[][]byte{vsaOf(311, both)}, true},
		"beside other attributes":  {[][]byte{vsa(311, 10, "CONTOSO"), challenge, vsa(9, 25, "another vendor"), vsa(311, 25, good)}, true},
		"flags":                    {[][]byte{challenge, vsa(311, 25, mschap2Value("x", 1))}, false},
		"reserved":                 {[][]byte{challenge, vsa(311, 25, string(reserved))}, false},
		"49 octets":                {[][]byte{challenge, vsa(311, 25, good[:49])}, false},
		"51 octets":                {[][]byte{challenge, vsa(311, 25, good+"x")}, false},
		"no octets":                {[][]byte{challenge, vsa(311, 25, "")}, false},
		"two responses":            {[][]byte{challenge, vsa(311, 25, good), vsa(311, 25, good)}, false},
		"two in one":               {[][]byte{challenge, vsaOf(311, append(attr(25, good), attr(25, good)...))}, false},
		"no challenge":             {[][]byte{vsa(311, 25, good)}, false},
		"two challenges":           {[][]byte{challenge, challenge, vsa(311, 25, good)}, false},
		"challenge of 15":          {[][]byte{vsa(311, 11, ourChallenge[:15]), vsa(311, 25, good)}, false},
		"challenge of 17":          {[][]byte{vsa(311, 11, ourChallenge+"x"), vsa(311, 25, good)}, false},
		"challenge of 8, as in v1": {[][]byte{vsa(311, 11, ourChallenge[:8]), vsa(311, 25, good)}, false},
		"CHAP-Challenge instead":   {[][]byte{attr(60, ourChallenge), vsa(311, 25, good)}, false},
		"broken Vendor-Specific":   {[][]byte{challenge, vsaOf(311, append(attr(25, good), 1))}, false},
	} {
		t.Run(name, func(t *testing.T) {
			got := attemptOf(t, testConfig(everyMethod()), append(tt.attributes, attr(1, testName))...).Proof
			if _, ok := got.(*proof.MSCHAPv2); ok != tt.good || !ok && got != nil {
				t.Errorf("proof %T, want one: %v", got, tt.good)
			}
		})
	}
}

// vsaOf is a Vendor-Specific with these octets in it.
func vsaOf(vendor uint32, octets []byte) []byte {
	whole := vsa(vendor, 0, "")
	return attr(26, string(whole[2:6])+string(octets))
}

// R15: MS-CHAPv2 on UDP for who may use it alone, and the line says how.
func TestR15WhoMayUseWhat(t *testing.T) {
	sum := strings.Repeat("x", 16)
	request := map[proof.Method][][]byte{
		proof.MethodCleartext:    {hidePassword(testPassword, testSecret, testAuthenticator(1))},
		proof.MethodCHAP:         {attr(3, "x"+sum)},
		proof.MethodMSCHAPv2:     mschap2Attributes(t, testName, testPassword),
		proof.MethodMSCHAPv1:     {vsa(311, 11, ourChallenge[:8]), vsa(311, 1, strings.Repeat("x", 50))},
		proof.MethodMSCHAPChange: {vsa(311, 27, strings.Repeat("x", 68))},
		proof.MethodEAP:          {attr(79, "\x02\x01\x00\x06\x01x"), attr(24, "state")},
	}
	for _, tt := range []struct {
		methods  []proof.Method
		insecure bool
		takes    []proof.Method
	}{
		{nil, false, []proof.Method{proof.MethodCleartext}},
		{nil, true, []proof.Method{proof.MethodCleartext}},
		{[]proof.Method{proof.MethodCleartext}, true, []proof.Method{proof.MethodCleartext}},
		{[]proof.Method{proof.MethodCHAP}, false, []proof.Method{proof.MethodCHAP}},
		{proof.Methods(), false, []proof.Method{proof.MethodCleartext, proof.MethodCHAP}},
		{proof.Methods(), true, proof.Methods()},
		{[]proof.Method{proof.MethodMSCHAPv2}, true, []proof.Method{proof.MethodMSCHAPv2}},
	} {
		c := testClient()
		c.Methods, c.AllowInsecureMSCHAP = tt.methods, tt.insecure
		for m, attributes := range request {
			got := attemptOf(t, testConfig(c), append(attributes, attr(1, testName))...).Proof
			want := slices.Contains(tt.takes, m)
			if _, not := got.(proof.Unsupported); got == nil || not == want || got.Method() != m {
				t.Errorf("methods %q, insecure %v: %s becomes %T", tt.methods, tt.insecure, m, got)
			}
		}
	}
}

// What is refused for its method is told once in the log, with the way out.
func TestUntakenIsTold(t *testing.T) {
	listed := testClient()
	listed.Methods = proof.Methods()
	for words, tt := range map[string]struct {
		client     Client
		attributes [][]byte
	}{
		"methods of this client":       {testClient(), [][]byte{attr(3, strings.Repeat("x", 17))}},
		"allow_insecure_mschap = true": {listed, mschap2Attributes(t, testName, testPassword)},
		"MS-CHAPv1 is never taken":     {everyMethod(), [][]byte{vsa(311, 1, strings.Repeat("x", 50))}},
		"EAP is not taken yet":         {everyMethod(), [][]byte{attr(79, "\x02\x01\x00\x06\x01x")}},
		"not changed over MS-CHAP":     {everyMethod(), [][]byte{vsa(311, 3, strings.Repeat("x", 72))}},
	} {
		inBubble(t, testConfig(tt.client), &fakeEngine{}, func(h *harness) {
			for n := range 10 {
				h.ask(signRequest(rawPacket(1, byte(n), testAuthenticator(n), append(tt.attributes, emptyMA, attr(1, testName))...), testSecret))
			}
			if n := strings.Count(h.log.String(), words); n != 1 || !strings.Contains(h.log.String(), `"client":"vpn1"`) {
				t.Errorf("%q: %d lines: %s", words, n, h.log)
			}
		})
	}
}

// An engine that grants without having tried gets no Accept: there is nothing
// to answer with.
func TestGrantWithoutSuccess(t *testing.T) {
	inBubble(t, testConfig(everyMethod()), &fakeEngine{verify: grantAll}, func(h *harness) {
		h.ask(mschap2Request(t, 1, testName, testName, testPassword))
		h.silent(2*time.Second, dropInternal)
	})
}

// The configuration's word on encryption stands instead of ours.
func TestMPPEConfigured(t *testing.T) {
	c := everyMethod()
	for _, text := range []string{"Encryption-Required", "RC4-40or128-bit-Allowed"} {
		name := map[bool]string{true: "MS-MPPE-Encryption-Policy", false: "MS-MPPE-Encryption-Types"}[strings.HasPrefix(text, "E")]
		a, err := ParseReply(name, text)
		if err != nil {
			t.Fatal(err)
		}
		c.Reply = append(c.Reply, a)
	}
	inBubble(t, testConfig(c), trialEngine(testPassword), func(h *harness) {
		request := mschap2Request(t, 1, testName, testName, testPassword)
		h.ask(request)
		reply := h.reply(request, codeAccessAccept)
		if n := strings.Count(string(reply), "\x00\x00\x01\x37\x07\x06"); n != 1 {
			t.Errorf("%d policies", n)
		}
		got := microsoftOf(reply)
		if hex.EncodeToString(got[7]) != "00000002" || hex.EncodeToString(got[8]) != "00000006" {
			t.Errorf("policy %x, types %x", got[7], got[8])
		}
	})
}

// The keys are wiped when the attempt is over, and no log shows them or what
// they are made of.
func TestR27MSCHAPv2IsWiped(t *testing.T) {
	var kept *proof.MSCHAPv2
	engine := trialEngine(testPassword)
	grant := engine.verify
	var secrets []string
	engine.verify = func(ctx context.Context, a core.Attempt) (core.Grant, error) {
		g, err := grant(ctx, a)
		kept = a.Proof.(*proof.MSCHAPv2)
		s, _ := kept.Success()
		secrets = append(secrets, string(s.SendKey[:]), fmt.Sprintf("%x", s.SendKey), fmt.Sprintf("%x", s.RecvKey), string(s.AuthenticatorResponse[:]))
		return g, err
	}
	inBubble(t, testConfig(everyMethod()), engine, func(h *harness) {
		h.ask(mschap2Request(t, 1, testName, testName, testPassword))
		if s, ok := kept.Success(); ok || s != (proof.Success{}) {
			t.Error("the keys are left behind")
		}
		hash := proof.Material(proof.MethodMSCHAPv2, testPassword)
		for _, secret := range append(secrets, testPassword, string(hash), hex.EncodeToString(hash)) {
			if strings.Contains(h.log.String(), secret) {
				t.Errorf("%q is in the log: %s", secret, h.log)
			}
		}
	})
}

// What a reply to MS-CHAPv2 is made of is not left for the next request, which
// has the same memory: a PAP one is answered as it always is.
func TestNothingIsLeftForTheNext(t *testing.T) {
	inBubble(t, testConfig(everyMethod()), trialEngine(testPassword), func(h *harness) {
		grant := h.engine.verify
		h.engine.verify = func(ctx context.Context, a core.Attempt) (core.Grant, error) {
			if text, ok := a.Proof.(proof.Cleartext); ok && string(text) == testPassword {
				return core.Grant{Account: a.Account}, nil
			}
			return grant(ctx, a)
		}
		for n := 0; n < 100; n += 3 {
			request := mschap2Request(t, n, testName, testName, testPassword)
			h.ask(request)
			h.reply(request, codeAccessAccept)
			request = papRequest(n+1, testName, testPassword)
			h.ask(request)
			if got := attributesOf(h.reply(request, codeAccessAccept)); len(got) != 1 {
				t.Fatalf("Accept of PAP: %q", got)
			}
			request = papRequest(n+2, testName, "wrong")
			h.ask(request)
			h.later(rejectTime)
			if got := attributesOf(h.reply(request, codeAccessReject)); len(got) != 1 {
				t.Fatalf("Reject of PAP: %q", got)
			}
		}
	})
}

// FuzzMethods: no attributes make a decoder panic, what is granted was tried,
// and no two proofs are one.
func FuzzMethods(f *testing.F) {
	add := func(all ...[]byte) { f.Add(slices.Concat(all...)) }
	add(attr(1, testName), hidePassword(testPassword, testSecret, testAuthenticator(1)))
	add(attr(1, testName), attr(3, strings.Repeat("x", 17)), attr(60, "challenge"))
	add(append(mschap2Attributes(f, testName, testPassword), attr(1, testName))...)
	add(append(mschap2Attributes(f, testName, testPassword), attr(1, testName), attr(3, strings.Repeat("x", 17)))...)
	add(attr(1, `A\`), vsaOf(311, append(attr(25, mschap2Value("x", 0)), attr(11, ourChallenge)...)))
	add(vsa(311, 1, "v1"), vsa(311, 3, ""), vsa(311, 27, ""), attr(79, ""))
	f.Fuzz(func(t *testing.T, attributes []byte) {
		if len(attributes) > maxPacket-headerLen {
			return
		}
		r := &request{}
		if r.packet.parse(rawPacket(1, 1, testAuthenticator(1), attributes)) != dropNone {
			return
		}
		c := everyMethod()
		r.client, r.key = &client{Client: &c}, newKey([]byte(testSecret))
		r.table = &table{}
		p := oneMethod(r)
		if _, mschap2 := p.(*proof.MSCHAPv2); mschap2 != (r.mschap != nil) {
			t.Fatalf("proof %T, to be answered as MS-CHAPv2: %v", p, r.mschap != nil)
		}
		present := 0
		for _, m := range methods() {
			if m.present(&r.packet) {
				present++
			}
		}
		if p != nil && present != 1 {
			t.Fatalf("%d proofs become %T", present, p)
		}
		if trial, ok := p.(proof.Trial); ok {
			trial.Try(proof.Material(trial.Method(), testPassword))
			if _, err := r.reject(); err != nil {
				t.Fatal(err)
			}
		}
	})
}
