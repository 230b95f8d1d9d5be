package wire_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/keywicket/keywicket/core/directory"
	"github.com/keywicket/keywicket/core/store"
	"github.com/keywicket/keywicket/plugins/sdk/wire"
)

// A contract is what one of them says, with its conversions.
type contract struct {
	name     string
	toStatus func(error) error
	toError  func(error) error
	errs     map[error]codes.Code // every error of the contract
	gone     error                // its error for an inability
}

func contracts() []contract {
	return []contract{
		{"store", wire.StoreStatus, wire.StoreError, map[error]codes.Code{
			store.ErrNotFound: codes.NotFound, store.ErrConflict: codes.Aborted, store.ErrInvalid: codes.InvalidArgument,
			store.ErrUnavailable: codes.Unavailable, store.ErrFull: codes.FailedPrecondition, store.ErrDamaged: codes.DataLoss,
			context.Canceled: codes.Canceled, context.DeadlineExceeded: codes.DeadlineExceeded,
		}, store.ErrUnavailable},
		{"directory", wire.DirectoryStatus, wire.DirectoryError, map[error]codes.Code{
			directory.ErrNotFound: codes.NotFound, directory.ErrConflict: codes.Aborted, directory.ErrInvalid: codes.InvalidArgument,
			directory.ErrUnavailable: codes.Unavailable, context.Canceled: codes.Canceled, context.DeadlineExceeded: codes.DeadlineExceeded,
		}, directory.ErrUnavailable},
	}
}

// TestErrorsTravelAsCodes sends every error of a contract there and back.
func TestErrorsTravelAsCodes(t *testing.T) {
	for _, c := range contracts() {
		for want, code := range c.errs {
			s := c.toStatus(fmt.Errorf("reading row 7: %w", want))
			if status.Code(s) != code {
				t.Errorf("%s: %q travels as %s, want %s", c.name, want, status.Code(s), code)
			}
			got := c.toError(s)
			if !errors.Is(got, want) {
				t.Errorf("%s: %q comes back as %q", c.name, want, got)
			}
			for other := range c.errs {
				late := other == c.gone && (want == context.Canceled || want == context.DeadlineExceeded)
				if other != want && errors.Is(got, other) != late {
					t.Errorf("%s: %q comes back as %q besides", c.name, want, other)
				}
			}
		}
		if c.toStatus(nil) != nil || c.toError(nil) != nil {
			t.Errorf("%s: no error is one", c.name)
		}
	}
}

// TestEveryCodeHasItsMeaning goes through all codes that gRPC has: one that the
// contract has no word for is an error of none of its kinds.
func TestEveryCodeHasItsMeaning(t *testing.T) {
	for _, c := range contracts() {
		for code := codes.OK + 1; code <= codes.Unauthenticated+3; code++ {
			got := c.toError(status.Error(code, "not found"))
			if got == nil {
				t.Errorf("%s: %s is no error", c.name, code)
			}
			known := false
			for err, its := range c.errs {
				known = known || its == code
				if errors.Is(got, err) && its != code && err != c.gone {
					t.Errorf("%s: %s comes as %q", c.name, code, err)
				}
			}
			if !known && errors.Is(got, c.gone) {
				t.Errorf("%s: %s comes as %q", c.name, code, c.gone)
			}
		}
		if got := c.toError(errors.New("not found")); errors.Is(got, store.ErrNotFound) || got == nil {
			t.Errorf("%s: an error without a code comes as %v", c.name, got)
		}
	}
}

// TestDeniedHasNoCode: no status means that somebody is turned away.
func TestDeniedHasNoCode(t *testing.T) {
	if code := status.Code(wire.DirectoryStatus(directory.ErrDenied)); code != codes.Internal {
		t.Errorf("ErrDenied travels as %s", code)
	}
	for code := codes.OK + 1; code <= codes.Unauthenticated+3; code++ {
		if errors.Is(wire.DirectoryError(status.Error(code, "denied")), directory.ErrDenied) {
			t.Errorf("%s comes as ErrDenied", code)
		}
	}
}

// TestUnsure: who says "unavailable" besides something else is not sure.
func TestUnsure(t *testing.T) {
	both := errors.Join(store.ErrNotFound, store.ErrUnavailable)
	if code := status.Code(wire.StoreStatus(both)); code != codes.Unavailable {
		t.Errorf("it travels as %s", code)
	}
}

func TestTextIsCutAndQuoted(t *testing.T) {
	long := strings.Repeat("x", wire.MaxText+1) + "end"
	for _, c := range contracts() {
		got := c.toError(status.Error(codes.NotFound, "a\nb\xff\x1b[31m"+long)).Error()
		if strings.ContainsAny(got, "\n\x1b") || !utf8.ValidString(got) || strings.Contains(got, "end") {
			t.Errorf("%s: %q", c.name, got)
		}
		if sent := status.Convert(c.toStatus(errors.New("\xff" + long))).Message(); !utf8.ValidString(sent) || len(sent) > wire.MaxText+8 {
			t.Errorf("%s: a text of %d octets is sent", c.name, len(sent))
		}
	}
	if got := wire.Text("short"); got != "short" {
		t.Errorf("%q", got)
	}
	if !slices.Equal([]byte(wire.Text("é\xffé")), []byte("é\uFFFDé")) {
		t.Error("what is no UTF-8 stays")
	}
}
