package wire

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/keywicket/keywicket/core/directory"
	"github.com/keywicket/keywicket/core/store"
)

// A row pairs an error of a contract with the code that it travels as. gRPC
// makes none of these codes itself but UNAVAILABLE, CANCELLED and
// DEADLINE_EXCEEDED, all of which are an inability.
type row struct {
	err  error
	code codes.Code
}

func storeRows() []row {
	return []row{
		{store.ErrUnavailable, codes.Unavailable}, // first: whoever says this besides something else is not sure
		{store.ErrNotFound, codes.NotFound},
		{store.ErrConflict, codes.Aborted},
		{store.ErrInvalid, codes.InvalidArgument},
		{store.ErrFull, codes.FailedPrecondition},
		{store.ErrDamaged, codes.DataLoss},
		{context.Canceled, codes.Canceled},
		{context.DeadlineExceeded, codes.DeadlineExceeded},
	}
}

// directoryRows has no row for ErrDenied: a plugin that says "wrong" says so in
// an answer, where no broken connection can look like it.
func directoryRows() []row {
	return []row{
		{directory.ErrUnavailable, codes.Unavailable},
		{directory.ErrNotFound, codes.NotFound},
		{directory.ErrConflict, codes.Aborted},
		{directory.ErrInvalid, codes.InvalidArgument},
		{context.Canceled, codes.Canceled},
		{context.DeadlineExceeded, codes.DeadlineExceeded},
	}
}

// StoreStatus returns err, of a store, as a gRPC status. It is nil for nil.
func StoreStatus(err error) error { return toStatus(storeRows(), err) }

// DirectoryStatus returns err, of a directory, as a gRPC status. It is nil for
// nil.
func DirectoryStatus(err error) error { return toStatus(directoryRows(), err) }

// StoreError returns the status of a call as an error of the store's contract.
// A code that the contract has no word for wraps none of its errors.
func StoreError(err error) error { return fromStatus(storeRows(), store.ErrUnavailable, err) }

// DirectoryError does so for a directory.
func DirectoryError(err error) error {
	return fromStatus(directoryRows(), directory.ErrUnavailable, err)
}

func toStatus(rows []row, err error) error {
	if err == nil {
		return nil
	}
	code := codes.Internal
	for _, r := range rows {
		if errors.Is(err, r.err) {
			code = r.code
			break
		}
	}
	return status.Error(code, Text(err.Error()))
}

func fromStatus(rows []row, unavailable, err error) error {
	if err == nil {
		return nil
	}
	s := status.Convert(err)
	for _, r := range rows {
		if r.code != s.Code() {
			continue
		}
		if r.code == codes.Canceled || r.code == codes.DeadlineExceeded {
			return fmt.Errorf("%w: %w (%q)", unavailable, r.err, Text(s.Message()))
		}
		return fmt.Errorf("%w (%q)", r.err, Text(s.Message()))
	}
	return fmt.Errorf("the plugin failed: %s %q", s.Code(), Text(s.Message()))
}

// Text cuts s to MaxText octets, and makes it UTF-8.
func Text(s string) string {
	if len(s) > MaxText {
		s = s[:MaxText] + "…"
	}
	if utf8.ValidString(s) {
		return s
	}
	return strings.ToValidUTF8(s, "\uFFFD")
}
