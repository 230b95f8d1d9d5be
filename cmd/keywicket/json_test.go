package main_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
)

// A shape is what a JSON object holds: for each key, what its value is. Values
// are "text", "number", "bool", "time", "null", "texts" (an array), a shape, or
// a list with one shape (an array of them). Keys may be added by later versions,
// never renamed (design, section 13).
type shape map[string]any

var (
	password = regexp.MustCompile(`^[a-hj-km-np-z]{20}$`)

	useShape = shape{"time": "time", "service": "text", "source": "text", "device": "text", "method": "text"}
)

// newShape is an app password that was never used.
func newShape(more shape) shape {
	s := shape{
		"id": "text", "name": "text", "profile": "text", "created": "time", "expires": "null", "status": "text",
		"last_use": "null", "uses": "number", "letters": "number", "services": "texts", "methods": "texts",
		"rotated": "null", "pinned": "bool", "pin": "null", "reply": "texts",
	}
	maps.Copy(s, more)
	return s
}

// fits says what of a value is not as it should be.
func fits(path string, want, got any) []string {
	ok := false
	switch want := want.(type) {
	case shape:
		object, isObject := got.(map[string]any)
		if !isObject {
			return []string{fmt.Sprintf("%s: %v is no object", path, got)}
		}
		var all []string
		for _, key := range slices.Sorted(maps.Keys(want)) {
			value, there := object[key]
			if !there {
				all = append(all, fmt.Sprintf("%s.%s is missing", path, key))
				continue
			}
			all = append(all, fits(path+"."+key, want[key], value)...)
		}
		return all
	case []any:
		list, isList := got.([]any)
		if !isList || len(list) == 0 {
			return []string{fmt.Sprintf("%s: %v is no array with something in it", path, got)}
		}
		var all []string
		for i, each := range list {
			all = append(all, fits(fmt.Sprintf("%s[%d]", path, i), want[0], each)...)
		}
		return all
	case string:
		ok = fitsWord(want, got)
	}
	if !ok {
		return []string{fmt.Sprintf("%s: %v, want %v", path, got, want)}
	}
	return nil
}

func fitsWord(want string, got any) bool {
	switch got := got.(type) {
	case nil:
		return want == "null"
	case bool:
		return want == "bool"
	case float64:
		return want == "number"
	case string:
		if want == "time" {
			t, err := time.Parse(time.RFC3339Nano, got)
			return err == nil && !t.IsZero()
		}
		return want == "text"
	case []any:
		return want == "texts" && !slices.ContainsFunc(got, func(v any) bool { _, isText := v.(string); return !isText })
	}
	return false
}

// shaped runs a verb with --json and compares; without is what must not be there.
func (s *site) shaped(want any, code int, stdin string, args ...string) any {
	s.t.Helper()
	r := s.run(stdin, append(args, "--json")...)
	var got any
	d := json.NewDecoder(bytes.NewReader([]byte(r.out)))
	if err := d.Decode(&got); err != nil || d.More() || r.code != code {
		s.t.Fatalf("keywicket %q --json: %v\n%s", args, err, r)
	}
	for _, fault := range fits("", want, got) {
		s.t.Errorf("keywicket %q --json: %s", args, fault)
	}
	return got
}

// keysOf returns the keys of all objects in v.
func keysOf(v any) (all []string) {
	switch v := v.(type) {
	case map[string]any:
		for key, each := range v {
			all = append(append(all, key), keysOf(each)...)
		}
	case []any:
		for _, each := range v {
			all = append(all, keysOf(each)...)
		}
	}
	return all
}

// The JSON that other programs read has these keys, types and nulls.
func TestJSON(t *testing.T) {
	s := newSite(t, "[profile.console]", `pin = "device"`)
	s.start()
	account := shape{"name": "text", "enabled": "bool", "groups": "texts", "two_step": "bool"}
	s.shaped(account, 0, "", "user", "add", alain)
	enrolled := s.shaped(shape{"otpauth": "text"}, 0, "", "two-step", "enroll", alain).(map[string]any)
	o := owner{name: alain, uri: enrolled["otpauth"].(string)}
	if !strings.HasPrefix(o.uri, "otpauth://totp/") {
		t.Errorf("otpauth is %q", o.uri)
	}
	confirmed := s.shaped(shape{"app_password": newShape(shape{"password": "text"}), "recovery_codes": "texts"},
		0, o.code(t, 0)+"\n", "two-step", "confirm", alain).(map[string]any)
	first := confirmed["app_password"].(map[string]any)
	if !password.MatchString(first["password"].(string)) {
		t.Errorf("the password is not canonical: %q", first["password"])
	}
	if n := len(confirmed["recovery_codes"].([]any)); n != 10 {
		t.Errorf("%d recovery codes", n)
	}
	made := s.shaped(newShape(shape{"password": "text", "expires": "time"}), 0, "",
		"app-password", "create", alain, "--name", "Xbox", "--profile", "console", "--expires", "30d").(map[string]any)
	if !password.MatchString(made["password"].(string)) || made["name"] != "Xbox" || made["profile"] != "console" || made["pinned"] != true {
		t.Errorf("created: %v", made)
	}
	s.jsonAfterUse(made)
}

// jsonAfterUse uses the app password that was made, and looks at the rest.
func (s *site) jsonAfterUse(made map[string]any) {
	t := s.t
	ref := shape{"id": "text", "name": "text"}
	granted := s.shaped(shape{"result": "text", "app_password": ref}, 0, made["password"].(string)+"\n",
		"verify", alain, "--service", "radius/vpn1", "--device", "00-11").(map[string]any)
	refused := s.shaped(shape{"result": "text", "reason": "text"}, 1, "wrong\n", "verify", alain, "--service", "radius/vpn1").(map[string]any)
	if granted["result"] != "granted" || refused["result"] != "refused" || refused["reason"] != "wrong" {
		t.Errorf("verify: %v, %v", granted, refused)
	}
	list := s.shaped([]any{shape{}}, 0, "", "app-password", "list", alain).([]any)
	if keys := keysOf(list); slices.Contains(keys, "password") {
		t.Errorf("the list has a password: %v", keys)
	}
	for i, want := range []shape{newShape(nil), newShape(shape{"expires": "time", "last_use": useShape, "pin": "text"})} {
		for _, fault := range fits("list", want, list[i]) {
			t.Errorf("app-password list --json: %s", fault)
		}
	}
	if used := list[1].(map[string]any); used["uses"] != 1.0 || used["status"] != "active" || used["last_use"].(map[string]any)["device"] != "00-11" {
		t.Errorf("after its use: %v", used)
	}
	whys := s.shaped([]any{shape{"time": "time", "service": "text", "source": "text", "device": "text", "method": "text", "result": "text", "reason": "text"}},
		0, "", "why", alain).([]any)
	for i, want := range []shape{{"app_password": "null"}, {"app_password": ref}} {
		for _, fault := range fits("why", want, whys[i]) {
			t.Errorf("why --json: %s", fault)
		}
	}
	if whys[0].(map[string]any)["result"] != "refused" || whys[1].(map[string]any)["result"] != "granted" {
		t.Errorf("why is not newest first: %v", whys)
	}
	s.shaped(shape{"version": "text", "store": shape{"kind": "text", "ready": "bool"}, "bridges": shape{"radius": shape{"addresses": "texts"}}}, 0, "", "status")
	s.shaped([]any{ref}, 0, "", "app-password", "suspend", alain, made["id"].(string))
	s.shaped(newShape(shape{"password": "text", "expires": "time", "last_use": useShape, "pin": "text", "rotated": "time"}), 0, "",
		"app-password", "rotate", alain, made["id"].(string))
	s.shaped([]any{shape{"name": "text", "enabled": "bool"}}, 0, "", "user", "list")
	s.shaped([]any{ref}, 0, "", "app-password", "delete-all", alain, "--yes")
	s.shaped(shape{"warnings": "texts"}, 0, "", "reload")
	s.shaped(shape{"files": "number", "lines": "number", "from": "time", "to": "time", "faults": "texts"}, 0, "", "audit", "verify", "--config", s.config())
	s.shaped(shape{"name": "text", "app_passwords": "number", "sessions": "texts"}, 0, "", "user", "delete", alain, "--yes")
}

// What is empty is an empty array and never null.
func TestJSONEmpty(t *testing.T) {
	s := startSite(t)
	if out := s.ok("", "user", "list", "--json"); out != "[]\n" {
		t.Errorf("user list: %q", out)
	}
	s.ok("", "user", "add", alain)
	for _, verb := range []string{"app-password list", "why", "app-password delete-all --yes"} {
		if out := s.ok("", append(strings.Fields(verb), alain, "--json")...); out != "[]\n" {
			t.Errorf("%s: %q", verb, out)
		}
	}
	var status struct{ Plugins []any }
	s.decode(&status, "", "status")
	if status.Plugins == nil {
		t.Error("status: plugins is null")
	}
}

// A list that does not fit is found.
func TestShapeFindsFaults(t *testing.T) {
	for name, tt := range map[string]struct {
		want any
		got  string
	}{
		"missing key":   {shape{"a": "text"}, `{"b":"x"}`},
		"null for text": {shape{"a": "text"}, `{"a":null}`},
		"text for null": {shape{"a": "null"}, `{"a":"x"}`},
		"no time":       {shape{"a": "time"}, `{"a":"yesterday"}`},
		"null for list": {shape{"a": "texts"}, `{"a":null}`},
		"empty list":    {[]any{shape{}}, `[]`},
		"one bad item":  {[]any{shape{"a": "bool"}}, `[{"a":true},{"a":1}]`},
		"no object":     {shape{}, `1`},
	} {
		var got any
		must(t, json.Unmarshal([]byte(tt.got), &got))
		if len(fits("", tt.want, got)) == 0 {
			t.Errorf("%s: not found", name)
		}
	}
}
