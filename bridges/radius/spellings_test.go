package radius

import (
	"fmt"
	"strings"
	"testing"
)

// C3: whatever devices call themselves, what is kept of it is bounded, and is right.
func TestSpellingsAreBounded(t *testing.T) {
	for name, long := range map[string]string{"long": strings.Repeat("\xff", 240), "short": ""} {
		var k spellings
		var p packet
		most := 0
		for n := range 10_000 {
			station := fmt.Sprintf("%s%06d", long, n)
			if got := k.device([]byte(station)); got != device([]byte(station)) {
				t.Fatalf("%s: %q becomes %q", name, station, got)
			}
			if why := p.parse(rawPacket(1, 1, testAuthenticator(1), attr(attrNASPortID, station))); why != dropNone {
				t.Fatal(why)
			}
			if got := k.port(&p); got != portID([]byte(station)) {
				t.Fatalf("%s: the port %q becomes %q", name, station, got)
			}
			if n%500 == 0 {
				octets := 0
				for _, s := range []spelling{k.devices, k.portIDs, k.ports} {
					for raw, text := range s.known {
						octets += len(raw) + len(text)
					}
				}
				most = max(most, octets)
			}
		}
		if most > 8<<20 || len(k.devices.known) == 0 {
			t.Errorf("%s: %d octets are kept", name, most)
		}
	}
}
