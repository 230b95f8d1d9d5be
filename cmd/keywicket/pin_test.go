package main_test

import (
	"strings"
	"testing"
)

// An app password with a pin is tied to the first device that uses it, however
// that one is spelled; another is refused until repin.
func TestPin(t *testing.T) {
	needRadclient(t)
	s := startSite(t, "[profile.console]", `pin = "device"`)
	s.enroll(alain)
	box := s.create(alain, "Xbox", "--profile", "console")
	station := func(text string) string { return `Calling-Station-Id = "` + text + `"` }
	last := func(reason string) {
		t.Helper()
		if got := s.why(alain)[0].Reason; got != reason {
			t.Errorf("reason %q, want %q", got, reason)
		}
	}
	s.expect(reject, alain, box.Password) // from no device that could be told
	last("pin-mismatch")
	s.expect(accept, alain, box.Password, station("00-11-22-AA-BB-CC"))
	for _, same := range []string{"00:11:22:aa:bb:cc", "0011.22AA.BBCC", "001122aabbcc", "00-11-22-AA-BB-CC:Lounge"} {
		s.expect(accept, alain, box.Password, station(same))
	}
	for _, other := range []string{"00-11-22-AA-BB-CD", "00-11-22-AA-BB", "192.0.2.7"} {
		s.expect(reject, alain, box.Password, station(other))
		last("pin-mismatch")
	}
	if out := s.ok("", "why", alain); strings.Count(out, "use app-password repin") != 3 || strings.Count(out, "does not say which device it is") != 1 {
		t.Error(out) // which would not help the one without a device
	}
	s.expect(reject, alain, box.Password)
	if r := s.run(box.Password+"\n", "verify", alain, "--service", "radius/vpn1"); r.code != 1 || !strings.Contains(r.out, "does not say which device it is") {
		t.Errorf("verify without a device: %s", r)
	}
	s.restart()
	s.expect(reject, alain, box.Password, station("00-11-22-AA-BB-CD"))
	s.ok("", "app-password", "repin", alain, "Xbox")
	s.expect(accept, alain, box.Password, station("192.0.2.7[4500]"))
	s.expect(accept, alain, box.Password, station("192.0.2.7"))
	s.expect(reject, alain, box.Password, station("00-11-22-AA-BB-CC"))
	s.expect(accept, alain, s.create(alain, "Laptop").Password) // no pin: any device
	s.ok("", "app-password", "repin", alain, "Xbox")
	s.ok(box.Password+"\n", "verify", alain, "--service", "radius/vpn1", "--device", "00-11-22-AA-BB-CC") // pins as the device itself would
	s.expect(accept, alain, box.Password, station("00:11:22:aa:bb:cc"))
	until(t, "the audit has three pins and two that were taken away", func() bool {
		events := s.ok("", "audit", "tail", "--config", s.config())
		return strings.Count(events, "app-password-pinned") == 3 && strings.Count(events, "app-password-repinned") == 2
	})
}
