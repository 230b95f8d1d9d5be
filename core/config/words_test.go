package config

import (
	"testing"
	"time"
)

func TestDuration(t *testing.T) {
	for text, want := range map[string]time.Duration{
		"90m": 90 * time.Minute, "365d": 365 * day, "1w": week, "1w2d3h4m5s": 9*day + 3*time.Hour + 4*time.Minute + 5*time.Second,
		"1.5d": 36 * time.Hour, "0s": 0, "0d": 0, "250ms": 250 * time.Millisecond, "36500d": LongestDuration,
	} {
		if got, err := ParseDuration(text); err != nil || got != want {
			t.Errorf("%q: %v, %v, want %v", text, got, err, want)
		}
	}
	for _, text := range []string{"36501d", "99999999999999999999d", "99999999999999999999h", "9999999999999999999999w", "106751d23h", "36500d1ns", "876001h"} {
		if got, err := ParseDuration(text); err != nil || got <= LongestDuration {
			t.Errorf("%q: %v, %v, want more than the longest", text, got, err)
		}
	}
	for _, text := range []string{"", "5", "d", "-1d", "+1d", "1 d", "1y", "1.d.", "..d", ".", ".h", "1dd", "1D", "0x1d", "1e3d", "infd", "1d-1h", "٣d", "1m2"} {
		if got, err := ParseDuration(text); err == nil {
			t.Errorf("%q: %v, want an error", text, got)
		}
	}
}

func TestNearest(t *testing.T) {
	words := []string{"data_dir", "keyring", "log", "limit", "listen"}
	for word, want := range map[string]string{"data_dri": "data_dir", "key_ring": "keyring", "xyz": "", "lgo": "log", "limits": "limit", "": "", "x": ""} {
		if got := Nearest(word, words); got != want {
			t.Errorf("Nearest(%q) = %q, want %q", word, got, want)
		}
	}
}

func TestNames(t *testing.T) {
	for name, good := range map[string]bool{
		"vpn1": true, "a.b-c_d": true, "": false, "a/b": false, "a*": false, "-a": false, "a b": false, "é": false, "a\n": false,
		"0123456789012345678901234567890123456789012345678901234567890123": true, "01234567890123456789012345678901234567890123456789012345678901234": false,
	} {
		if wrong := checkName(name); (wrong == "") != good {
			t.Errorf("checkName(%q) = %q, want good = %v", name, wrong, good)
		}
	}
	for name, good := range map[string]bool{"Domain Admins": true, "cn=a,dc=b": true, "Größe": true, "": false, " a": false, "a\x00": false, "a\u202e": false} {
		if wrong := checkGroup(name); (wrong == "") != good {
			t.Errorf("checkGroup(%q) = %q, want good = %v", name, wrong, good)
		}
	}
	for pattern, good := range map[string]bool{
		"*": true, "radius/*": true, "radius*": true, "radius/vpn1": true, "*/x": true,
		"": false, "vpn": false, "/": false, "a/": false, "/a": false, "a/b/c": false, "a/b/*": false, "a b*": false, "é*": false,
	} {
		if wrong := checkPattern(pattern); (wrong == "") != good {
			t.Errorf("checkPattern(%q) = %q, want good = %v", pattern, wrong, good)
		}
	}
}
