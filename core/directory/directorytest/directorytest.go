package directorytest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/keywicket/keywicket/core/directory"
)

// ErrNotOffered is what a Case says that is about an interface which the
// directory does not have. It is no fault.
var ErrNotOffered = errors.New("the directory does not offer this")

// ErrNotTried is what a Case says where the Fixture does not have what it takes.
// Whether the directory keeps the promise is not known then.
var ErrNotTried = errors.New("not tried")

// A User is an account that the suite expects to find.
type User struct {
	Name     string
	Password string // the main password; empty: none was ever set
	Groups   []string
}

// A Fixture is what the suite knows of the directory that it is given.
type Fixture struct {
	Enabled    User // with a password and at least one group
	Disabled   User // with a password, other than that of Enabled
	NoPassword User // enabled; an empty Name: the directory has no such accounts
	Absent     string

	// Code gives a security code of Enabled that was not used yet, if the
	// directory is a CodeVerifier. Where it is nil, only refusals are checked.
	Code func() string

	// Change changes something about Enabled from outside, as its administrator
	// does. A Watcher that is no Editor is tried with it; nil: it is not tried.
	Change func(ctx context.Context) error
}

// Standard returns the accounts that Run expects.
func Standard() Fixture {
	return Fixture{
		Enabled:    User{Name: "alain@contoso.com", Password: "Correct horse, battery staple 1", Groups: []string{"staff", "vpn users"}},
		Disabled:   User{Name: "bea@contoso.com", Password: "Another one, \u00e9t\u00e9 2", Groups: []string{"staff"}},
		NoPassword: User{Name: "chloe@contoso.com"},
		Absent:     "nobody@contoso.com",
	}
}

// Fill makes the accounts of f through an Editor.
func Fill(ctx context.Context, e directory.Editor, f Fixture) error {
	for _, u := range []User{f.Enabled, f.Disabled, f.NoPassword} {
		if u.Name == "" {
			continue
		}
		var password []byte
		if u.Password != "" {
			password = []byte(u.Password)
		}
		if _, err := e.Add(ctx, u.Name, u.Groups, password); err != nil {
			return fmt.Errorf("add %s: %w", u.Name, err)
		}
	}
	if err := e.SetEnabled(ctx, f.Disabled.Name, false); err != nil {
		return fmt.Errorf("disable %s: %w", f.Disabled.Name, err)
	}
	return nil
}

// A Case is one promise. Check gets a directory with the accounts of f and
// returns what was broken. It leaves the accounts of f as they are; accounts
// that it adds have names that begin with "keywicket-suite-".
type Case struct {
	Name  string
	Check func(ctx context.Context, d directory.Directory, f Fixture) error
}

// Cases returns every promise of the contract.
func Cases() []Case {
	return slices.Concat(lookupCases(), passwordCases(), recognizerCases(), codeCases(), editorCases(), watcherCases())
}

// patience bounds a case; a directory that does not answer is a fault too.
const patience = 30 * time.Second

// Run runs every case, each on a directory from open. open must give the
// accounts of Standard and close the directory through tb.Cleanup.
func Run(t *testing.T, open func(tb testing.TB) directory.Directory) {
	t.Helper()
	for _, c := range Cases() {
		t.Run(c.Name, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), patience)
			defer cancel()
			err := c.Check(ctx, open(t), Standard())
			if errors.Is(err, ErrNotOffered) || errors.Is(err, ErrNotTried) {
				t.Skip(err)
			}
			if err != nil {
				t.Error(err)
			}
		})
	}
}

// wantErr says what is wrong with err, which should be want and nothing else
// that the contract has a word for.
func wantErr(doing string, err, want error) error {
	if err == nil {
		return fmt.Errorf("%s: no error, want %q", doing, want)
	}
	if !errors.Is(err, want) {
		return fmt.Errorf("%s: error %q does not wrap %q", doing, err, want)
	}
	for _, other := range []error{directory.ErrNotFound, directory.ErrDenied, directory.ErrConflict, directory.ErrInvalid, directory.ErrUnavailable} {
		if !errors.Is(want, other) && errors.Is(err, other) {
			return fmt.Errorf("%s: error %q wraps %q besides %q", doing, err, other, want)
		}
	}
	return nil
}

// wantNil names what should have succeeded.
func wantNil(doing string, err error) error {
	if err != nil {
		return fmt.Errorf("%s: %w", doing, err)
	}
	return nil
}

// wantNoAnswer says what is wrong with the error of a call whose context had
// ended: it must not be a verdict.
func wantNoAnswer(doing string, err error) error {
	if err == nil || errors.Is(err, directory.ErrUnavailable) || errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		for _, verdict := range []error{directory.ErrNotFound, directory.ErrDenied, directory.ErrConflict, directory.ErrInvalid} {
			if errors.Is(err, verdict) {
				return fmt.Errorf("%s: the context had ended, and the error is the verdict %q", doing, err)
			}
		}
		return nil
	}
	return fmt.Errorf("%s: the context had ended, and the error %q does not say so", doing, err)
}

// wantGroups compares groups in any order.
func wantGroups(doing string, got, want []string) error {
	g, w := slices.Sorted(slices.Values(got)), slices.Sorted(slices.Values(want))
	if !slices.Equal(g, w) {
		return fmt.Errorf("%s: groups %q, want %q", doing, g, w)
	}
	return nil
}
