package core_test

import (
	"bytes"
	"fmt"
	"log/slog"
	"strings"
	"testing"
)

// TestConfirmationPrints: what an account is given is in no log by mistake.
func TestConfirmationPrints(t *testing.T) {
	_, _, c := enrolled(t, nil)
	var log bytes.Buffer
	slog.New(slog.NewJSONHandler(&log, nil)).Info("given", "value", c, "pointer", &c)
	said := log.String() + fmt.Sprintf("%v %+v %#v %s %q %x %d", c, c, c, c, c, c, &c)
	if !strings.Contains(said, "[10 recovery codes]") || strings.Contains(said, c.FirstText.Canonical()) {
		t.Error(said)
	}
	for _, recovery := range c.Recovery {
		if strings.Contains(said, recovery) || strings.Contains(said, fmt.Sprintf("%x", recovery)) {
			t.Fatalf("a recovery code is in %s", said)
		}
	}
}
