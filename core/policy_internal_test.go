package core

import (
	"fmt"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/keywicket/keywicket/core/proof"
)

func TestMatches(t *testing.T) {
	for _, tt := range []struct {
		pattern, s string
		want       bool
	}{
		{"*", "", true}, {"*", "radius/vpn1", true}, {"", "", true}, {"", "x", false}, {"x", "", false},
		{"radius/vpn1", "radius/vpn1", true}, {"radius/vpn1", "radius/vpn10", false}, {"radius/vpn1", "xradius/vpn1", false},
		{"radius/vpn*", "radius/vpn", true}, {"radius/vpn*", "radius/vpn12", true}, {"radius/vpn*", "radius/vp", false},
		{"*/vpn1", "radius/vpn1", true}, {"*/vpn1", "/vpn1", true}, {"*/vpn1", "vpn1", false}, {"*/vpn1", "radius/vpn1x", false},
		{"radius/*/1", "radius/vpn/1", true}, {"radius/*/1", "radius//1", true}, {"radius/*/1", "radius/1", false},
		{"a*b*c", "abc", true}, {"a*b*c", "axbxc", true}, {"a*b*c", "acb", false}, {"a*b*c", "abcbc", true}, {"a*b*c", "abcx", false},
		{"ab*ba", "aba", false}, {"ab*ba", "abba", true}, {"**", "x", true}, {"a**a", "aa", true}, {"a**a", "a", false},
		{"radius/vpn?", "radius/vpn1", false}, {"radius/[v]pn", "radius/vpn", false}, {".*", "x", false}, {"*.x", "a.x", true},
		{"RADIUS/*", "radius/x", false}, {"é*", "éa", true},
	} {
		if got := matches(tt.pattern, tt.s); got != tt.want {
			t.Errorf("matches(%q, %q) = %v", tt.pattern, tt.s, got)
		}
	}
	if inScope(nil, "") || inScope(nil, "x") || !inScope([]string{"a", "x"}, "x") {
		t.Error("a scope is not the sum of its patterns")
	}
}

// FuzzMatches holds matches to a regular expression.
func FuzzMatches(f *testing.F) {
	for _, seed := range []string{"radius/vpn*|radius/vpn1", "*|", "a*b*c|abcbc", "ab*ba|aba", "**|x", "a*a*a*a*b|aaaaaaaaaaaaaaa"} {
		pattern, s, _ := strings.Cut(seed, "|")
		f.Add(pattern, s)
	}
	f.Fuzz(func(t *testing.T, pattern, s string) {
		if len(pattern) > 200 || len(s) > 2000 || !isText8(pattern) || !isText8(s) {
			return // a regular expression reads what is no UTF-8 in its own way
		}
		parts := strings.Split(pattern, "*")
		for i := range parts {
			parts[i] = regexp.QuoteMeta(parts[i])
		}
		want := regexp.MustCompile(`(?s)\A` + strings.Join(parts, ".*") + `\z`).MatchString(s)
		if got := matches(pattern, s); got != want {
			t.Errorf("matches(%q, %q) = %v, want %v", pattern, s, got, want)
		}
	})
}

func isText8(s string) bool { return strings.ToValidUTF8(s, "") == s }

// TestValidate: every fault is listed, with the profile that has it.
func TestValidate(t *testing.T) {
	if err := DefaultPolicy().Validate(); err != nil {
		t.Fatal(err)
	}
	err := Policy{
		Limit: 41, MainPassword: "always", OnTwoStepOff: Keep, OnPasswordChange: "burn", UnusedAfter: -1, FirstUseWithin: -time.Hour,
		Profiles: map[string]Profile{
			"vpn":     {Letters: 19, Methods: []proof.Method{"mschap", "pap"}, UnusedAfter: -time.Minute},
			"console": {Letters: 20, Services: []string{"*"}},
		},
	}.Validate()
	if KindOf(err) != KindInvalid {
		t.Fatalf("kind %v (%v), want invalid", KindOf(err), err)
	}
	for _, want := range []string{
		"limit is 41", `"always"`, `"keep"`, `"burn"`, "time of -1ns", "time of -1h0m0s", `no profile "default"`,
		`profile "vpn": 19 letters`, `profile "vpn": it has no service`, `profile "vpn": method "mschap"`, `profile "vpn": method "pap"`,
		`profile "vpn": a time of -1m0s`, `profile "console": it has no service or no method`,
	} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%q is not among the faults:\n%v", want, err)
		}
	}
	if n := strings.Count(err.Error(), "\n") + 1; n != 13 {
		t.Errorf("%d faults, want 13:\n%v", n, err)
	}
	for limit, ok := range map[int]bool{-1: false, 0: false, 1: true, 40: true, 41: false} {
		p := DefaultPolicy()
		p.Limit = limit
		if err := p.Validate(); (err == nil) != ok {
			t.Errorf("a limit of %d: %v", limit, err)
		}
	}
}

// TestClone: a copy shares nothing.
func TestClone(t *testing.T) {
	p := DefaultPolicy()
	p.DenyGroups = []string{"staff"}
	before := fmt.Sprintf("%+v", p)
	c := p.clone()
	c.DenyGroups[0] = "x"
	c.Profiles[DefaultProfile].Services[0] = "x"
	c.Profiles[DefaultProfile].Methods[0] = "x"
	c.Profiles["x"] = Profile{}
	if after := fmt.Sprintf("%+v", p); after != before {
		t.Errorf("a change of the copy made %s of %s", after, before)
	}
}
