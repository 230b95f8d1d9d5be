package radius

import (
	"context"
	"encoding/hex"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/keywicket/keywicket/core"
)

func TestParseReply(t *testing.T) {
	for _, tt := range []struct{ name, value, want string }{ // want: octets, or "!" and words of the error
		{"Class", "staff", "1907" + hex.EncodeToString([]byte("staff"))},
		{"class", "0x00ff", "190400ff"},
		{"Reply-Message", "Grüße", "1209" + hex.EncodeToString([]byte("Grüße"))},
		{"Session-Timeout", "3600", "1b0600000e10"},
		{"Session-Timeout", "0xe10", "1b0600000e10"},
		{"Service-Type", "NAS-Prompt", "060600000007"},
		{"service-type", "nas-prompt", "060600000007"},
		{"Framed-IP-Address", "192.0.2.1", "0806c0000201"},
		{"Framed-IPv6-Prefix", "2001:db8::/56", "610b003820010db8000000"},
		{"Framed-IPv6-Prefix", "::/0", "61040000"},
		{"Framed-Interface-Id", "0:0:0:1", "600a0000000000000001"},
		{"Login-IPv6-Host", "2001:db8::1", "621220010db8000000000000000000000001"},
		{"Chargeable-User-Identity", "0x01", "590301"},
		{"Egress-VLANID", "0x3100002a", "38063100002a"},
		{"User-Priority-Table", "0x0001020304050607", "3b0a0001020304050607"},
		{"NAS-Filter-Rule", "permit in ip from any to any", "5c1e" + hex.EncodeToString([]byte("permit in ip from any to any"))},
		{"Tunnel-Type", "VLAN", "40060000000d"}, // RFC 2868, section 3.1: the tag is always there
		{"Tunnel-Type:1", "13", "40060100000d"},
		{"Tunnel-Medium-Type:31", "IEEE-802", "41061f000006"},
		{"Tunnel-Private-Group-Id", "42", "51043432"}, // section 3.6: and here only if asked for
		{"Tunnel-Private-Group-ID:1", "42", "5105013432"},
		{"Tunnel-Private-Group-Id:0", "42", "5105003432"},
		{"Cisco-AVPair", "shell:priv-lvl=15", "1a1900000009" + "0113" + hex.EncodeToString([]byte("shell:priv-lvl=15"))},
		{"Mikrotik-Group", "full", "1a0c00003a8c" + "0306" + hex.EncodeToString([]byte("full"))},
		{"Fortinet-Group-Name", "vpn", "1a0b00003044" + "0105" + hex.EncodeToString([]byte("vpn"))},
		{"WISPr-Bandwidth-Max-Up", "1000000", "1a0c0000372a" + "0706000f4240"},
		{"MS-Primary-DNS-Server", "192.0.2.53", "1a0c00000137" + "1c06c0000235"},

		{"Reply-Mesage", "x", `!"Reply-Mesage" is no known attribute; is Reply-Message meant?`},
		{"Whatever-It-Is", "x", `!"Whatever-It-Is" is no known attribute`},
		{"", "x", `!"" is no known attribute`},
		{"Reply-Message", "", "!empty"},
		{"Reply-Message", strings.Repeat("x", 254), "!254 octets; at most 253"},
		{"Cisco-AVPair", strings.Repeat("x", 248), "!248 octets; at most 247"},
		{"Tunnel-Private-Group-Id:1", strings.Repeat("x", 253), "!254 octets; at most 253"},
		{"Reply-Message", "a\x00b", "!NUL"},
		{"Reply-Message", "a\xff", "!UTF-8"},
		{"Class", "0x0", "!pairs"},
		{"Class", "0xzz", "!pairs"},
		{"Class", "0x", "!empty"},
		{"Session-Timeout", "1h", "!no number from 0 to 4294967295"},
		{"Session-Timeout", "4294967296", "!no number"},
		{"Session-Timeout", "-1", "!no number"},
		{"Service-Type", "Everything", "!neither a number that fits nor one of Login, Framed"},
		{"Framed-IP-Address", "2001:db8::1", "!no IPv4 address"},
		{"Framed-IP-Address", "192.0.2", "!no IPv4 address"},
		{"Login-IPv6-Host", "192.0.2.1", "!no IPv6 address"},
		{"Framed-IPv6-Prefix", "2001:db8::1/56", "!bits behind"},
		{"Framed-IPv6-Prefix", "192.0.2.0/24", "!no IPv6 prefix"},
		{"Framed-Interface-Id", "0:0:1", "!no interface identifier"},
		{"Framed-Interface-Id", "0:0:0:10000", "!no interface identifier"},
		{"User-Priority-Table", "0x00", "!exactly 8"},
		{"Tunnel-Type:32", "VLAN", "!from 0 to 31"},
		{"Tunnel-Type:x", "VLAN", "!from 0 to 31"},
		{"Tunnel-Type", "16777216", "!beside a tag"},
		{"Tunnel-Private-Group-Id", "\x01", "!taken for a tag"},
		{"Class:1", "x", "!has no tag"},
		{"User-Name", "x", "!in a request"}, {"User-Password", "x", "!encrypted"}, {"Tunnel-Password:1", "x", "!encrypted"},
		{"State", "x", "!protocol"}, {"Proxy-State", "x", "!every reply"}, {"Message-Authenticator", "x", "!every reply"},
		{"EAP-Message", "x", "!protocol"}, {"MS-MPPE-Send-Key", "x", "!encrypted"}, {"MS-CHAP-MPPE-Keys", "x", "!encrypted"},
		{"MS-CHAP2-Success", "x", "!MS-CHAP"}, {"Acct-Session-Id", "x", "!accounting"}, {"Event-Timestamp", "2030-01-01", "!in a request"},
		{"CHAP-Password", "x", "!in a request"}, {"Calling-Station-Id", "x", "!in a request"},
	} {
		a, err := ParseReply(tt.name, tt.value)
		words, fails := strings.CutPrefix(tt.want, "!")
		switch {
		case fails && (err == nil || !strings.Contains(err.Error(), words)):
			t.Errorf("%s = %q: error %v, want %q", tt.name, tt.value, err, words)
		case !fails && (err != nil || hex.EncodeToString(a.wire) != tt.want):
			t.Errorf("%s = %q: %x, %v, want %s", tt.name, tt.value, a.wire, err, tt.want)
		}
	}
}

func TestEncodeDate(t *testing.T) {
	for text, want := range map[string]string{
		"0": "00000000", "1767225600": "6955b900" /* 2026-01-01 */, "2026-01-01": "6955b900", "2026-01-01T01:00:00+01:00": "6955b900",
		"-1": "", "4294967296": "", "1969-12-31": "", "2200-01-01": "", "tomorrow": "", "": "",
	} {
		got, err := encodeDate(text)
		if hex.EncodeToString(got) != want || (err == nil) != (want != "") {
			t.Errorf("%q: %x, %v, want %s", text, got, err, want)
		}
	}
}

// Section 10: client, group, profile; the later instead of the earlier.
func TestReplyPrecedence(t *testing.T) {
	parse := func(pairs ...string) (all []Attribute) {
		for i := 0; i < len(pairs); i += 2 {
			a, err := ParseReply(pairs[i], pairs[i+1])
			if err != nil {
				t.Fatal(err)
			}
			all = append(all, a)
		}
		return all
	}
	c := testClient()
	c.Reply = parse("Tunnel-Private-Group-Id:1", "1", "Tunnel-Private-Group-Id:2", "2", "Class", "client", "Cisco-AVPair", "a", "Cisco-AVPair", "b")
	config := testConfig(c)
	config.Replies.Groups = map[string][]Attribute{
		"alpha": parse("Filter-Id", "alpha", "Reply-Message", "alpha"),
		"beta":  parse("Filter-Id", "beta", "Tunnel-Private-Group-Id:1", "beta"),
		"gamma": parse("Filter-Id", "gamma"),
	}
	config.Replies.Profiles = map[string][]Attribute{
		"vpn": parse("Tunnel-Private-Group-Id:1", "vpn", "Class", "one", "Class", "two"), "": parse("Filter-Id", "nobody"),
	}
	for name, tt := range map[string]struct {
		grant core.Grant
		want  []string
	}{
		"client alone": {core.Grant{Session: []byte("s")}, []string{"\x19\x03s", "Q\x04\x011", "Q\x04\x022", "\x19\x08client", avpair("a"), avpair("b")}},
		"groups by name": {core.Grant{Groups: []string{"beta", "alpha", "beta", "delta"}},
			[]string{"Q\x04\x022", "\x19\x08client", avpair("a"), avpair("b"), "\x12\x07alpha", "\x0b\x06beta", "Q\x07\x01beta"}},
		"profile last": {core.Grant{Groups: []string{"beta"}, Profile: "vpn", Session: []byte("s")},
			[]string{"\x19\x03s", "Q\x04\x022", avpair("a"), avpair("b"), "\x0b\x06beta", "Q\x06\x01vpn", "\x19\x05one", "\x19\x05two"}},
		"app password last": {core.Grant{Groups: []string{"beta"}, Profile: "vpn", Reply: []core.Reply{{Name: "tunnel-private-group-id:1", Value: "own"}, {Name: "Class", Value: "own"}}},
			[]string{"Q\x04\x022", avpair("a"), avpair("b"), "\x0b\x06beta", "Q\x06\x01own", "\x19\x05own"}},
		"unknown profile": {core.Grant{Profile: "tv"}, []string{"Q\x04\x011", "Q\x04\x022", "\x19\x08client", avpair("a"), avpair("b")}},
	} {
		t.Run(name, func(t *testing.T) {
			engine := &fakeEngine{verify: func(context.Context, core.Attempt) (core.Grant, error) { return tt.grant, nil }}
			inBubble(t, config, engine, func(h *harness) {
				request := papRequest(1, testName, testPassword)
				h.ask(request)
				if got := attributesOf(h.reply(request, codeAccessAccept))[1:]; !slices.Equal(got, tt.want) {
					t.Errorf("attributes %q, want %q", got, tt.want)
				}
			})
		})
	}
}

// An attribute of an app password that no dictionary knows any more, or whose
// value does not fit any more, is no Access-Accept without it: another server
// may know it.
func TestReplyUnknownIsSilence(t *testing.T) {
	for _, reply := range []core.Reply{{Name: "Acme-VLAN", Value: "42"}, {Name: "Service-Type", Value: "Acme"}, {Name: "State", Value: "x"}, {}} {
		engine := &fakeEngine{verify: func(context.Context, core.Attempt) (core.Grant, error) {
			return core.Grant{AppPassword: core.Ref{ID: "0123", Name: "TV"}, Reply: []core.Reply{{Name: "Class", Value: "known"}, reply}}, nil
		}}
		inBubble(t, testConfig(), engine, func(h *harness) {
			w := h.watch(Filter{})
			defer w.Close()
			h.ask(papRequest(1, testName, testPassword))
			h.silent(time.Minute, dropReplyUnknown)
			if got := h.saw(w); !strings.Contains(got.Why, "no dictionary knows any more") {
				t.Errorf("%+v", got)
			}
			if !strings.Contains(h.log.String(), "app password 0123") {
				t.Errorf("the log does not name it: %s", h.log.String())
			}
		})
	}
}

func avpair(value string) string { return string(vsa(9, 1, value)) }

func FuzzParseReply(f *testing.F) {
	f.Add("Class", "staff")
	f.Add("Tunnel-Private-Group-Id:1", "42")
	f.Add("Cisco-AVPair", strings.Repeat("x", 247))
	f.Add("Framed-IPv6-Prefix", "2001:db8::/56")
	f.Add("Framed-Interface-Id", "0:0:0:1")
	f.Add("Tunnel-Type", "VLAN")
	f.Add("Message-Authenticator", "0x00")
	f.Fuzz(func(t *testing.T, name, value string) {
		a, err := ParseReply(name, value)
		if err != nil {
			if len(err.Error()) > 2000 || strings.ContainsAny(err.Error(), "\x00\n\x1b") {
				t.Errorf("error %q", err)
			}
			return
		}
		if len(a.wire) < 3 || len(a.wire) > 255 || int(a.wire[1]) != len(a.wire) {
			t.Fatalf("attribute %x", a.wire)
		}
		switch a.wire[0] {
		case attrMessageAuthenticator, attrProxyState, attrEAPMessage, attrState, attrUserPassword, attrUserName:
			t.Fatalf("attribute %d is set by hand", a.wire[0])
		}
		again, err := ParseReply(a.Name(), value) // the name it gives is one it takes
		if err != nil || string(again.wire) != string(a.wire) {
			t.Errorf("%s: %v", a.Name(), err)
		}
	})
}
