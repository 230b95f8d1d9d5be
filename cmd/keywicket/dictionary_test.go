package main_test

import (
	"strings"
	"testing"
)

// The administrator's own attributes go into answers, by reload too; and what
// does not fit is a fault with its place.
func TestOwnDictionary(t *testing.T) {
	needRadclient(t)
	s := newSite(t)
	s.edit("[radius]\n", "[radius]\ndictionary = [\"dictionary.acme\"]\n")
	s.add("[profile.default]", `reply = { "Acme-Level" = "high", "Tunnel-Private-Group-Id:1" = "42", "Cisco-AVPair" = ["a=1", "b=2"] }`)
	s.refused(2, "keywicket.toml:", "", "config", "check", s.config()) // it is not there yet
	const head = "VENDOR Acme 32473\nBEGIN-VENDOR Acme\nATTRIBUTE Acme-Level 2 integer\n"
	writeFile(t, s.path("dictionary.acme"), head+"VALUE Acme-Level low 1\nEND-VENDOR Acme\n")
	s.refused(2, `profile.default.reply.Acme-Level: Acme-Level: "high" is neither a number that fits nor one of low`, "", "config", "check", s.config())
	writeFile(t, s.path("dictionary.acme"), head+"VALUE Acme-Level high 4294967296\nEND-VENDOR Acme\n")
	s.refused(2, "dictionary.acme:4: 4294967296 does not fit; values of Acme-Level go up to 4294967295", "", "config", "check", s.config())
	writeFile(t, s.path("dictionary.acme"), head+"VALUE Acme-Level high 7\nSTRUCT Acme\nEND-VENDOR Acme\n")
	s.refused(2, `dictionary.acme:5: "STRUCT" begins no line of a dictionary`, "", "serve", "--config", s.config())
	writeFile(t, s.path("dictionary.acme"), head+"VALUE Acme-Level high 7\nEND-VENDOR Acme\n")
	s.start()
	o := s.enroll(alain)
	got := s.expect(accept, alain, o.first.Password)
	for _, want := range []string{"Tunnel-Private-Group-Id:1 = \"42\"", "Cisco-AVPair = \"a=1\"", "Cisco-AVPair = \"b=2\"", "Attr-26.32473.2 = 0x00000007"} {
		if !got.has(want) {
			t.Errorf("want %s in\n%s", want, got.text)
		}
	}
	writeFile(t, s.path("dictionary.acme"), strings.Replace(head, "2 integer", "3 byte", 1)+"VALUE Acme-Level high 7\nEND-VENDOR Acme\n")
	s.reload()
	if got := s.expect(accept, alain, o.first.Password); !got.has("Attr-26.32473.3 = 0x07") {
		t.Errorf("after the reload\n%s", got.text)
	}
}
