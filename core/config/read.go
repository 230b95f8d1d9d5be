package config

import (
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// limitMax is the most app passwords that an account can have: so many are
// tried in every CHAP and MS-CHAPv2 attempt, whoever asks.
const limitMax = 40

// read walks the whole schema, whatever it finds wrong.
func (r *reader) read(values map[string]any) *File {
	top := r.table(nil, "", values)
	f := &File{
		DataDir:            top.requiredPath("data_dir", `"/var/lib/keywicket"`),
		Keyring:            top.requiredPath("keyring", `"/etc/keywicket/keyring"`),
		AllowInlineSecrets: top.flag("allow_inline_secrets", false),
	}
	r.top = slices.Collect(maps.Keys(top.known)) // so far
	if within(f.Keyring, f.DataDir) {
		top.fault("keyring", "the keyring is in data_dir, so that whoever takes the one has the other; keep it elsewhere")
	}
	f.Plugins = readPlugins(top)
	f.Store = readStore(top, f.Plugins)
	f.Directory = readDirectory(top, f.Plugins)
	f.Policy = readPolicy(top)
	f.Groups = readGroups(top)
	f.Profiles = readProfiles(top, f.Policy)
	f.Radius = readRadius(top, f.AllowInlineSecrets)
	f.PAM = readPAM(top)
	f.Control = readControl(top)
	f.Metrics = readMetrics(top)
	f.Log = readLog(top)
	f.Audit = readAudit(top, f.DataDir)
	checkSockets(r, f)
	top.close()
	return f
}

func readStore(top *table, plugins []Plugin) Store {
	t, _ := top.section("store")
	defer t.close()
	s := Store{
		Kind:          t.part("kind", KindBadger, PluginStore, plugins),
		Replica:       t.flag("replica", false),
		ReplicaMaxAge: t.duration("replica_max_age", time.Hour, time.Minute, 7*day),
		Memory:        int64(t.number("memory_mib", 64, 0, 1<<20)) << 20,
	}
	if _, said := t.get("min_free_mib"); said {
		s.MinFree = int64(t.number("min_free_mib", 256, 16, 1<<20)) << 20
	}
	if s.Replica && s.Plugin() == "" {
		t.fault("replica", "there is nothing to copy: the store is on this host; take the key out, or take \"plugin:NAME\" as the kind")
	}
	return s
}

func readDirectory(top *table, plugins []Plugin) Directory {
	t, _ := top.section("directory")
	defer t.close()
	return Directory{
		Kind:   t.part("kind", KindLocal, PluginDirectory, plugins),
		MaxAge: t.duration("max_age", time.Minute, 0, day),
		Stale:  t.duration("stale", 15*time.Minute, 0, day),
	}
}

func readPolicy(top *table) Policy {
	t, _ := top.section("policy")
	defer t.close()
	return Policy{
		Limit:             t.number("limit", limitMax, 1, limitMax),
		RequireTwoStep:    t.flag("require_two_step", true),
		MainPassword:      t.oneOf("main_password", MainPasswordNever, MainPasswordNever, MainPasswordWithoutTwoStep),
		OnTwoStepOff:      t.oneOf("on_two_step_off", ChangeSuspend, ChangeSuspend, ChangeDelete),
		FirstOnEnroll:     t.flag("first_on_enroll", true),
		OnPasswordChange:  t.oneOf("on_password_change", ChangeKeep, ChangeKeep, ChangeSuspend, ChangeDelete),
		UnusedAfter:       t.span("unused_after", 0),
		FirstUseWithin:    t.span("first_use_within", 0),
		AllowAppPasswords: t.allow("app_passwords"),
		AllowTiny:         t.flag("allow_tiny", false),
	}
}

func readGroups(top *table) []Group {
	var groups []Group
	for _, t := range top.named("group", checkGroup) {
		groups = append(groups, Group{
			Name:              t.name(),
			AllowAppPasswords: t.allow("app_passwords"),
			Reply:             t.reply("reply"),
		})
		t.close()
	}
	return groups
}

func readProfiles(top *table, policy Policy) []Profile {
	var profiles []Profile
	tables := top.named("profile", checkName)
	if !slices.ContainsFunc(tables, func(t *table) bool { return t.name() == DefaultProfile }) {
		// Its name stands in no file, so it can have no fault.
		tables = append(tables, top.r.table(top.key("profile", DefaultProfile), "profile.NAME.", nil))
	}
	for _, t := range tables {
		profiles = append(profiles, readProfile(t, policy))
		t.close()
	}
	slices.SortFunc(profiles, func(a, b Profile) int { return strings.Compare(a.Name, b.Name) })
	return profiles
}

func readProfile(t *table, policy Policy) Profile {
	p := Profile{
		Name:              t.name(),
		Letters:           t.letters("letters", policy.AllowTiny),
		Pin:               t.oneOf("pin", PinNone, PinNone, PinDevice),
		ExpiresAfter:      t.span("expires_after", 0),
		UnusedAfter:       t.span("unused_after", policy.UnusedAfter),
		FirstUseWithin:    t.span("first_use_within", policy.FirstUseWithin),
		AllowAppPasswords: t.allow("app_passwords"),
		Sessions:          t.number("sessions", 0, 0, MaxSessions),
		Reply:             t.reply("reply"),
	}
	for _, pattern := range t.list("services", `["radius/vpn*"]`) {
		if wrong := checkPattern(pattern.text); wrong != "" {
			t.itemFault("services", pattern, "%s", wrong)
		}
		p.Services = append(p.Services, pattern.text)
	}
	p.Services = t.notEmpty("services", p.Services, "*")
	p.Methods = t.methods("methods", MethodCleartext)
	return p
}

// methods reads ways to present an app password.
func (t *table) methods(name string, def ...string) []string {
	var methods []string
	for _, method := range t.list(name, `["cleartext"]`) {
		words := []string{MethodCleartext, MethodCHAP, MethodMSCHAPv2}
		if strings.EqualFold(method.text, "pap") {
			t.itemFault(name, method, "PAP is called %q here", MethodCleartext)
		} else if !slices.Contains(words, method.text) {
			t.itemFault(name, method, "%s is not known; take %s", quoted(method.text), alternatives(words))
		}
		methods = append(methods, method.text)
	}
	return t.notEmpty(name, methods, def...)
}

// notEmpty returns the items of a list, or def where the list is left out. A
// list without items is a fault: nothing could sign in.
func (t *table) notEmpty(name string, items []string, def ...string) []string {
	if !t.has(name) {
		return def
	}
	if list, ok := t.values[name].([]any); ok && len(list) == 0 {
		t.fault(name, "the list is empty, so that no device could sign in; leave it out for %q", def)
	}
	return items
}

func (t *table) letters(name string, allowTiny bool) int {
	n := t.number(name, LettersStandard, 0, 1<<10)
	switch {
	case n != LettersTiny && n != LettersStandard && n != LettersLong:
		t.fault(name, "an app password can't have %d letters; take %d, %d or %d", n, LettersTiny, LettersStandard, LettersLong)
	case n == LettersTiny && !allowTiny:
		t.fault(name, "%d letters are only for fields that take no more; take %d, or set allow_tiny = true in [policy]", n, LettersStandard)
	}
	return n
}

// reply reads attributes, sorted by name. Each has a text or a list of texts.
func (t *table) reply(name string) []Attribute {
	all, _ := t.section(name)
	var attributes []Attribute
	for _, each := range slices.Sorted(maps.Keys(all.values)) {
		if each == "" || !isPrintable(each) {
			all.fault(each, "%s can't be the name of an attribute; write it like \"Filter-Id\"", quoted(each))
		}
		a := Attribute{Name: each}
		switch value := all.values[each].(type) {
		case string:
			a.Values = []string{value}
		case []any:
			for _, it := range all.list(each, `["one", "two"]`) {
				a.Values = append(a.Values, it.text)
			}
			if len(value) == 0 {
				all.fault(each, "the list is empty; give a value, or leave the attribute out")
			}
		default:
			all.wrongType(each, value, "text or a list of texts", `"42"`)
		}
		attributes = append(attributes, a)
	}
	return attributes
}

func readPAM(top *table) *PAM {
	t, ok := top.section("pam")
	if !ok {
		return nil
	}
	defer t.close()
	p := &PAM{
		Socket: t.optionalPath("socket", "/run/keywicket/pam.sock"),
		MinUID: t.number("min_uid", 1000, 1, 1<<31-1),
	}
	for _, service := range t.list("services", `["sshd"]`) {
		if wrong := checkName(service.text); wrong != "" {
			t.itemFault("services", service, "%s", wrong)
		}
		p.Services = append(p.Services, service.text)
	}
	for _, user := range t.list("users", `["www-data"]`) {
		if wrong := checkName(user.text); wrong != "" {
			t.itemFault("users", user, "%s", wrong)
		}
		p.Users = append(p.Users, user.text)
	}
	return p
}

func readControl(top *table) Control {
	t, _ := top.section("control")
	defer t.close()
	c := Control{
		Socket: t.optionalPath("socket", "/run/keywicket/control.sock"),
		Group:  t.text("group", "keywicket", `"keywicket"`),
	}
	if t.has("self_service") {
		c.SelfService = t.optionalPath("self_service", "/run/keywicket/self.sock")
	} else {
		t.get("self_service") // so that it is known
	}
	if wrong := checkName(c.Group); c.Group != "" && wrong != "" {
		t.fault("group", "%s", wrong)
	}
	return c
}

func readMetrics(top *table) *Metrics {
	t, ok := top.section("metrics")
	if !ok {
		return nil
	}
	defer t.close()
	m := &Metrics{}
	if text := t.required("listen", `"127.0.0.1:9812"`); text != "" {
		address, wrong := listenAddress(text, "127.0.0.1:9812")
		if wrong != "" {
			t.fault("listen", "%s", wrong)
		}
		m.Listen = address
	}
	return m
}

func readLog(top *table) Log {
	t, _ := top.section("log")
	defer t.close()
	return Log{
		Level:  t.oneOf("level", "info", "debug", "info", "warn", "error"),
		Format: t.oneOf("format", LogAuto, LogAuto, LogJSON, LogText),
	}
}

func readAudit(top *table, dataDir string) Audit {
	t, _ := top.section("audit")
	defer t.close()
	return Audit{Path: t.optionalPath("path", filepath.Join(dataDir, "audit"))}
}
