package main_test

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"
)

// lines decodes JSON lines.
func (s *site) lines(args ...string) (all []map[string]any) {
	s.t.Helper()
	for text := range strings.Lines(s.ok("", append(args, "--json")...)) {
		var object map[string]any
		if err := json.Unmarshal([]byte(text), &object); err != nil {
			s.t.Fatalf("keywicket %q: %v\n%s", args, err, text)
		}
		all = append(all, object)
	}
	return all
}

// named returns "account name" of each object.
func named(all []map[string]any) (names []string) {
	for _, object := range all {
		names = append(names, fmt.Sprint(object["account"], " ", object["name"]))
	}
	return names
}

// helpDesk makes a site with something for every flag to find.
func helpDesk(t *testing.T) (s *site, o owner, gone issued) {
	t.Helper()
	s = newSite(t, "[profile.console]", `pin = "device"`)
	s.edit("#limit = 40", "limit = 3")
	s.start()
	o = s.enroll(alain)
	s.enroll(beate)
	s.ok("", "user", "add", "nothing@contoso.com")
	gone = s.create(alain, "Xbox in the den")
	s.ok("", "app-password", "delete", alain, gone.ID, "--yes")
	s.create(alain, "ending", "--expires", "10d")
	s.create(beate, "at rest")
	s.ok("", "app-password", "suspend", beate, "at rest")
	s.create(beate, "third")
	s.expect(accept, alain, o.first.Password)
	s.expect(reject, alain, gone.Password)
	return s, o, gone
}

func TestListAll(t *testing.T) {
	s, _, gone := helpDesk(t)
	first := " First app password"
	for flags, want := range map[string][]string{
		"":                                 {alain + first, alain + " ending", beate + first, beate + " at rest", beate + " third"},
		"--at-limit":                       {beate + first, beate + " at rest", beate + " third"},
		"--status suspended":               {beate + " at rest"},
		"--status active --at-limit":       {beate + first, beate + " third"},
		"--expiring-within 30d":            {alain + " ending"},
		"--expiring-within 5d":             nil,
		"--unused-for 1h":                  nil,
		"--deleted-still-tried":            {alain + " Xbox in the den"},
		"--unused-for 1000w":               nil,
		"--status expired":                 nil,
		"--deleted-still-tried --at-limit": nil,
	} {
		args := append([]string{"app-password", "list", "--all"}, strings.Fields(flags)...)
		if got := named(s.lines(args...)); !slices.Equal(got, want) {
			t.Errorf("%s: %q, want %q", flags, got, want)
		}
		text := s.ok("", args...)
		if rows := strings.Count(text, "\n") - 1; rows != len(want) || len(want) == 0 && text != "There are none.\n" {
			t.Errorf("%s: %d rows, want %d\n%s", flags, rows, len(want), text)
		}
	}
	shapes := map[string]shape{
		"--at-limit":            newShape(shape{"account": "text"}),
		"--deleted-still-tried": {"account": "text", "id": "text", "name": "text", "deleted": "time", "last_try": useShape, "tries": "number"},
	}
	for flag, want := range shapes {
		for _, object := range s.lines("app-password", "list", "--all", flag) {
			for _, fault := range fits(flag, want, object) {
				t.Error(fault)
			}
			if _, ok := object["password"]; ok {
				t.Errorf("%s has a password", flag)
			}
		}
	}
	if d := s.lines("ap", "list", "--all", "--deleted-still-tried")[0]; d["id"] != gone.ID || d["tries"] != 1.0 {
		t.Errorf("deleted: %v", d)
	}
}

func TestReview(t *testing.T) {
	s, o, gone := helpDesk(t)
	want := []string{alain + " expiring ending", alain + " deleted-tried Xbox in the den", beate + " at-limit "}
	for _, args := range [][]string{{"review"}, {"review", "--unused-for", "1h"}} {
		var got []string
		for _, f := range s.lines(args...) {
			name := ""
			if p, ok := f["app_password"].(map[string]any); ok {
				name = p["name"].(string)
			}
			got = append(got, fmt.Sprint(f["account"], " ", f["finding"], " ", name))
			for _, fault := range fits("review", shape{"account": "text", "finding": "text", "device": "text", "sentence": "text"}, f) {
				t.Error(fault)
			}
			if at, ok := f["time"].(string); ok {
				if _, err := time.Parse(time.RFC3339Nano, at); err != nil {
					t.Errorf("time: %v", err)
				}
			}
		}
		if !slices.Equal(got, want) {
			t.Errorf("%q: %q, want %q", args, got, want)
		}
	}
	text := s.ok("", "review", alain)
	if strings.Count(text, "\n") != 3 || !strings.HasPrefix(text, alain+"\n    \"ending\" (id ") || !strings.Contains(text, gone.ID) || strings.Contains(text, beate) {
		t.Errorf("review of one:\n%s", text)
	}
	if strings.Contains(text, o.first.Password) || strings.Contains(text, gone.Password) {
		t.Errorf("a secret is told:\n%s", text)
	}
	if text := s.ok("", "review", "nothing@contoso.com"); text != "There is nothing to look at.\n" {
		t.Errorf("review of nobody's: %q", text)
	}
}

// What a device says of itself reaches no terminal as it is.
func TestReviewTerminalSafe(t *testing.T) {
	s := newSite(t, "[profile.console]", `pin = "device"`)
	s.start()
	s.enroll(alain)
	p := s.create(alain, "console", "--profile", "console")
	for _, device := range []string{"old\u202e", "new\x1b[2J\u202e"} {
		s.run(p.Password+"\n", "verify", alain, "--service", "radius/vpn1", "--device", device)
	}
	for _, args := range [][]string{{"review"}, {"app-password", "list", "--all"}} {
		if text := s.ok("", args...); strings.ContainsAny(text, "\x1b\u202e") {
			t.Errorf("%q: %q", args, text)
		}
	}
	if text := s.ok("", "review"); !strings.Contains(text, "is pinned to the device") || !strings.Contains(text, "use app-password repin") {
		t.Errorf("review: %q", text)
	}
}
