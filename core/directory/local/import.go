package local

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/keywicket/keywicket/core/directory"
	"github.com/keywicket/keywicket/core/internal/record"
	"github.com/keywicket/keywicket/core/store"
)

var _ directory.Importer = (*Directory)(nil)

// batchOctets bounds what one Import writes, well below what a store takes.
const batchOctets = store.MaxBatch / 2

// CheckImport implements directory.Importer.
func (d *Directory) CheckImport(a directory.Import) []error {
	var faults []error
	fault := func(format string, args ...any) {
		faults = append(faults, fmt.Errorf("%w: "+format, append([]any{directory.ErrInvalid}, args...)...))
	}
	if checkName(a.Name) != nil {
		fault("a name of %d octets; it is 1 to %d octets of UTF-8", len(a.Name), maxName)
	}
	if n := distinct(a.Groups); n > maxGroups {
		fault("%d groups; %d are allowed", n, maxGroups)
	}
	for i, g := range a.Groups {
		if why := groupFault(g); why != "" {
			fault("group %d %s; a group is 1 to %d printable characters", i+1, why, maxGroup)
		}
	}
	if a.PasswordHash != "" {
		if _, err := parsePHC(a.PasswordHash); err != nil {
			fault("the password hash is no PHC string of argon2id that can be used: $argon2id$v=19$m=…,t=…,p=…$ with a salt of %d octets and a hash of %d, costing at most m=%d, t=%d, p=%d",
				saltSize, hashSize, maxCost().MemoryKiB, maxCost().Time, maxCost().Threads)
		}
	}
	return faults
}

func distinct(groups []string) int {
	groups = slices.Sorted(slices.Values(groups))
	return len(slices.Compact(groups))
}

// groupFault says what is wrong with a group, without repeating it.
func groupFault(g string) string {
	switch n := utf8.RuneCountInString(g); {
	case !utf8.ValidString(g):
		return "is not UTF-8"
	case n == 0:
		return "is empty"
	case n > maxGroup:
		return fmt.Sprintf("has %d characters", n)
	case strings.ContainsFunc(g, func(r rune) bool { return !unicode.IsPrint(r) }):
		return "has a character that cannot be printed"
	}
	return ""
}

// Import implements directory.Importer: one write for all of them. What would
// be too large for one is an ErrInvalid.
func (d *Directory) Import(ctx context.Context, accounts []directory.Import) error {
	if len(accounts) == 0 || len(accounts) > directory.MaxImport {
		return fmt.Errorf("%w: an import of %d accounts; 1 to %d are allowed", directory.ErrInvalid, len(accounts), directory.MaxImport)
	}
	var batch store.Batch
	size, seen := 0, make(map[string]bool, len(accounts))
	for _, a := range accounts {
		if faults := d.CheckImport(a); len(faults) > 0 {
			return fmt.Errorf("import local account %q: %w", a.Name, errors.Join(faults...))
		}
		if seen[a.Name] {
			return fmt.Errorf("%w: local account %q stands in the import twice", directory.ErrInvalid, a.Name)
		}
		seen[a.Name] = true
		op, err := d.importOp(a)
		if err != nil {
			return err
		}
		if size += len(op.Key) + len(op.Value); size > batchOctets {
			return fmt.Errorf("%w: an import of more than %d octets", directory.ErrInvalid, batchOctets)
		}
		batch = append(batch, op)
	}
	_, err := d.store.Apply(ctx, batch)
	if err != nil {
		return storeError(fmt.Sprintf("import %d local accounts", len(accounts)), err)
	}
	return nil
}

// importOp returns the operation that makes a.
func (d *Directory) importOp(a directory.Import) (store.Op, error) {
	groups, err := cleanGroups(a.Groups)
	if err != nil {
		return store.Op{}, err
	}
	rec := &record.Local{Id: make([]byte, idSize), Enabled: a.Enabled, Groups: groups, Password: a.PasswordHash, Created: d.now().UnixMilli()}
	if _, err := io.ReadFull(d.rand, rec.Id); err != nil {
		return store.Op{}, fmt.Errorf("read randomness for an id: %w", err)
	}
	op, err := d.put(a.Name, rec)
	op.IfAbsent = true
	return op, err
}

// Exported implements directory.Importer.
func (d *Directory) Exported(ctx context.Context, name string) (directory.Import, error) {
	rec, _, err := d.read(ctx, name)
	if err != nil {
		return directory.Import{}, err
	}
	return exported(name, rec), nil
}

// Export implements directory.Importer. One account that cannot be read makes
// it an error that names the account.
func (d *Directory) Export(ctx context.Context, after string, limit int) ([]directory.Import, error) {
	if limit < 1 {
		return nil, fmt.Errorf("%w: an export of %d accounts", directory.ErrInvalid, limit)
	}
	return page(ctx, d, "export local accounts", after, limit, exported)
}

func exported(name string, rec *record.Local) directory.Import {
	return directory.Import{Name: name, Groups: slices.Clone(rec.GetGroups()), Enabled: rec.GetEnabled(), PasswordHash: rec.GetPassword()}
}
