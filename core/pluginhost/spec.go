package pluginhost

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"maps"
	"math"
	"reflect"

	"github.com/keywicket/keywicket/plugins/proto/pluginv1"
)

// A Kind is what a plugin is for, in the words of the configuration.
type Kind string

// The kinds of plugins.
const (
	KindStore     Kind = "store"
	KindDirectory Kind = "directory"
	KindNotifier  Kind = "notifier"
	KindHook      Kind = "hook"
)

// Kinds returns every kind.
func Kinds() []Kind { return []Kind{KindStore, KindDirectory, KindNotifier, KindHook} }

func (k Kind) wire() pluginv1.Kind {
	switch k {
	case KindStore:
		return pluginv1.Kind_KIND_STORE
	case KindDirectory:
		return pluginv1.Kind_KIND_DIRECTORY
	case KindNotifier:
		return pluginv1.Kind_KIND_NOTIFIER
	case KindHook:
		return pluginv1.Kind_KIND_HOOK
	}
	return pluginv1.Kind_KIND_UNSPECIFIED
}

// kindOf returns the kind that a plugin said it is, or "".
func kindOf(k pluginv1.Kind) Kind {
	for _, kind := range Kinds() {
		if kind.wire() == k {
			return kind
		}
	}
	return ""
}

// A Spec is what the administrator says of a plugin.
type Spec struct {
	Name   string
	Kind   Kind // "": whatever the plugin says it is
	Path   string
	SHA256 [sha256.Size]byte // of the file; another never runs

	// User is who the process runs as; empty: who the host is. Only a host that
	// may become others can have one.
	User string

	// Settings are handed to the plugin: strings, int64s, float64s, bools, and
	// []any of those.
	Settings map[string]any
}

func (s Spec) equal(other Spec) bool {
	settings := maps.EqualFunc(s.Settings, other.Settings, func(a, b any) bool { return reflect.DeepEqual(a, b) })
	s.Settings, other.Settings = nil, nil
	return settings && reflect.DeepEqual(s, other)
}

// Sum returns the pin of s as it stands in the configuration.
func (s Spec) Sum() string { return hex.EncodeToString(s.SHA256[:]) }

// check says whether the pinned program is where the spec says.
func (s Spec) check() error {
	binary, err := loadBinary(s.Path, s.SHA256)
	if err == nil {
		err = binary.Close()
	}
	return err
}

// settings returns the settings as they travel.
func (s Spec) settings() (map[string]*pluginv1.Setting, error) {
	all := make(map[string]*pluginv1.Setting, len(s.Settings))
	for key, value := range s.Settings {
		setting, err := setting(value, true)
		if err != nil {
			return nil, fmt.Errorf("setting %s: %w", key, err)
		}
		all[key] = setting
	}
	return all, nil
}

func setting(value any, lists bool) (*pluginv1.Setting, error) {
	switch v := value.(type) {
	case string:
		return &pluginv1.Setting{Value: &pluginv1.Setting_Text{Text: v}}, nil
	case int64:
		return &pluginv1.Setting{Value: &pluginv1.Setting_Integer{Integer: v}}, nil
	case float64:
		if math.IsNaN(v) || math.IsInf(v, 0) {
			return nil, fmt.Errorf("%v is no number", v)
		}
		return &pluginv1.Setting{Value: &pluginv1.Setting_Number{Number: v}}, nil
	case bool:
		return &pluginv1.Setting{Value: &pluginv1.Setting_Flag{Flag: v}}, nil
	case []any:
		if !lists {
			return nil, fmt.Errorf("a list in a list is no setting")
		}
		list := &pluginv1.SettingList{}
		for _, each := range v {
			s, err := setting(each, false)
			if err != nil {
				return nil, err
			}
			list.Values = append(list.Values, s)
		}
		return &pluginv1.Setting{Value: &pluginv1.Setting_List{List: list}}, nil
	}
	return nil, fmt.Errorf("a setting is a text, a number, a truth value or a list of them, not a %T", value)
}
