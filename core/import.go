package core

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/keywicket/keywicket/core/directory"
)

// MaxImport is the most accounts of one Import.
const MaxImport = directory.MaxImport

// An ImportAccount is an account as a file of accounts has it.
type ImportAccount struct {
	Name    string
	Groups  []string
	Enabled bool

	// PasswordHash is the hash of the main password, in the PHC string format of
	// argon2id; empty: none. It is a secret: it is in no error and no event.
	PasswordHash string
}

// An ImportCheck is what stands against an import of one account.
type ImportCheck struct {
	Faults []string // for a person; they repeat neither a group nor a hash
	Exists bool
	Equal  bool // it exists as it would be imported
}

// importer returns the directory as one that takes imports.
func (e *Engine) importer() (directory.Importer, error) {
	d, ok := e.directory.(directory.Importer)
	if !ok {
		return nil, invalid("import", "the accounts are kept by the configured directory; import and export them there")
	}
	return d, nil
}

// CheckImport says what stands against making the account a. One that exists
// is a fault, but where resume is true and nothing about it differs: an import
// that was interrupted can be repeated. What a leaves out of the main password
// does not differ.
func (e *Engine) CheckImport(ctx context.Context, a ImportAccount, resume bool) (ImportCheck, error) {
	d, err := e.importer()
	if err != nil {
		return ImportCheck{}, err
	}
	_, c, err := e.checkImport(ctx, d, a, resume)
	return c, err
}

// checkImport is CheckImport; it returns the account with its normalised name.
func (e *Engine) checkImport(ctx context.Context, d directory.Importer, a ImportAccount, resume bool) (directory.Import, ImportCheck, error) {
	var c ImportCheck
	entry := directory.Import{Groups: a.Groups, Enabled: a.Enabled, PasswordHash: a.PasswordHash}
	name, fault := importName(a.Name)
	if fault != "" {
		c.Faults = append(c.Faults, fault)
		entry.Name = "account" // so that the rest is looked at too
	} else {
		entry.Name = name
	}
	for _, err := range d.CheckImport(entry) {
		c.Faults = append(c.Faults, strings.TrimPrefix(err.Error(), directory.ErrInvalid.Error()+": "))
	}
	if fault != "" {
		return entry, c, nil
	}
	there, err := d.Exported(ctx, name)
	switch err = directoryError("import", err); KindOf(err) {
	case 0:
	case KindNotFound:
		return entry, c, nil
	case KindDamaged:
		c.Exists = true
		c.Faults = append(c.Faults, fmt.Sprintf("the account %q exists, and its record cannot be read; delete it first", shown(name)))
		return entry, c, nil
	default:
		return entry, c, err
	}
	c.Exists = true
	differs := difference(there, entry)
	switch {
	case !resume:
		c.Faults = append(c.Faults, fmt.Sprintf("the account %q exists already", shown(name)))
	case differs != "":
		c.Faults = append(c.Faults, fmt.Sprintf("the account %q exists already, with %s", shown(name), differs))
	default:
		c.Equal = len(c.Faults) == 0
	}
	return entry, c, nil
}

// importName returns the normalised name of an account that is imported, or
// what is wrong with it. A name that looks like a secret is not repeated: the
// columns of the file may be mixed up.
func importName(typed string) (name, fault string) {
	if typed == "" {
		return "", "the name is empty"
	}
	if strings.HasPrefix(typed, "$") && strings.Count(typed, "$") > 2 {
		return "", "the name looks like the hash of a password; are the columns mixed up?"
	}
	name, err := NormalizeAccount(typed)
	var e *Error
	switch {
	case errors.As(err, &e):
		return "", e.Err.Error()
	case isText(name):
		return "", "the name is shaped like an app password; choose another"
	}
	return name, ""
}

// difference says in words what of an account is not as it is imported, or "".
func difference(there, wanted directory.Import) string {
	var all []string
	groups := func(list []string) []string { return slices.Compact(slices.Sorted(slices.Values(list))) }
	if !slices.Equal(groups(there.Groups), groups(wanted.Groups)) {
		all = append(all, "other groups")
	}
	switch {
	case there.Enabled && !wanted.Enabled:
		all = append(all, "its state enabled")
	case !there.Enabled && wanted.Enabled:
		all = append(all, "its state disabled")
	}
	if wanted.PasswordHash != "" && wanted.PasswordHash != there.PasswordHash {
		all = append(all, "another main password")
	}
	return strings.Join(all, " and ")
}

// Import makes up to MaxImport accounts in one write, all or none, and returns
// how many it made. Where resume is true, those that exist and are equal are
// passed over. What CheckImport finds ends it: KindConflict for an account that
// exists, else KindInvalid.
func (e *Engine) Import(ctx context.Context, accounts []ImportAccount, resume bool) (made int, err error) {
	d, err := e.importer()
	if err != nil {
		return 0, err
	}
	if err := e.recordable(); err != nil {
		return 0, err
	}
	var batch []directory.Import
	for _, a := range accounts {
		entry, c, err := e.checkImport(ctx, d, a, resume)
		switch {
		case err != nil:
			return 0, err
		case c.Equal:
			continue
		case len(c.Faults) > 0 && c.Exists:
			return 0, &Error{Op: "import", Kind: KindConflict, Err: errors.New(strings.Join(c.Faults, "; "))}
		case len(c.Faults) > 0:
			return 0, invalid("import", "the account %q: %s", shown(a.Name), strings.Join(c.Faults, "; "))
		}
		batch = append(batch, entry)
	}
	if len(batch) == 0 {
		return 0, nil
	}
	err = directoryError("import", d.Import(ctx, batch))
	for _, a := range batch {
		e.cache.drop(a.Name)
	}
	if err != nil && !e.wasImported(ctx, d, batch[0], err) {
		return 0, err
	}
	for _, a := range batch {
		e.record(ctx, Event{Kind: EventAccountAdded, Account: a.Name, Detail: "imported"})
	}
	return len(batch), nil
}

// importLook is how long the directory may take to say what became of a write.
const importLook = 5 * time.Second

// wasImported says whether the write that failed with err happened after all,
// and only its answer was lost. Without it the audit would lack accounts: who
// repeats the import finds them there, and passes over them.
func (e *Engine) wasImported(ctx context.Context, d directory.Importer, first directory.Import, err error) bool {
	if k := KindOf(err); k == KindConflict || k == KindInvalid {
		return false
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), importLook)
	defer cancel()
	there, err := d.Exported(ctx, first.Name)
	return err == nil && difference(there, first) == "" && there.PasswordHash == first.PasswordHash
}

// Export returns up to limit accounts with names greater than after, as they
// would be imported. The hashes of main passwords are only among it where they
// are asked for; that is an event.
func (e *Engine) Export(ctx context.Context, after string, limit int, hashes bool) ([]ImportAccount, error) {
	d, err := e.importer()
	if err != nil {
		return nil, err
	}
	if hashes && after == "" {
		if err := e.recordable(); err != nil {
			return nil, err
		}
		e.record(ctx, Event{Kind: EventExported})
	}
	page, err := d.Export(ctx, after, limit)
	if err != nil {
		return nil, directoryError("export", err)
	}
	all := make([]ImportAccount, len(page))
	for i, a := range page {
		all[i] = ImportAccount{Name: a.Name, Groups: a.Groups, Enabled: a.Enabled}
		if hashes {
			all[i].PasswordHash = a.PasswordHash
		}
	}
	return all, nil
}
