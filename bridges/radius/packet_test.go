package radius

import (
	"bytes"
	"strings"
	"testing"
	"time"
)

// R9, R10 and RFC 2865, section 3: the table says what is dropped and as what.
func TestR9R10HeaderAndAttributes(t *testing.T) {
	long := func(n int) []byte { return bytes.Repeat([]byte{18, 2}, n) }
	resize := func(raw []byte, length int) []byte {
		raw[2], raw[3] = byte(length>>8), byte(length)
		return raw
	}
	auth := testAuthenticator(1)
	for name, tt := range map[string]struct {
		raw  []byte
		want drop
	}{
		"empty":                       {nil, dropLength},
		"19 octets":                   {make([]byte, 19), dropLength},
		"length says 19":              {resize(rawPacket(1, 1, auth), 19), dropLength},
		"length says 0":               {resize(rawPacket(1, 1, auth), 0), dropLength},
		"length beyond the datagram":  {resize(rawPacket(1, 1, auth), 21), dropLength},
		"length 4097":                 {rawPacket(1, 1, auth, make([]byte, 4077)), dropLength},
		"one stray octet":             {rawPacket(1, 1, auth, []byte{1}), dropAttributes},
		"attribute of length 0":       {rawPacket(1, 1, auth, []byte{1, 0}), dropAttributes},
		"attribute of length 1":       {rawPacket(1, 1, auth, []byte{1, 1}), dropAttributes},
		"attribute overruns":          {rawPacket(1, 1, auth, []byte{1, 4, 0}), dropAttributes},
		"last attribute overruns":     {rawPacket(1, 1, auth, attr(1, "nemo"), []byte{2, 255, 0}), dropAttributes},
		"overrun hidden by padding":   {append(rawPacket(1, 1, auth, []byte{1, 4, 0}), 0), dropAttributes},
		"201 attributes":              {rawPacket(1, 1, auth, long(201)), dropTooManyAttributes},
		"2,038 attributes":            {rawPacket(1, 1, auth, long(2038)), dropTooManyAttributes},
		"200 attributes":              {rawPacket(1, 1, auth, long(200)), dropNone},
		"no attribute":                {rawPacket(1, 1, auth), dropNone},
		"padding behind the length":   {append(rawPacket(1, 1, auth, attr(1, "nemo")), 1, 0, 0), dropNone},
		"unknown attributes":          {rawPacket(1, 1, auth, attr(250, "x"), attr(0, "y")), dropNone},
		"4096 octets":                 {rawPacket(1, 1, auth, bytes.Repeat(attr(18, strings.Repeat("x", 251)), 16), attr(18, strings.Repeat("x", 26))), dropNone},
		"attribute of length 2":       {rawPacket(1, 1, auth, attr(1, "")), dropNone},
		"attribute of 255 octets":     {rawPacket(1, 1, auth, attr(1, strings.Repeat("x", 253))), dropNone},
		"signature mis-sized, walked": {rawPacket(1, 1, auth, attr(80, "x")), dropNone},
	} {
		t.Run(name, func(t *testing.T) {
			var p packet
			if got := p.parse(tt.raw); got != tt.want {
				t.Fatalf("parse = %v, want %v", got, tt.want)
			}
			inBubble(t, testConfig(), &fakeEngine{}, func(h *harness) {
				h.ask(tt.raw)
				h.silent(2*time.Second, tt.want) // also those of no fault: unsigned
				if n := len(h.engine.attempts()); n != 0 {
					t.Errorf("the engine was asked %d times", n)
				}
			})
		})
	}
}

// R9: only Access-Request and Status-Server are for this port.
func TestR9CodesOfOthers(t *testing.T) {
	inBubble(t, testConfig(), &fakeEngine{}, func(h *harness) {
		for code := range 256 {
			if code == 1 || code == 12 {
				continue
			}
			a := testAuthenticator(code)
			h.ask(signRequest(rawPacket(byte(code), byte(code), a, emptyMA, attr(1, testName), hidePassword(testPassword, testSecret, a)), testSecret))
		}
		h.silent(2*time.Second, dropCode)
		if got := h.s.counters.dropped[dropCode].Load(); got != 254 {
			t.Errorf("%d dropped for their code, want 254", got)
		}
		if n := len(h.engine.attempts()); n != 0 {
			t.Errorf("the engine was asked %d times", n)
		}
	})
}

// R9: octets behind Length are padding (RFC 2865, section 3).
func TestR9PaddingIsIgnored(t *testing.T) {
	inBubble(t, testConfig(), &fakeEngine{}, func(h *harness) {
		request := papRequest(1, testName, testPassword)
		h.ask(append(request, 1, 0, 80, 3, 9))
		h.reply(request, codeAccessAccept)
	})
}

// R10, R11: what is not known, or a vendor's and malformed, is no reason to drop.
func TestR10UnknownAttributesAreIgnored(t *testing.T) {
	inBubble(t, testConfig(), &fakeEngine{}, func(h *harness) {
		request := papRequest(1, testName, testPassword, attr(250, "x"), attr(26, "x"), attr(26, ""),
			vsa(99999, 25, "unknown vendor"), attr(26, "\x00\x00\x01\x37\x19\x00"), attr(26, "\x00\x00\x01\x37\x19\xff"), attr(241, "\xff"), attr(245, ""))
		h.ask(request)
		h.reply(request, codeAccessAccept)
	})
}

func FuzzPacket(f *testing.F) {
	f.Add(papRequest(1, testName, testPassword))
	f.Add(statusRequest(2))
	f.Add(rawPacket(1, 1, testAuthenticator(3), vsa(311, 25, strings.Repeat("x", 50)), attr(79, "\x02\x00\x00\x04")))
	f.Add(rawPacket(1, 1, testAuthenticator(4), bytes.Repeat([]byte{18, 2}, 201)))
	f.Add(hexFile(f, "rfc2865-7.1-request.hex"))
	f.Add(hexFile(f, "rfc2865-7.1-accept.hex"))
	f.Fuzz(func(t *testing.T, datagram []byte) {
		before := bytes.Clone(datagram)
		var p packet
		if p.parse(datagram) != dropNone {
			return
		}
		at := headerLen
		for i := range p.n {
			a := p.attribute(i)
			if int(p.at[i]) != at || len(a) < 2 {
				t.Fatalf("attribute %d at %d, want %d", i, p.at[i], at)
			}
			at += len(a)
		}
		if at != len(p.raw) || p.n > maxAttributes || len(p.raw) > maxPacket {
			t.Fatalf("walk ended at %d of %d, after %d attributes", at, len(p.raw), p.n)
		}
		for _, m := range methods() {
			m.present(&p)
		}
		if !bytes.Equal(before, datagram) {
			t.Fatal("the datagram was changed")
		}
	})
}
