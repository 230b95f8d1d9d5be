package directorytest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/keywicket/keywicket/core/directory"
)

func passwordCases() []Case {
	return []Case{
		{"password/right", passwordRight},
		{"password/wrong", passwordWrong},
		{"password/empty", passwordEmpty},
		{"password/disabled", passwordDisabled},
		{"password/absent", passwordAbsent},
		{"password/none-set", passwordNoneSet},
		{"password/very-long", passwordLong},
		{"password/argument-unchanged", passwordUnchanged},
		{"password/context-ended", passwordEnded},
	}
}

func recognizerCases() []Case {
	return []Case{
		{"recognize/right", recognizeRight},
		{"recognize/wrong", recognizeWrong},
		{"recognize/does-not-count", recognizeDoesNotCount},
	}
}

func codeCases() []Case {
	return []Case{
		{"code/wrong", codeWrong},
		{"code/right-once", codeRightOnce},
	}
}

func passwordRight(ctx context.Context, d directory.Directory, f Fixture) error {
	return wantNil("the right password", d.VerifyPassword(ctx, f.Enabled.Name, []byte(f.Enabled.Password)))
}

// nearMisses are passwords that a careless comparison takes for right.
func nearMisses(right, others string) []string {
	return []string{
		right[:len(right)-1], right + "x", right + " ", " " + right, right + "\x00", right + "\n", right[:1],
		strings.ToUpper(right), strings.ToLower(right), strings.Repeat(right, 2), others, "*", "x",
	}
}

func passwordWrong(ctx context.Context, d directory.Directory, f Fixture) error {
	for _, wrong := range nearMisses(f.Enabled.Password, f.Disabled.Password) {
		if wrong == f.Enabled.Password {
			continue
		}
		if err := wantErr(fmt.Sprintf("the password %q", wrong), d.VerifyPassword(ctx, f.Enabled.Name, []byte(wrong)), directory.ErrDenied); err != nil {
			return err
		}
	}
	return nil
}

// passwordEmpty: an LDAP server answers a bind with an empty password with
// success (RFC 4513, section 5.1.2), which is no right password.
func passwordEmpty(ctx context.Context, d directory.Directory, f Fixture) error {
	for _, name := range []string{f.Enabled.Name, f.Disabled.Name, f.NoPassword.Name} {
		for _, empty := range [][]byte{nil, {}} {
			if name == "" {
				continue
			}
			if err := wantErr("an empty password for "+name, d.VerifyPassword(ctx, name, empty), directory.ErrDenied); err != nil {
				return err
			}
		}
	}
	if d.VerifyPassword(ctx, f.Absent, nil) == nil {
		return errors.New("an empty password is right for an account that does not exist")
	}
	return nil
}

func passwordDisabled(ctx context.Context, d directory.Directory, f Fixture) error {
	return wantErr("the right password of a disabled account", d.VerifyPassword(ctx, f.Disabled.Name, []byte(f.Disabled.Password)), directory.ErrDenied)
}

func passwordAbsent(ctx context.Context, d directory.Directory, f Fixture) error {
	return wantErr("a password of an absent account", d.VerifyPassword(ctx, f.Absent, []byte(f.Enabled.Password)), directory.ErrNotFound)
}

func passwordNoneSet(ctx context.Context, d directory.Directory, f Fixture) error {
	if f.NoPassword.Name == "" {
		return ErrNotOffered
	}
	for _, any := range []string{f.NoPassword.Name, f.Enabled.Password, "x", "*", "!", "\x00"} {
		if err := wantErr(fmt.Sprintf("the password %q where none is set", any), d.VerifyPassword(ctx, f.NoPassword.Name, []byte(any)), directory.ErrDenied); err != nil {
			return err
		}
	}
	return nil
}

func passwordLong(ctx context.Context, d directory.Directory, f Fixture) error {
	long := bytes.Repeat([]byte(f.Enabled.Password), (1<<20)/len(f.Enabled.Password))
	err := d.VerifyPassword(ctx, f.Enabled.Name, long)
	if errors.Is(err, directory.ErrInvalid) {
		return nil
	}
	return wantErr("a password of a mebioctet", err, directory.ErrDenied)
}

func passwordUnchanged(ctx context.Context, d directory.Directory, f Fixture) error {
	for _, want := range []string{f.Enabled.Password, "wrong, but as long as it is"} {
		got := []byte(want)
		_ = d.VerifyPassword(ctx, f.Enabled.Name, got)
		if string(got) != want {
			return errors.New("VerifyPassword changed the octets that it was given")
		}
	}
	return nil
}

func passwordEnded(ctx context.Context, d directory.Directory, f Fixture) error {
	ended, cancel := context.WithCancel(ctx)
	cancel()
	return wantNoAnswer("verify the right password", d.VerifyPassword(ended, f.Enabled.Name, []byte(f.Enabled.Password)))
}

func recognizeRight(ctx context.Context, d directory.Directory, f Fixture) error {
	r, ok := d.(directory.Recognizer)
	if !ok {
		return ErrNotOffered
	}
	if err := r.Recognize(ctx, f.Enabled.Name, []byte(f.Enabled.Password)); err != nil {
		return fmt.Errorf("the right password: %w", err)
	}
	return wantNil("the right password of a disabled account", r.Recognize(ctx, f.Disabled.Name, []byte(f.Disabled.Password)))
}

func recognizeWrong(ctx context.Context, d directory.Directory, f Fixture) error {
	r, ok := d.(directory.Recognizer)
	if !ok {
		return ErrNotOffered
	}
	for _, wrong := range append(nearMisses(f.Enabled.Password, f.Disabled.Password), "") {
		if err := wantErr(fmt.Sprintf("the password %q", wrong), r.Recognize(ctx, f.Enabled.Name, []byte(wrong)), directory.ErrDenied); wrong != f.Enabled.Password && err != nil {
			return err
		}
	}
	if f.NoPassword.Name != "" {
		if err := wantErr("a password where none is set", r.Recognize(ctx, f.NoPassword.Name, []byte("x")), directory.ErrDenied); err != nil {
			return err
		}
	}
	return wantErr("a password of an absent account", r.Recognize(ctx, f.Absent, []byte(f.Enabled.Password)), directory.ErrNotFound)
}

// recognizeDoesNotCount: five wrong ones lock an account in most directories.
func recognizeDoesNotCount(ctx context.Context, d directory.Directory, f Fixture) error {
	r, ok := d.(directory.Recognizer)
	if !ok {
		return ErrNotOffered
	}
	for range 12 {
		_ = r.Recognize(ctx, f.Enabled.Name, []byte("wrong"))
	}
	if err := r.Recognize(ctx, f.Enabled.Name, []byte(f.Enabled.Password)); err != nil {
		return fmt.Errorf("the right password after twelve wrong ones: %w", err)
	}
	return wantNil("to sign in after twelve wrong ones were to be recognised", d.VerifyPassword(ctx, f.Enabled.Name, []byte(f.Enabled.Password)))
}

func codeWrong(ctx context.Context, d directory.Directory, f Fixture) error {
	v, ok := d.(directory.CodeVerifier)
	if !ok {
		return ErrNotOffered
	}
	for _, wrong := range []string{"", "not a code", "\x00", strings.Repeat("1", 4096), f.Enabled.Password} {
		if err := wantErr(fmt.Sprintf("the code %.20q", wrong), v.VerifyCode(ctx, f.Enabled.Name, wrong), directory.ErrDenied); err != nil {
			return err
		}
	}
	return wantErr("a code of an absent account", v.VerifyCode(ctx, f.Absent, "123456"), directory.ErrNotFound)
}

func codeRightOnce(ctx context.Context, d directory.Directory, f Fixture) error {
	v, ok := d.(directory.CodeVerifier)
	switch {
	case !ok:
		return ErrNotOffered
	case f.Code == nil:
		return fmt.Errorf("%w: there is no code that is right", ErrNotTried)
	}
	code := f.Code()
	if err := v.VerifyCode(ctx, f.Enabled.Name, code); err != nil {
		return fmt.Errorf("the right code: %w", err)
	}
	return wantErr("the same code again", v.VerifyCode(ctx, f.Enabled.Name, code), directory.ErrDenied)
}
