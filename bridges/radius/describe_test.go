package radius

import (
	"fmt"
	"slices"
	"strings"
	"testing"
)

// What ParseReply makes, Describe tells with the same words.
func TestDescribe(t *testing.T) {
	for name, value := range map[string]string{
		"Filter-Id": "admins", "Session-Timeout": "28800", "Tunnel-Type": "VLAN", "Tunnel-Type:1": "VLAN", "Tunnel-Private-Group-Id:2": "42",
		"Framed-IP-Address": "192.0.2.1", "Cisco-AVPair": "shell:priv-lvl=15", "MS-MPPE-Encryption-Policy": "Encryption-Required", "Class": "0x00ff",
	} {
		a, err := ParseReply(name, value)
		if err != nil {
			t.Fatal(err)
		}
		got := Describe(a.wire)
		if len(got) != 1 || got[0][0] != name || strings.Trim(got[0][1], `"`) != value {
			t.Errorf("%s = %s is told as %q", name, value, got)
		}
	}
	for want, attribute := range map[string][]byte{
		`[["Attribute" "0x"]]`:                                      nil,
		`[["Attribute" "0x01"]]`:                                    {1},
		`[["Attribute 250" "0x6162"]]`:                              attr(250, "ab"),
		`[["Vendor-Specific" "0x0000013719ff"]]`:                    attr(26, "\x00\x00\x01\x37\x19\xff"),
		`[["Attribute 26" "0x"]]`:                                   attr(26, ""),
		`[["Attribute 1 of vendor 99999" "0x78"]]`:                  vsa(99999, 1, "x"),
		`[["MS-MPPE-Send-Key" "(encrypted)"]]`:                      vsa(311, 16, "key"),
		`[["MS-CHAP-Challenge" "0x61"] ["MS-CHAP2-Response" "0x"]]`: vsaOf(311, append(attr(11, "a"), attr(25, "")...)),
		`[["MS-CHAP-Error" "0xff \"E=691 R=0\""]]`:                  vsa(311, 2, "\xffE=691 R=0"),
		`[["MS-CHAP2-Success" "0x"]]`:                               vsa(311, 26, ""),
		`[["Filter-Id" "0xff"]]`:                                    attr(11, "\xff"),
		`[["Filter-Id" "\"\\x1b[31m\\u202e\""]]`:                    attr(11, "\x1b[31m\u202e"),
		`[["Session-Timeout" "0x01"]]`:                              attr(27, "\x01"),
		`[["Tunnel-Type" "0x"]]`:                                    attr(64, ""),
		`[["Acct-Status-Type" "Interim-Update"]]`:                   attr(40, number(3)),
		`[["NAS-Port-Type" "Wireless-802.11"]]`:                     attr(61, number(19)),
	} {
		if got := fmt.Sprintf("%q", Describe(attribute)); got != want {
			t.Errorf("%x is told as %s, want %s", attribute, got, want)
		}
	}
}

func TestCodeText(t *testing.T) {
	known := []byte{1, 2, 3, 4, 5, 11, 12, 40, 41, 42} // RFC 2865, section 3; RFC 5176, section 2.3
	for code := range byte(60) {
		if text := codeText(code); slices.Contains(known, code) == strings.HasPrefix(text, "Code ") {
			t.Errorf("%d is called %s", code, text)
		}
	}
}

func FuzzDescribe(f *testing.F) {
	f.Add(attr(11, "admins"))
	f.Add(vsa(311, 16, "key"))
	f.Add([]byte{26, 8, 0, 0, 1, 0x37, 1, 9})
	f.Add([]byte{64, 6, 1, 0, 0, 13})
	f.Fuzz(func(t *testing.T, attribute []byte) {
		for _, told := range Describe(attribute) {
			if strings.ContainsAny(told[0]+told[1], "\x00\n\r\x1b\u202e") {
				t.Errorf("%q", told)
			}
		}
	})
}
