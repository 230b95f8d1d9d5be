package sdk

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/keywicket/keywicket/plugins/proto/pluginv1"
)

// Settings are what the administrator wrote into [plugin.NAME.settings]. A value
// is a string, an int64, a float64, a bool, or a []any of those. A secret is
// never among them, only the path of a file that holds one.
type Settings map[string]any

// A Configurer is a store, directory, notifier or hook that has settings.
// Configure is called once, before everything else; the error goes to the
// administrator, so it says which setting is wrong and what to write. A plugin
// without this method takes no settings. What is behind the plugin may be out of
// reach now and come later: that is no reason for an error here.
type Configurer interface {
	Configure(ctx context.Context, s Settings) error
}

// Decode fills in the struct that into points to, as encoding/json does: a field
// takes the setting that its json tag names. A setting without a field, or of
// another type, is an error.
func (s Settings) Decode(into any) error {
	text, err := json.Marshal(s)
	if err != nil {
		return fmt.Errorf("settings: %w", err)
	}
	d := json.NewDecoder(bytes.NewReader(text))
	d.DisallowUnknownFields()
	err = d.Decode(into)
	var wrong *json.UnmarshalTypeError
	if errors.As(err, &wrong) {
		setting := wrong.Field[strings.LastIndexByte(wrong.Field, '.')+1:] // without the struct that is embedded
		return fmt.Errorf("settings: %s can't be %s", setting, wrong.Value)
	}
	if err != nil {
		return errors.New("settings: " + strings.TrimPrefix(err.Error(), "json: "))
	}
	return nil
}

// A Duration is a setting that is a time, as a text like "5s" or "1m30s"
// (time.ParseDuration).
type Duration time.Duration

// UnmarshalJSON implements json.Unmarshaler. Decode says in which setting the
// fault is.
func (d *Duration) UnmarshalJSON(octets []byte) error {
	var text string
	err := json.Unmarshal(octets, &text)
	if err == nil {
		var parsed time.Duration
		parsed, err = time.ParseDuration(text)
		*d = Duration(parsed)
	}
	if err != nil {
		return &json.UnmarshalTypeError{Value: fmt.Sprintf(`%s; write a number and its unit, such as "5s" or "1m30s"`, octets)}
	}
	return nil
}

func settingsOf(from map[string]*pluginv1.Setting) (Settings, error) {
	s := make(Settings, len(from))
	for key, setting := range from {
		value, err := valueOf(setting, true)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", key, err)
		}
		s[key] = value
	}
	return s, nil
}

func valueOf(s *pluginv1.Setting, lists bool) (any, error) {
	switch v := s.GetValue().(type) {
	case *pluginv1.Setting_Text:
		return v.Text, nil
	case *pluginv1.Setting_Integer:
		return v.Integer, nil
	case *pluginv1.Setting_Number:
		return v.Number, nil
	case *pluginv1.Setting_Flag:
		return v.Flag, nil
	case *pluginv1.Setting_List:
		if !lists {
			return nil, errors.New("a list in a list")
		}
		list := []any{}
		for _, each := range v.List.GetValues() {
			value, err := valueOf(each, false)
			if err != nil {
				return nil, err
			}
			list = append(list, value)
		}
		return list, nil
	}
	return nil, errors.New("a value of a type that is not known")
}
