package directorytest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/keywicket/keywicket/core/directory"
)

// importedHash is of "Correct horse, 1".
const importedHash = "$argon2id$v=19$m=256,t=2,p=2$MDEyMzQ1Njc4OWFiY2RlZg$HzRL3ft+bZTuUtmCFNwPhfeI4gKpchDgosGkgrQl0qA"

// ImporterCases returns the promises of directory.Importer. They are not among
// Cases: a directory behind a plugin never is an Importer.
func ImporterCases() []Case {
	return []Case{
		{"import/makes-all", importing(importAll)},
		{"import/all-or-none", importing(importNone)},
		{"import/invalid", importing(importInvalid)},
		{"import/exported-is-equal", importing(importRound)},
		{"import/pages", importing(importPages)},
	}
}

// importable is a directory that takes imports.
type importable interface {
	editable
	directory.Importer
}

func importing(check func(context.Context, importable, Fixture) error) func(context.Context, directory.Directory, Fixture) error {
	return editing(func(ctx context.Context, e editable, f Fixture) error {
		i, ok := e.(importable)
		if !ok {
			return ErrNotOffered
		}
		return check(ctx, i, f)
	})
}

// imports are accounts of every sort, in the order of their names.
func imports() []directory.Import {
	return []directory.Import{
		{Name: prefix + "a", Enabled: true, Groups: []string{"staff", "vpn users"}, PasswordHash: importedHash},
		{Name: prefix + "b"},
		{Name: prefix + "c", Enabled: true, Groups: []string{`a;b\`, " c "}},
	}
}

func sameImport(doing string, got, want directory.Import) error {
	if got.Name != want.Name || got.Enabled != want.Enabled || got.PasswordHash != want.PasswordHash {
		return fmt.Errorf("%s: %q, enabled %v, hash of %d octets; want %q, %v, %d", doing, got.Name, got.Enabled, len(got.PasswordHash), want.Name, want.Enabled, len(want.PasswordHash))
	}
	return wantGroups(doing, got.Groups, want.Groups)
}

func importAll(ctx context.Context, d importable, _ Fixture) error {
	if err := d.Import(ctx, imports()); err != nil {
		return fmt.Errorf("import: %w", err)
	}
	ids := make(map[string]bool)
	for _, want := range imports() {
		got, err := d.Lookup(ctx, want.Name)
		if err != nil {
			return fmt.Errorf("look up what was imported: %w", err)
		}
		if got.Enabled != want.Enabled || got.ID == "" || ids[got.ID] {
			return fmt.Errorf("imported %q, enabled %v, with the ID %q", got.Name, got.Enabled, got.ID)
		}
		ids[got.ID] = true
		if err := wantGroups("imported", got.Groups, want.Groups); err != nil {
			return err
		}
	}
	return errors.Join(
		wantNil("the password of a hash", d.VerifyPassword(ctx, prefix+"a", []byte("Correct horse, 1"))),
		wantErr("another password", d.VerifyPassword(ctx, prefix+"a", []byte("Correct horse, 2")), directory.ErrDenied),
		wantErr("a password without a hash", d.VerifyPassword(ctx, prefix+"c", []byte("Correct horse, 1")), directory.ErrDenied),
	)
}

func importNone(ctx context.Context, d importable, _ Fixture) error {
	all := imports()
	if _, err := d.Add(ctx, all[1].Name, []string{"before"}, nil); err != nil {
		return fmt.Errorf("add: %w", err)
	}
	if err := wantErr("import one that exists", d.Import(ctx, all), directory.ErrConflict); err != nil {
		return err
	}
	got, err := d.Lookup(ctx, all[1].Name)
	if err != nil || !got.Enabled || !slices.Equal(got.Groups, []string{"before"}) {
		return fmt.Errorf("the one that existed is %+v now: %w", got, err)
	}
	return errors.Join(absent(ctx, d, all[0].Name), absent(ctx, d, all[2].Name))
}

func absent(ctx context.Context, d importable, name string) error {
	_, err := d.Lookup(ctx, name)
	return wantErr("look up what was not imported", err, directory.ErrNotFound)
}

func importInvalid(ctx context.Context, d importable, _ Fixture) error {
	secret := "hunter2" + strings.Repeat("x", 300) + "\n"
	good := directory.Import{Name: prefix + "a", Enabled: true}
	for what, bad := range map[string]directory.Import{
		"no name":             {},
		"an empty group":      {Name: prefix + "b", Groups: []string{"staff", ""}},
		"a secret as a group": {Name: prefix + "b", Groups: []string{secret}},
		"no hash":             {Name: prefix + "b", PasswordHash: secret},
		"a password":          {Name: prefix + "b", PasswordHash: "Correct horse, 1"},
	} {
		faults := d.CheckImport(bad)
		if len(faults) == 0 {
			return fmt.Errorf("%s is taken", what)
		}
		for _, fault := range faults {
			if err := wantErr(what, fault, directory.ErrInvalid); err != nil {
				return err
			}
			if text := fault.Error(); strings.Contains(text, "hunter2") || strings.Contains(text, "Correct") {
				return fmt.Errorf("%s is repeated", what)
			}
		}
		if err := wantErr("import "+what, d.Import(ctx, []directory.Import{good, bad}), directory.ErrInvalid); err != nil {
			return err
		}
	}
	if faults := d.CheckImport(good); len(faults) > 0 {
		return fmt.Errorf("a good one is refused: %w", errors.Join(faults...))
	}
	return errors.Join(
		wantErr("import the same twice", d.Import(ctx, []directory.Import{good, good}), directory.ErrInvalid),
		wantErr("import none", d.Import(ctx, nil), directory.ErrInvalid),
		wantErr("import too many", d.Import(ctx, make([]directory.Import, directory.MaxImport+1)), directory.ErrInvalid),
		absent(ctx, d, good.Name),
	)
}

func importRound(ctx context.Context, d importable, f Fixture) error {
	if err := d.Import(ctx, imports()); err != nil {
		return fmt.Errorf("import: %w", err)
	}
	for _, want := range imports() {
		got, err := d.Exported(ctx, want.Name)
		if err != nil {
			return fmt.Errorf("export %q: %w", want.Name, err)
		}
		if err := sameImport("exported", got, want); err != nil {
			return err
		}
		if err := d.Remove(ctx, want.Name); err != nil {
			return fmt.Errorf("remove: %w", err)
		}
		if err := d.Import(ctx, []directory.Import{got}); err != nil {
			return fmt.Errorf("import what was exported: %w", err)
		}
	}
	_, err := d.Exported(ctx, f.Absent)
	return wantErr("export nobody", err, directory.ErrNotFound)
}

func importPages(ctx context.Context, d importable, f Fixture) error {
	if err := d.Import(ctx, imports()); err != nil {
		return fmt.Errorf("import: %w", err)
	}
	want := []string{f.Enabled.Name, f.Disabled.Name, prefix + "a", prefix + "b", prefix + "c"}
	for _, limit := range []int{1, 2, 1000} {
		found, last := make(map[string]bool), ""
		for full := true; full; {
			page, err := d.Export(ctx, last, limit)
			if err != nil {
				return fmt.Errorf("export after %q: %w", last, err)
			}
			for _, a := range page {
				if a.Name <= last {
					return fmt.Errorf("%q comes after %q", a.Name, last)
				}
				found[a.Name], last = true, a.Name
			}
			if full = len(page) == limit; len(page) > limit {
				return fmt.Errorf("%d accounts, limit %d", len(page), limit)
			}
		}
		for _, name := range want {
			if !found[name] {
				return fmt.Errorf("in pages of %d, %q is not exported", limit, name)
			}
		}
	}
	return nil
}
