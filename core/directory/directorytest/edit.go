package directorytest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/keywicket/keywicket/core/directory"
)

const (
	prefix = "keywicket-suite-"
	before = "Password before, 1"
	after  = "Password after, 2"
)

func editorCases() []Case {
	return []Case{
		{"edit/add", editing(editAdd)},
		{"edit/add-existing", editing(editAddExisting)},
		{"edit/add-once-of-many", editing(editAddOnce)},
		{"edit/without-password", editing(editWithoutPassword)},
		{"edit/invalid", editing(editInvalid)},
		{"edit/enable-and-disable", editing(editEnabled)},
		{"edit/set-password", editing(editPassword)},
		{"edit/remove", editing(editRemove)},
		{"edit/absent", editing(editAbsent)},
		{"edit/changes-at-the-same-time", editing(editTogether)},
		{"edit/list", editing(editList)},
	}
}

// editable is a directory that can be changed.
type editable interface {
	directory.Directory
	directory.Editor
}

// editing runs check if the directory is an Editor, and takes away afterwards
// what it may have added.
func editing(check func(context.Context, editable, Fixture) error) func(context.Context, directory.Directory, Fixture) error {
	return func(ctx context.Context, d directory.Directory, f Fixture) error {
		e, ok := d.(editable)
		if !ok {
			return ErrNotOffered
		}
		defer func() {
			for _, name := range []string{"a", "b", "c"} {
				_ = e.Remove(context.WithoutCancel(ctx), prefix+name) // most are not there
			}
		}()
		return check(ctx, e, f)
	}
}

func editAdd(ctx context.Context, e editable, _ Fixture) error {
	groups := []string{"staff", "vpn users"}
	added, err := e.Add(ctx, prefix+"a", groups, []byte(before))
	if err != nil {
		return fmt.Errorf("add: %w", err)
	}
	got, err := e.Lookup(ctx, prefix+"a")
	if err != nil {
		return fmt.Errorf("look up what was added: %w", err)
	}
	if got.ID != added.ID || got.Name != prefix+"a" || added.Name != got.Name || !got.Enabled || !added.Enabled || got.ID == "" {
		return fmt.Errorf("added %+v, found %+v", added, got)
	}
	if err := errors.Join(wantGroups("added", added.Groups, groups), wantGroups("found", got.Groups, groups)); err != nil {
		return err
	}
	return wantNil("its password", e.VerifyPassword(ctx, prefix+"a", []byte(before)))
}

func editAddExisting(ctx context.Context, e editable, f Fixture) error {
	old, err := e.Lookup(ctx, f.Enabled.Name)
	if err != nil {
		return fmt.Errorf("look up: %w", err)
	}
	_, err = e.Add(ctx, f.Enabled.Name, []string{"other"}, []byte(after))
	if err := wantErr("add what exists", err, directory.ErrConflict); err != nil {
		return err
	}
	got, err := e.Lookup(ctx, f.Enabled.Name)
	if err != nil || got.ID != old.ID {
		return fmt.Errorf("after an Add that was refused: ID %q, was %q: %v", got.ID, old.ID, err)
	}
	if err := wantGroups("after an Add that was refused", got.Groups, old.Groups); err != nil {
		return err
	}
	return wantNil("the password after an Add that was refused", e.VerifyPassword(ctx, f.Enabled.Name, []byte(f.Enabled.Password)))
}

func editAddOnce(ctx context.Context, e editable, _ Fixture) error {
	const callers = 6
	errs := make(chan error, callers)
	for range callers {
		go func() {
			_, err := e.Add(ctx, prefix+"a", nil, nil)
			errs <- err
		}()
	}
	made := 0
	var all []error
	for range callers {
		if err := <-errs; err == nil {
			made++
		} else {
			all = append(all, wantErr("add at the same time", err, directory.ErrConflict))
		}
	}
	if made != 1 {
		all = append(all, fmt.Errorf("%d of %d Adds of one name succeeded", made, callers))
	}
	return errors.Join(all...)
}

func editWithoutPassword(ctx context.Context, e editable, _ Fixture) error {
	if _, err := e.Add(ctx, prefix+"a", nil, nil); err != nil {
		return fmt.Errorf("add: %w", err)
	}
	for _, p := range []string{"", "x", before} {
		if err := wantErr("a password where none is set", e.VerifyPassword(ctx, prefix+"a", []byte(p)), directory.ErrDenied); err != nil {
			return err
		}
	}
	if err := e.SetPassword(ctx, prefix+"a", []byte(before)); err != nil {
		return fmt.Errorf("set the first password: %w", err)
	}
	return wantNil("the first password", e.VerifyPassword(ctx, prefix+"a", []byte(before)))
}

func editInvalid(ctx context.Context, e editable, f Fixture) error {
	_, noName := e.Add(ctx, "", nil, []byte(before))
	_, noGroup := e.Add(ctx, prefix+"a", []string{""}, []byte(before))
	_, noPassword := e.Add(ctx, prefix+"a", nil, []byte{})
	if err := errors.Join(
		wantErr("add an empty name", noName, directory.ErrInvalid),
		wantErr("add an empty group", noGroup, directory.ErrInvalid),
		wantErr("add with an empty password", noPassword, directory.ErrInvalid),
		wantErr("set an empty password", e.SetPassword(ctx, f.Enabled.Name, []byte{}), directory.ErrInvalid),
		wantErr("set no password", e.SetPassword(ctx, f.Enabled.Name, nil), directory.ErrInvalid),
	); err != nil {
		return err
	}
	if _, err := e.Lookup(ctx, prefix+"a"); !errors.Is(err, directory.ErrNotFound) {
		return fmt.Errorf("an Add that was invalid left an account: %v", err)
	}
	return wantNil("the password after invalid ones were refused", e.VerifyPassword(ctx, f.Enabled.Name, []byte(f.Enabled.Password)))
}

func editEnabled(ctx context.Context, e editable, _ Fixture) error {
	if _, err := e.Add(ctx, prefix+"a", []string{"staff"}, []byte(before)); err != nil {
		return fmt.Errorf("add: %w", err)
	}
	for _, enabled := range []bool{false, false, true, true} {
		if err := e.SetEnabled(ctx, prefix+"a", enabled); err != nil {
			return fmt.Errorf("set enabled to %v: %w", enabled, err)
		}
		got, err := e.Lookup(ctx, prefix+"a")
		if err != nil || got.Enabled != enabled {
			return fmt.Errorf("enabled is %v after it was set to %v: %v", got.Enabled, enabled, err)
		}
		if err := wantGroups("after a change", got.Groups, []string{"staff"}); err != nil {
			return err
		}
		err = e.VerifyPassword(ctx, prefix+"a", []byte(before))
		if enabled {
			err = wantNil("the password of an enabled account", err)
		} else {
			err = wantErr("the password of a disabled account", err, directory.ErrDenied)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func editPassword(ctx context.Context, e editable, _ Fixture) error {
	added, err := e.Add(ctx, prefix+"a", nil, []byte(before))
	if err != nil {
		return fmt.Errorf("add: %w", err)
	}
	if err := e.SetPassword(ctx, prefix+"a", []byte(after)); err != nil {
		return fmt.Errorf("set the password: %w", err)
	}
	got, err := e.Lookup(ctx, prefix+"a")
	if err != nil || got.ID != added.ID {
		return fmt.Errorf("ID %q after the password was set, was %q: %v", got.ID, added.ID, err)
	}
	return errors.Join(
		wantErr("the old password", e.VerifyPassword(ctx, prefix+"a", []byte(before)), directory.ErrDenied),
		wantNil("the new password", e.VerifyPassword(ctx, prefix+"a", []byte(after))),
	)
}

func editRemove(ctx context.Context, e editable, _ Fixture) error {
	old, err := e.Add(ctx, prefix+"a", nil, []byte(before))
	if err != nil {
		return fmt.Errorf("add: %w", err)
	}
	if err := e.Remove(ctx, prefix+"a"); err != nil {
		return fmt.Errorf("remove: %w", err)
	}
	_, gone := e.Lookup(ctx, prefix+"a")
	if err := errors.Join(
		wantErr("look up what was removed", gone, directory.ErrNotFound),
		wantErr("its password", e.VerifyPassword(ctx, prefix+"a", []byte(before)), directory.ErrNotFound),
		wantErr("remove it again", e.Remove(ctx, prefix+"a"), directory.ErrNotFound),
	); err != nil {
		return err
	}
	again, err := e.Add(ctx, prefix+"a", nil, nil)
	if err != nil {
		return fmt.Errorf("add under the same name: %w", err)
	}
	if again.ID == old.ID {
		return errors.New("an account made later under the same name has the same ID")
	}
	return wantErr("the password of the account before it", e.VerifyPassword(ctx, prefix+"a", []byte(before)), directory.ErrDenied)
}

func editAbsent(ctx context.Context, e editable, f Fixture) error {
	if err := errors.Join(
		wantErr("enable", e.SetEnabled(ctx, f.Absent, true), directory.ErrNotFound),
		wantErr("set the password", e.SetPassword(ctx, f.Absent, []byte(after)), directory.ErrNotFound),
		wantErr("remove", e.Remove(ctx, f.Absent), directory.ErrNotFound),
	); err != nil {
		return err
	}
	_, err := e.Lookup(ctx, f.Absent)
	return wantErr("look up", err, directory.ErrNotFound)
}

func editTogether(ctx context.Context, e editable, _ Fixture) error {
	if _, err := e.Add(ctx, prefix+"a", nil, []byte(before)); err != nil {
		return fmt.Errorf("add: %w", err)
	}
	for range 4 {
		errs := make(chan error, 2)
		go func() { errs <- wantNil("set the password", e.SetPassword(ctx, prefix+"a", []byte(after))) }()
		go func() { errs <- wantNil("disable", e.SetEnabled(ctx, prefix+"a", false)) }()
		if err := errors.Join(<-errs, <-errs); err != nil {
			return err
		}
		got, err := e.Lookup(ctx, prefix+"a")
		if err != nil || got.Enabled {
			return fmt.Errorf("enabled %v after it was disabled: %v", got.Enabled, err)
		}
		if err := errors.Join(
			wantNil("enable", e.SetEnabled(ctx, prefix+"a", true)),
			wantNil("the password that was set", e.VerifyPassword(ctx, prefix+"a", []byte(after))),
			wantNil("set the password back", e.SetPassword(ctx, prefix+"a", []byte(before))),
		); err != nil {
			return err
		}
	}
	return nil
}

func editList(ctx context.Context, e editable, f Fixture) error {
	for _, name := range []string{"c", "a", "b"} { // not in their order
		if _, err := e.Add(ctx, prefix+name, []string{name}, nil); err != nil {
			return fmt.Errorf("add: %w", err)
		}
	}
	for _, limit := range []int{1, 2, 3, 1000} {
		names, last := []string(nil), ""
		for full := true; full; {
			page, err := e.List(ctx, last, limit)
			if err != nil {
				return fmt.Errorf("list after %q: %w", last, err)
			}
			if len(page) > limit {
				return fmt.Errorf("%d accounts, limit %d", len(page), limit)
			}
			for _, a := range page {
				if a.Name <= last {
					return fmt.Errorf("%q comes after %q", a.Name, last)
				}
				if suffix, ours := strings.CutPrefix(a.Name, prefix); ours && !slices.Equal(a.Groups, []string{suffix}) {
					return fmt.Errorf("%q is listed with the groups %q", a.Name, a.Groups)
				}
				names, last = append(names, a.Name), a.Name
			}
			full = len(page) == limit
		}
		for _, want := range []string{f.Enabled.Name, f.Disabled.Name, prefix + "a", prefix + "b", prefix + "c"} {
			if !slices.Contains(names, want) {
				return fmt.Errorf("in pages of %d, %q is not listed", limit, want)
			}
		}
	}
	return nil
}
