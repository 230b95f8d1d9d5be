package main_test

import (
	"fmt"
	"net/netip"
	"os"
	"strings"
	"testing"
)

// A daemon has four places for goroutines at least, and so four readers of an
// address; what takes long has one or two of them, and the others read.
func TestReadersOfAnAddress(t *testing.T) {
	s := startSite(t)
	address := netip.MustParseAddrPort(s.radius)
	all, err := os.ReadFile("/proc/net/udp")
	must(t, err)
	octets := address.Addr().As4()
	local := fmt.Sprintf(" %02X%02X%02X%02X:%04X ", octets[3], octets[2], octets[1], octets[0], address.Port())
	if n := strings.Count(string(all), local); n < 4 {
		t.Errorf("%d readers, want 4 or more", n)
	}
}
