package keyring

import (
	"fmt"
	"io"
	"log/slog"
)

// printed stands wherever a keyring or a key would be printed.
const printed = "[keyring]"

// redacted is part of whatever holds keys.
type redacted struct{}

// Format implements fmt.Formatter for every verb.
func (redacted) Format(f fmt.State, _ rune) { io.WriteString(f, printed) }

// LogValue implements slog.LogValuer.
func (redacted) LogValue() slog.Value { return slog.StringValue(printed) }

// MarshalJSON implements json.Marshaler.
func (redacted) MarshalJSON() ([]byte, error) { return []byte(`"` + printed + `"`), nil }

// MarshalText implements encoding.TextMarshaler.
func (redacted) MarshalText() ([]byte, error) { return []byte(printed), nil }
