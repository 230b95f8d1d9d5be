package radius

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strings"
	"testing"
	"testing/fstest"
)

// ParseReply and Describe are those of the built-in dictionary.
func ParseReply(name, value string) (Attribute, error) {
	return BuiltinDictionary().ParseReply(name, value)
}
func Describe(attribute []byte) [][2]string { return BuiltinDictionary().Describe(attribute) }

// readOnly reads dictionaries alone, without the built-in one.
func readOnly(read func(string) ([]byte, error), files ...string) (*Dictionary, []DictionaryFault) {
	p := newDictionaryParser(read)
	for _, path := range files {
		p.file(path, origin{})
	}
	return p.finish()
}

func textFiles(files map[string]string) func(string) ([]byte, error) {
	all := fstest.MapFS{}
	for name, text := range files {
		all[strings.TrimPrefix(name, "/")] = &fstest.MapFile{Data: []byte(text)}
	}
	return func(path string) ([]byte, error) { return fs.ReadFile(all, strings.TrimPrefix(path, "/")) }
}

const freeradius = "/usr/share/freeradius/dictionary"

// ubiquiti has a dictionary in FreeRADIUS 4 alone.
const ubiquiti = 41112

// What is built in is what FreeRADIUS has too: names, numbers, types and
// values, read where its dictionaries are installed; and all of these can be
// read together with ours.
func TestDictionaryAgainstFreeRADIUS(t *testing.T) {
	if _, err := os.Stat(freeradius); err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatal("apt-get install freeradius-common")
		}
		t.Skip("apt-get install freeradius-common")
	}
	theirs, faults := readOnly(os.ReadFile, freeradius, freeradius+".cisco.vpn3000")
	if len(faults) > 0 || len(theirs.entries) < 7000 {
		t.Fatalf("%d attributes, faults: %v", len(theirs.entries), faults)
	}
	// Where they and the RFC differ, the RFC is right; and what it calls them.
	alone := []string{"Service-Type Outbound", "Service-Type Administrative", "Service-Type NAS-Prompt", "Service-Type Login", "Service-Type Framed",
		"Service-Type Callback-Login", "Service-Type Callback-Framed", "Framed-Routing Send", "Framed-Routing Send-and-Listen"}
	differ := map[string]string{
		"MS-MPPE-Encryption-Types RC4-40bit-Allowed":  "RFC 2548, section 2.4.5: bit L is 2",
		"MS-MPPE-Encryption-Types RC4-128bit-Allowed": "RFC 2548, section 2.4.5: bit S is 4",
	}
	vendors := map[uint32]int{}
	for _, ours := range BuiltinDictionary().entries {
		vendors[ours.vendor.number]++
		their, ok := theirs.find(ours.name)
		if ours.vendor.number == ubiquiti && !ok {
			continue // this FreeRADIUS is older than its names
		}
		if !ok {
			t.Errorf("%s (%v): FreeRADIUS has no such attribute", ours.name, ours.at)
			continue
		}
		if ours.name != their.name || ours.vendor != their.vendor || ours.number != their.number || ours.kind != their.kind || ours.tagged != their.tagged || ours.encrypt != their.encrypt || ours.size != 0 && their.size != 0 && ours.size != their.size {
			t.Errorf("ours  %+v\ntheir %+v", ours, their)
		}
		values := map[string]uint64{}
		for _, v := range their.values {
			values[strings.ToLower(v.name)] = v.number
		}
		for _, v := range ours.values {
			n, ok := values[strings.ToLower(v.name)]
			if slices.Contains(alone, ours.name+" "+v.name) && !ok {
				continue
			}
			if _, meant := differ[ours.name+" "+v.name]; meant == (ok && n == v.number) {
				t.Errorf("%s %s is %d here and %d (%v) there", ours.name, v.name, v.number, n, ok)
			}
		}
	}
	for _, vendor := range []uint32{0, 9, 311, 2636, 3076, 12356, 14122, 14823, 14988, 25053, 25461, ubiquiti} {
		if vendors[vendor] < 5 {
			t.Errorf("vendor %d has %d attributes", vendor, vendors[vendor])
		}
	}
	// An administrator can name the whole of it, and the RFC stays right.
	both, faults := NewDictionary([]string{freeradius}, os.ReadFile)
	if len(faults) > 0 {
		t.Errorf("together: %v", faults)
	}
	if _, err := both.ParseReply("Ascend-Idle-Limit", "5"); err != nil {
		t.Error(err)
	}
	if a, err := both.ParseReply("MS-MPPE-Encryption-Types", "RC4-128bit-Allowed"); err != nil || a.wire[len(a.wire)-1] != 4 {
		t.Errorf("RC4-128bit-Allowed is %x, %v", a.wire, err)
	}
}

// Ubiquiti's own attributes are of its number, and of eight octets; what would have to
// be encrypted is refused.
func TestUbiquiti(t *testing.T) {
	for name, number := range map[string]byte{"UBNT-Data-Rate-DL": 1, "UBNT-Data-Rate-DL-Burst": 2, "UBNT-Data-Rate-UL": 3, "UBNT-Data-Rate-UL-Burst": 4} {
		a, err := ParseReply(name, "50000000")
		want := vsa(ubiquiti, number, "\x00\x00\x00\x00\x02\xfa\xf0\x80")
		if err != nil || string(a.wire) != string(want) {
			t.Errorf("%s: %x, %v; want %x", name, a.wire, err, want)
		}
	}
	for _, name := range []string{"UBNT-Station-Keyid", "UBNT-Tunnel-Password-Entry"} {
		if _, err := ParseReply(name, "x"); err == nil {
			t.Errorf("%s can be set", name)
		}
	}
}

const acme = `
# what an administrator writes
VENDOR		Acme		32473	# the number for examples
BEGIN-VENDOR	Acme
ATTRIBUTE	Acme-Role	1	string
ATTRIBUTE	Acme-Level	2	byte
ATTRIBUTE	Acme-Port	3	short
ATTRIBUTE	Acme-Offset	4	signed
ATTRIBUTE	Acme-Quota	5	integer64
ATTRIBUTE	Acme-MAC	6	ether
ATTRIBUTE	Acme-Net	7	ipv4prefix
ATTRIBUTE	Acme-Host	8	combo-ip
ATTRIBUTE	Acme-VLAN	0x10	string	has_tag
ATTRIBUTE	Acme-Key	17	string	encrypt=2
ATTRIBUTE	Acme-Box	18	tlv
BEGIN-TLV	Acme-Box
ATTRIBUTE	Acme-Inner	1	string
END-TLV		Acme-Box
ATTRIBUTE	Acme-Dotted	18.2	string
VALUE	Acme-Level	high	0x0a
VALUE	Acme-Later	soon	1
ATTRIBUTE	Acme-Later	19	integer
END-VENDOR	Acme
VENDOR		Wide		32474	format=2,2
BEGIN-VENDOR	Wide
ATTRIBUTE	Wide-Role	258	string
END-VENDOR	Wide
VENDOR		Bare		32475	format=4,0
BEGIN-VENDOR	Bare
ATTRIBUTE	Bare-Role	0x01020304	string
END-VENDOR	Bare
VENDOR		Parts		32476	format=1,1,c
BEGIN-VENDOR	Parts
ATTRIBUTE	Parts-Role	1	string
END-VENDOR	Parts
ATTRIBUTE	Server-Only	1000	string
ATTRIBUTE	Filter-Id	11	string
$INCLUDE	more
`

// The administrator's own, in the format of FreeRADIUS.
func TestOwnDictionary(t *testing.T) {
	read := textFiles(map[string]string{"/etc/kw/dictionary.acme": acme, "/etc/kw/more": "ATTRIBUTE\tAcme-More\t250\tstring\n"})
	d, faults := NewDictionary([]string{"/etc/kw/dictionary.acme"}, read)
	if len(faults) > 0 {
		t.Fatal(faults)
	}
	for _, tt := range []struct{ name, value, want string }{
		{"acme-role", "admin", "1a0d00007ed9" + "0107" + fmt.Sprintf("%x", "admin")},
		{"Acme-Level", "HIGH", "1a0900007ed9" + "02030a"},
		{"Acme-Level", "255", "1a0900007ed9" + "0203ff"},
		{"Acme-Port", "65535", "1a0a00007ed9" + "0304ffff"},
		{"Acme-Offset", "-1", "1a0c00007ed9" + "0406ffffffff"},
		{"Acme-Quota", "4294967296", "1a1000007ed9" + "050a0000000100000000"},
		{"Acme-MAC", "00:11:22:33:44:55", "1a0e00007ed9" + "0608001122334455"},
		{"Acme-Net", "192.0.2.0/24", "1a0e00007ed9" + "07080018c0000200"},
		{"Acme-Host", "192.0.2.1", "1a0c00007ed9" + "0806c0000201"},
		{"Acme-Host", "2001:db8::1", "1a1800007ed9" + "081220010db8000000000000000000000001"},
		{"Acme-VLAN:2", "42", "1a0b00007ed9" + "1005023432"},
		{"Acme-Later", "soon", "1a0c00007ed9" + "130600000001"},
		{"Wide-Role", "a", "1a0b00007eda" + "0102000561"},
		{"Bare-Role", "a", "1a0b00007edb" + "0102030461"},
		{"Acme-More", "x", "fa0378"},
		{"Filter-Id", "x", "0b0378"},
		{"Wide-Role", strings.Repeat("x", 246), "!at most 245"},
		{"Bare-Role", strings.Repeat("x", 246), "!at most 245"},
		{"Acme-Level", "256", "!neither a number that fits nor one of high"},
		{"Acme-Port", "65536", "!no number from 0 to 65535"},
		{"Acme-Port", "-1", "!no number"},
		{"Acme-Offset", "2147483648", "!no number from -2147483648"},
		{"Acme-MAC", "00:11", "!no MAC address"},
		{"Acme-Net", "192.0.2.1/24", "!bits behind"},
		{"Acme-Host", "acme", "!no IP address"},
		{"Acme-Key", "x", "!encrypted"},
		{"Acme-Box", "x", "!type tlv cannot be set (/etc/kw/dictionary.acme:15)"},
		{"Acme-Inner", "x", "!inside another attribute (/etc/kw/dictionary.acme:17)"},
		{"Acme-Dotted", "x", "!inside another attribute"},
		{"Parts-Role", "x", "!a way of its own"},
		{"Server-Only", "x", "!above 255"},
		{"Acme-Rol", "x", "!is Acme-Role meant?"},
	} {
		a, err := d.ParseReply(tt.name, tt.value)
		words, fails := strings.CutPrefix(tt.want, "!")
		switch {
		case fails && (err == nil || !strings.Contains(err.Error(), words)):
			t.Errorf("%s = %q: error %v, want %q", tt.name, tt.value, err, words)
		case !fails && (err != nil || fmt.Sprintf("%x", a.wire) != tt.want):
			t.Errorf("%s = %q: %x, %v, want %s", tt.name, tt.value, a.wire, err, tt.want)
		}
	}
	for want, attribute := range map[string][]byte{
		`[["Acme-Role" "\"admin\""]]`: vsa(32473, 1, "admin"), `[["Acme-Level" "high"]]`: vsa(32473, 2, "\x0a"), `[["Acme-Offset" "-1"]]`: vsa(32473, 4, "\xff\xff\xff\xff"),
		`[["Acme-Key" "(encrypted)"]]`: vsa(32473, 17, "x"), `[["Acme-MAC" "00:11:22:33:44:55"]]`: vsa(32473, 6, "\x00\x11\x22\x33\x44\x55"),
	} {
		if got := fmt.Sprintf("%q", d.Describe(attribute)); got != want {
			t.Errorf("%s, want %s", got, want)
		}
	}
}

// Whatever a dictionary has wrong is told with file and line; nothing is passed
// over in silence.
func TestDictionaryFaults(t *testing.T) {
	const vendor = "VENDOR V 9999\nBEGIN-VENDOR V\n"
	for want, text := range map[string]string{
		"/d:2: the attribute \"a\" is another one at /d:1":                                     "ATTRIBUTE A 250 string\nATTRIBUTE a 251 string",
		"/d:1: the attribute \"filter-id\" is another one at dictionary.rfc:":                  "ATTRIBUTE filter-id 12 string",
		"/d:1: 0 is no number of an attribute":                                                 "ATTRIBUTE A 0 string",
		"/d:3: \"256\" is no number of an attribute, up to 255":                                vendor + "ATTRIBUTE A 256 string\nEND-VENDOR V",
		"/d:1: \"x1\" is no number of an attribute":                                            "ATTRIBUTE A x1 string",
		"/d:1: \"1..2\" is no number of an attribute":                                          "ATTRIBUTE A 1..2 string",
		"/d:1: \"strin\" is no type":                                                           "ATTRIBUTE A 250 strin",
		"/d:1: \"octets[0]\" is no type":                                                       "ATTRIBUTE A 250 octets[0]",
		"/d:1: \"octets[16\" is no type":                                                       "ATTRIBUTE A 250 octets[16",
		"/d:1: \"has_tags\" is not known behind the type":                                      "ATTRIBUTE A 250 string has_tags",
		"/d:1: \"encrypt=4\" is not known behind the type":                                     "ATTRIBUTE A 250 string encrypt=4",
		"/d:1: \"Acme\" is not known behind the type":                                          "ATTRIBUTE A 250 string Acme",
		"/d:1: has_tag is for string":                                                          "ATTRIBUTE A 250 ipaddr has_tag",
		"/d:1: \"A=\" is no name of an attribute":                                              "ATTRIBUTE A= 250 string",
		"/d:1: ATTRIBUTE has 2 words after it; write it as ATTRIBUTE NAME NUMBER TYPE [FLAGS]": "ATTRIBUTE A 1",
		"/d:1: \"ATTRIBUT\" begins no line":                                                    "ATTRIBUT A 1 string",
		"/d:1: \"STRUCT\" begins no line":                                                      "STRUCT A 1",
		"/d:1: no dictionary has the attribute \"Nobody\"":                                     "VALUE Nobody a 1",
		"/d:1: Filter-Id has no numbers that could have names":                                 "VALUE Filter-Id a 1",
		"/d:2: 256 does not fit; values of A go up to 255":                                     "ATTRIBUTE A 250 byte\nVALUE A big 256",
		"/d:1: 4294967296 does not fit; values of Service-Type":                                "VALUE Service-Type big 4294967296",
		"/d:1: \"1x\" is no number":                                                            "VALUE Service-Type odd 1x",
		"/d:1: the value \"RC4-40bit-Allowed\" of MS-MPPE-Encryption-Types is 2 already":       "VALUE MS-MPPE-Encryption-Types RC4-40bit-Allowed 3",
		"/d:1: the value \"login\" of Service-Type is 1 already":                               "VALUE Service-Type login 2",
		"/d:1: \"0\" is no number of a vendor":                                                 "VENDOR V 0",
		"/d:1: \"16777216\" is no number of a vendor":                                          "VENDOR V 16777216",
		"/d:1: \"format=3,1\" is no format of a vendor":                                        "VENDOR V 9999 format=3,1",
		"/d:1: \"format=1\" is no format of a vendor":                                          "VENDOR V 9999 format=1",
		"/d:1: the vendor \"Cisco\" is another one at dictionary.vendors:":                     "VENDOR Cisco 10",
		"/d:1: no VENDOR \"V\" stands before this":                                             "BEGIN-VENDOR V",
		"/d:3: BEGIN-VENDOR stands before the END-VENDOR of \"V\"":                             vendor + "BEGIN-VENDOR V\nEND-VENDOR V",
		"/d:2: \"parent=1\" is not known after BEGIN-VENDOR":                                   "VENDOR V 9999\nBEGIN-VENDOR V parent=1\nEND-VENDOR V",
		"/d:1: END-VENDOR \"V\" ends no BEGIN-VENDOR":                                          "END-VENDOR V",
		"/d:2: BEGIN-VENDOR \"V\" has no END-VENDOR in this file":                              vendor,
		"/d:1: BEGIN-TLV \"T\" has no END-TLV in this file":                                    "BEGIN-TLV T",
		"/d:1: END-TLV \"T\" ends no BEGIN-TLV":                                                "END-TLV T",
		"/d:3: $INCLUDE stands between":                                                        vendor + "$INCLUDE e\nEND-VENDOR V",
		"/d:1: /d includes itself":                                                             "$INCLUDE d",
		"/d:1: open nowhere: file does not exist":                                              "$INCLUDE nowhere",
		"/e:1: \"WRONG\" begins no line":                                                       "$INCLUDE e",
		"/d:1: \"-----BEGIN\" begins no line":                                                  "-----BEGIN RSA PRIVATE KEY-----",
	} {
		_, faults := NewDictionary([]string{"/d"}, textFiles(map[string]string{"/d": text, "/e": "WRONG"}))
		if len(faults) != 1 || !strings.HasPrefix(faults[0].Error(), want) {
			t.Errorf("%q:\n got %v\nwant %s", text, faults, want)
		}
	}
	_, faults := NewDictionary([]string{"/absent"}, func(string) ([]byte, error) { return nil, errors.New("cannot be read") })
	if len(faults) != 1 || faults[0].Line != 0 || faults[0].Text != "cannot be read" {
		t.Errorf("a file that is not there: %+v", faults)
	}
	if _, faults := NewDictionary([]string{"/d"}, textFiles(map[string]string{"/d": strings.Repeat("WRONG\n", 10000)})); len(faults) != maxDictionaryFaults {
		t.Errorf("%d faults", len(faults))
	}
	deep := map[string]string{}
	for i := range 30 {
		deep[fmt.Sprintf("/d%d", i)] = fmt.Sprintf("$INCLUDE d%d\n", i+1)
	}
	if _, faults := NewDictionary([]string{"/d0"}, textFiles(deep)); len(faults) != 1 || !strings.Contains(faults[0].Text, "too deeply") {
		t.Errorf("30 files in each other: %v", faults)
	}
}

func FuzzDictionary(f *testing.F) {
	f.Add(acme)
	f.Add("VALUE Service-Type odd 1x\nATTRIBUTE A 250 octets[16] has_tag,encrypt=2")
	f.Add("BEGIN-TLV T\nEND-VENDOR V\n$INCLUDE d")
	f.Fuzz(func(t *testing.T, text string) {
		d, faults := readOnly(textFiles(map[string]string{"/d": text}), "/d")
		for _, fault := range faults {
			if fault.Line < 0 || len(fault.Error()) > 3000 || strings.ContainsAny(fault.Error(), "\x00\n\x1b") {
				t.Errorf("%q", fault)
			}
		}
		for _, e := range d.entries {
			for _, value := range []string{"1", "a", "192.0.2.1", "00:11:22:33:44:55"} {
				a, err := d.ParseReply(e.name, value)
				if err == nil && (len(a.wire) < 3 || len(a.wire) > 255 || int(a.wire[1]) != len(a.wire)) {
					t.Fatalf("%s = %s: %x", e.name, value, a.wire)
				}
			}
		}
	})
}
