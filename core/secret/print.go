package secret

import (
	"fmt"
	"io"
	"log/slog"
)

// printed stands wherever a Text would be printed.
const printed = "[app password]"

// Format implements fmt.Formatter for every verb.
func (Text) Format(f fmt.State, _ rune) { io.WriteString(f, printed) }

// LogValue implements slog.LogValuer.
func (Text) LogValue() slog.Value { return slog.StringValue(printed) }

// MarshalJSON implements json.Marshaler.
func (Text) MarshalJSON() ([]byte, error) { return []byte(`"` + printed + `"`), nil }

// MarshalText implements encoding.TextMarshaler.
func (Text) MarshalText() ([]byte, error) { return []byte(printed), nil }
