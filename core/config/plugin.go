package config

import (
	"encoding/hex"
	"fmt"
	"maps"
	"math"
	"os"
	"slices"
	"strings"

	"github.com/pelletier/go-toml/v2"
)

// A Plugin is a program that is started and asked.
type Plugin struct {
	Name   string
	Kind   string // one of PluginKinds
	Path   string
	SHA256 [32]byte
	User   string // who it runs as; empty: who the daemon is

	// Settings are handed to it: texts, whole numbers (int64), numbers with a
	// fraction (float64), truth values, and lists ([]any) of those.
	Settings map[string]any
}

// The kinds of plugins.
const (
	PluginStore     = "store"
	PluginDirectory = "directory"
	PluginNotifier  = "notifier"
	PluginHook      = "hook"
)

// PluginKinds returns every kind of plugin.
func PluginKinds() []string {
	return []string{PluginStore, PluginDirectory, PluginNotifier, PluginHook}
}

// pluginPrefix makes a store or a directory a plugin's.
const pluginPrefix = "plugin:"

// Plugin returns the name of the plugin that keeps the records, or "".
func (s Store) Plugin() string { return pluginOf(s.Kind) }

// Plugin returns the name of the plugin that knows the accounts, or "".
func (d Directory) Plugin() string { return pluginOf(d.Kind) }

func pluginOf(kind string) string {
	name, ok := strings.CutPrefix(kind, pluginPrefix)
	if !ok {
		return ""
	}
	return name
}

// part reads which part to take: the built-in one, or "plugin:NAME" for one of
// the plugins of that kind.
func (t *table) part(name, builtin, kind string, plugins []Plugin) string {
	is := t.text(name, builtin, fmt.Sprintf("%q", builtin))
	if is == builtin {
		return is
	}
	wanted, ok := strings.CutPrefix(is, pluginPrefix)
	if !ok {
		t.fault(name, "%s is not known; take %q, or \"plugin:NAME\" for a plugin of the kind %q", quoted(is), builtin, kind)
		return builtin
	}
	for _, p := range plugins {
		switch {
		case p.Name != wanted:
		case p.Kind != kind && p.Kind != "":
			t.fault(name, "the plugin %s is of the kind %q, and this wants a %q", quoted(wanted), p.Kind, kind)
			return builtin
		default:
			return is
		}
	}
	t.fault(name, "there is no [plugin.%s]; write one, or take %q", wanted, builtin)
	return builtin
}

func readPlugins(top *table) []Plugin {
	var plugins []Plugin
	for _, t := range top.named("plugin", checkName) {
		p := Plugin{
			Name: t.name(),
			Kind: t.required("kind", `"store"`),
			Path: t.requiredPath("path", `"/usr/lib/keywicket/keywicket-store-postgres"`),
			User: t.text("user", "", `"keywicket-pg"`),
		}
		if p.Kind != "" && !slices.Contains(PluginKinds(), p.Kind) {
			t.fault("kind", "%s is not known; take %s", quoted(p.Kind), alternatives(PluginKinds()))
			p.Kind = ""
		}
		sum := t.required("sha256", `"…"`)
		n, err := hex.Decode(p.SHA256[:], []byte(sum[:min(len(sum), 2*len(p.SHA256))]))
		if sum != "" && (err != nil || n != len(p.SHA256) || len(sum) != 2*n) {
			t.fault("sha256", "this is not a SHA-256 sum, which has 64 hexadecimal digits; \"keywicket plugin pin PATH\" writes the line")
		}
		if wrong := checkName(p.User); p.User != "" && wrong != "" {
			t.fault("user", "%s", wrong)
		}
		p.Settings = t.settings("settings")
		plugins = append(plugins, p)
		t.close()
	}
	return plugins
}

// settings reads a table of values that somebody else understands.
func (t *table) settings(name string) map[string]any {
	all, ok := t.section(name)
	if !ok {
		return nil
	}
	settings := map[string]any{}
	for _, key := range slices.Sorted(maps.Keys(all.values)) {
		value := all.values[key]
		list, isList := value.([]any)
		if !isList {
			list = []any{value}
		}
		wrong := ""
		if len(key) > nameMax || key == "" || !isPrintable(key) {
			wrong = quoted(key) + " can't be the name of a setting"
		}
		for _, each := range list {
			if !isScalar(each) {
				wrong = fmt.Sprintf("a setting can't hold %s; take texts, numbers, truth values, or a list of them", typeName(each))
			}
		}
		if wrong != "" {
			all.fault(key, "%s", wrong)
			continue
		}
		settings[key] = value
	}
	return settings
}

func isScalar(value any) bool {
	switch v := value.(type) {
	case string, bool, int64:
		return true
	case float64:
		return !math.IsNaN(v) && !math.IsInf(v, 0)
	}
	return false
}

// LoadSettings reads a file that holds what [plugin.NAME.settings] would.
func LoadSettings(path string) (map[string]any, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("read the settings: %w", err)
	}
	values := map[string]any{}
	if err := toml.Unmarshal(text, &values); err != nil {
		return nil, syntaxFaults(path, text, err)
	}
	r := &reader{file: path, positions: findPositions(text), asked: map[string]bool{}}
	settings := r.table(nil, "", map[string]any{"": values}).settings("")
	for i := range r.faults {
		r.faults[i].Key = strings.TrimPrefix(r.faults[i].Key, `"".`)
	}
	return settings, r.faults.Err()
}
