package wire_test

import (
	"errors"
	"strings"
	"testing"
	"unicode/utf8"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/keywicket/keywicket/core/directory"
	"github.com/keywicket/keywicket/core/store"
	"github.com/keywicket/keywicket/plugins/sdk/wire"
)

// FuzzErrors: whatever a plugin says in place of an answer is an error, of at
// most one kind and never "denied", with a text that can stand in a log.
func FuzzErrors(f *testing.F) {
	for code := range uint32(20) {
		f.Add(code, "no such account\n\x1b[31m\xff")
	}
	f.Add(uint32(codes.NotFound), strings.Repeat("é\xff", wire.MaxText))
	f.Fuzz(func(t *testing.T, code uint32, text string) {
		if code == uint32(codes.OK) {
			return
		}
		for _, c := range contracts() {
			got := c.toError(status.Error(codes.Code(code), text))
			if got == nil || errors.Is(got, directory.ErrDenied) {
				t.Fatalf("%s: %d %q comes as %v", c.name, code, text, got)
			}
			kinds := 0
			for _, kind := range []error{store.ErrNotFound, store.ErrConflict, store.ErrInvalid, store.ErrUnavailable, store.ErrFull, store.ErrDamaged,
				directory.ErrNotFound, directory.ErrConflict, directory.ErrInvalid, directory.ErrUnavailable} {
				if errors.Is(got, kind) {
					kinds++
				}
			}
			if kinds > 1 || strings.ContainsAny(got.Error(), "\n\r\x1b") || !utf8.ValidString(got.Error()) {
				t.Errorf("%s: %d %q comes as %q, of %d kinds", c.name, code, text, got, kinds)
			}
		}
		if cut := wire.Text(text); !utf8.ValidString(cut) || len(text) <= wire.MaxText && utf8.ValidString(text) && cut != text {
			t.Errorf("%q is cut to %q", text, cut)
		}
	})
}
