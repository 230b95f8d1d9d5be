package main_test

import (
	"strings"
	"testing"
)

// "bench radius" ends with what it found: 0 measured, 1 a reply was wrong, also
// where none was right, 2 flags that make no load, 3 no reply.
func TestBenchRadiusEnds(t *testing.T) {
	s := startSite(t)
	o := s.enroll(alain)
	bench := func(password string, args ...string) result {
		return s.run(password+"\n", append([]string{"bench", "radius", "--secret-file", s.path("vpn1.secret"), "--account", alain, "--warm-up", "0s", "--in-flight", "2"}, args...)...)
	}
	for _, tt := range []struct {
		password string
		args     []string
		code     int
		err      string
	}{
		{o.first.Password, []string{"--server", s.radius, "--wrong", "0", "--duration", "1s"}, 0, ""},
		{"kfmwtbrqhjaxpdnesgcy", []string{"--server", s.radius, "--wrong", "0", "--duration", "1s"}, 1, "replies were wrong"},
		{o.first.Password, []string{"--server", s.radius, "--wrong", "101"}, 2, "--wrong 101 is no percentage"},
		{o.first.Password, []string{"--server", s.radius, "--duration", "0s"}, 2, "a bound is negative or zero"},
		{o.first.Password, []string{"--server", freePort(t), "--duration", "100ms", "--repeat", "10ms", "--tries", "1"}, 3, "no request was answered"},
	} {
		if r := bench(tt.password, tt.args...); r.code != tt.code || !strings.Contains(r.err, tt.err) {
			t.Errorf("%q: want %d and %q: %s", tt.args, tt.code, tt.err, r)
		}
	}
}
