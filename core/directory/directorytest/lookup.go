package directorytest

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"slices"

	"github.com/keywicket/keywicket/core/directory"
)

func lookupCases() []Case {
	return []Case{
		{"lookup/known", lookupKnown},
		{"lookup/disabled", lookupDisabled},
		{"lookup/absent", lookupAbsent},
		{"lookup/ids-stay-and-differ", lookupIDs},
		{"lookup/names-are-no-patterns", lookupPatterns},
		{"lookup/two-step", lookupTwoStep},
		{"lookup/not-shared", lookupNotShared},
		{"lookup/context-ended", lookupEnded},
		{"lookup/at-the-same-time", lookupConcurrently},
		{"at-hand/what-lookup-says", lookupAtHand},
	}
}

func lookupKnown(ctx context.Context, d directory.Directory, f Fixture) error {
	a, err := d.Lookup(ctx, f.Enabled.Name)
	if err != nil {
		return fmt.Errorf("look up %q: %w", f.Enabled.Name, err)
	}
	switch {
	case a.Name != f.Enabled.Name:
		return fmt.Errorf("asked for %q, got %q", f.Enabled.Name, a.Name)
	case !a.Enabled:
		return fmt.Errorf("%q is not enabled", a.Name)
	case a.ID == "" || len(a.ID) > 256:
		return fmt.Errorf("an ID of %d octets; 1 to 256 are allowed", len(a.ID))
	}
	return wantGroups("look up", a.Groups, f.Enabled.Groups)
}

func lookupDisabled(ctx context.Context, d directory.Directory, f Fixture) error {
	a, err := d.Lookup(ctx, f.Disabled.Name)
	if err != nil {
		return fmt.Errorf("a disabled account is returned, not refused: %w", err)
	}
	if a.Enabled || a.Name != f.Disabled.Name || a.ID == "" {
		return fmt.Errorf("name %q, ID %q, enabled %v", a.Name, a.ID, a.Enabled)
	}
	return wantGroups("look up", a.Groups, f.Disabled.Groups)
}

func lookupAbsent(ctx context.Context, d directory.Directory, f Fixture) error {
	a, err := d.Lookup(ctx, f.Absent)
	if a.ID != "" || a.Enabled {
		return fmt.Errorf("an account beside the error: ID %q, enabled %v", a.ID, a.Enabled)
	}
	return wantErr("look up "+f.Absent, err, directory.ErrNotFound)
}

func lookupIDs(ctx context.Context, d directory.Directory, f Fixture) error {
	seen := make(map[string]string)
	for _, name := range []string{f.Enabled.Name, f.Disabled.Name, f.NoPassword.Name} {
		if name == "" {
			continue
		}
		a, err := d.Lookup(ctx, name)
		if err != nil {
			return fmt.Errorf("look up %q: %w", name, err)
		}
		b, err := d.Lookup(ctx, name)
		if err != nil {
			return fmt.Errorf("look up %q again: %w", name, err)
		}
		if a.ID != b.ID {
			return fmt.Errorf("the ID of %q was %q, then %q", name, a.ID, b.ID)
		}
		if other, ok := seen[a.ID]; ok {
			return fmt.Errorf("%q and %q have the same ID", other, name)
		}
		seen[a.ID] = name
	}
	return nil
}

// lookupPatterns asks with what LDAP (RFC 4515), SQL, shells and C take for
// more than a name.
func lookupPatterns(ctx context.Context, d directory.Directory, f Fixture) error {
	name := f.Enabled.Name
	for _, n := range []string{
		"*", name[:1] + "*", "%", name[:1] + "%", "_" + name[1:], "?" + name[1:], "." + name[1:],
		name + ")(cn=*", "*)(|(cn=*", "' OR '1'='1", name + "' --", "\\" + name, name + "\x00", name + "\n",
		name[:len(name)-1], name + name[len(name)-1:], "../" + name, "", "$(echo " + name + ")",
	} {
		a, err := d.Lookup(ctx, n)
		if err == nil {
			return fmt.Errorf("look up %q: found %q", n, a.Name)
		}
		if !errors.Is(err, directory.ErrNotFound) && !errors.Is(err, directory.ErrInvalid) {
			return fmt.Errorf("look up %q: error %q is neither ErrNotFound nor ErrInvalid", n, err)
		}
		if d.VerifyPassword(ctx, n, []byte(f.Enabled.Password)) == nil {
			return fmt.Errorf("the password of %q is right for %q", name, n)
		}
	}
	return nil
}

func lookupTwoStep(ctx context.Context, d directory.Directory, f Fixture) error {
	_, verifies := d.(directory.CodeVerifier)
	for _, name := range []string{f.Enabled.Name, f.Disabled.Name} {
		a, err := d.Lookup(ctx, name)
		if err != nil {
			return fmt.Errorf("look up %q: %w", name, err)
		}
		if a.TwoStep > directory.On {
			return fmt.Errorf("%q: two-step verification is %d, which is nothing", name, a.TwoStep)
		}
		if verifies && a.TwoStep == directory.NotMine {
			return fmt.Errorf("%q: the directory verifies codes and says NotMine", name)
		}
	}
	return nil
}

func lookupNotShared(ctx context.Context, d directory.Directory, f Fixture) error {
	a, err := d.Lookup(ctx, f.Enabled.Name)
	if err != nil {
		return fmt.Errorf("look up: %w", err)
	}
	for i := range a.Groups {
		a.Groups[i] = "changed by the caller"
	}
	if a.Attributes != nil {
		a.Attributes["changed by the caller"] = "yes"
	}
	b, err := d.Lookup(ctx, f.Enabled.Name)
	if err != nil {
		return fmt.Errorf("look up again: %w", err)
	}
	if _, ok := b.Attributes["changed by the caller"]; ok || slices.Contains(b.Groups, "changed by the caller") {
		return errors.New("what the caller changed comes back in the next answer")
	}
	return nil
}

func lookupEnded(ctx context.Context, d directory.Directory, f Fixture) error {
	ended, cancel := context.WithCancel(ctx)
	cancel()
	_, err := d.Lookup(ended, f.Enabled.Name)
	return wantNoAnswer("look up", err)
}

func lookupConcurrently(ctx context.Context, d directory.Directory, f Fixture) error {
	const callers = 8
	errs := make(chan error, callers)
	for i := range callers {
		go func() {
			u := []User{f.Enabled, f.Disabled}[i%2]
			a, err := d.Lookup(ctx, u.Name)
			switch {
			case err != nil:
				errs <- fmt.Errorf("look up %q: %w", u.Name, err)
				return
			case a.Name != u.Name || a.Enabled != (i%2 == 0):
				errs <- fmt.Errorf("asked for %q, got %q, enabled %v", u.Name, a.Name, a.Enabled)
				return
			}
			if err := d.VerifyPassword(ctx, u.Name, []byte(u.Password)); (err == nil) != (i%2 == 0) {
				errs <- fmt.Errorf("the password of %q, enabled %v: %v", u.Name, a.Enabled, err)
				return
			}
			errs <- nil
		}()
	}
	var all []error
	for range callers {
		all = append(all, <-errs)
	}
	return errors.Join(all...)
}

// lookupAtHand compares what is at hand with what Lookup says.
func lookupAtHand(ctx context.Context, d directory.Directory, f Fixture) error {
	near, ok := d.(directory.Nearby)
	if !ok {
		return ErrNotOffered
	}
	for _, name := range []string{f.Enabled.Name, f.Disabled.Name, f.Absent} {
		a, err := d.Lookup(ctx, name)
		if err != nil && !errors.Is(err, directory.ErrNotFound) {
			return err
		}
		if b, ok := near.AtHand(name); ok && (err != nil || !reflect.DeepEqual(a, b)) {
			return fmt.Errorf("%q is at hand as %+v, and looked up it is %+v, error %w", name, b, a, err)
		}
	}
	return nil
}
