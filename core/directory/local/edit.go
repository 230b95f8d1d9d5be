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

	"google.golang.org/protobuf/proto"

	"github.com/keywicket/keywicket/core/directory"
	"github.com/keywicket/keywicket/core/internal/record"
	"github.com/keywicket/keywicket/core/store"
)

const (
	idSize    = 16  // octets
	maxName   = 256 // octets
	maxGroups = 64
	maxGroup  = 64 // characters
	maxTries  = 16 // of one change, when others change the same account
)

// Add implements directory.Editor. A name is at most 256 octets of UTF-8. An
// account has at most 64 groups, each of 1 to 64 printable characters; they are
// sorted, and each is kept once.
func (d *Directory) Add(ctx context.Context, name string, groups []string, password []byte) (directory.Account, error) {
	if err := checkName(name); err != nil {
		return directory.Account{}, err
	}
	groups, err := cleanGroups(groups)
	if err != nil {
		return directory.Account{}, err
	}
	rec := &record.Local{Id: make([]byte, idSize), Enabled: true, Groups: groups, Created: d.now().UnixMilli()}
	if _, err := io.ReadFull(d.rand, rec.Id); err != nil {
		return directory.Account{}, fmt.Errorf("read randomness for an id: %w", err)
	}
	if password != nil {
		if rec.Password, err = d.hash(ctx, password); err != nil {
			return directory.Account{}, err
		}
	}
	op, err := d.put(name, rec)
	if err != nil {
		return directory.Account{}, err
	}
	op.IfAbsent = true
	if _, err := d.store.Apply(ctx, store.Batch{op}); err != nil {
		return directory.Account{}, storeError(fmt.Sprintf("add local account %q", name), err)
	}
	return account(name, rec), nil
}

// SetEnabled implements directory.Editor.
func (d *Directory) SetEnabled(ctx context.Context, name string, enabled bool) error {
	return d.change(ctx, name, func(rec *record.Local) { rec.Enabled = enabled })
}

// SetPassword implements directory.Editor. A main password is 1 to 1024 octets
// and not shaped like an app password.
func (d *Directory) SetPassword(ctx context.Context, name string, password []byte) error {
	if _, _, err := d.read(ctx, name); err != nil {
		return err // before the work
	}
	hash, err := d.hash(ctx, password)
	if err != nil {
		return err
	}
	return d.change(ctx, name, func(rec *record.Local) { rec.Password = hash })
}

// Remove implements directory.Editor. It removes a record that cannot be read,
// too: that is the way out of one that was damaged.
func (d *Directory) Remove(ctx context.Context, name string) error {
	if checkName(name) != nil {
		return notFound(name)
	}
	key := record.PrefixLocal + name
	return d.retry(ctx, name, func() (store.Op, error) {
		e, err := d.store.Get(ctx, key)
		if errors.Is(err, store.ErrNotFound) && !errors.Is(err, store.ErrUnavailable) {
			return store.Op{}, notFound(name)
		}
		if err != nil {
			return store.Op{}, storeError("read local account", err)
		}
		return store.Op{Action: store.Delete, Key: key, IfRevision: e.Revision, Revokes: true}, nil
	})
}

// List implements directory.Editor. One account that cannot be read makes it
// an error that names the account; Remove takes it away.
func (d *Directory) List(ctx context.Context, after string, limit int) ([]directory.Account, error) {
	if limit < 1 {
		return nil, fmt.Errorf("%w: a list of %d accounts", directory.ErrInvalid, limit)
	}
	return page(ctx, d, "list local accounts", after, limit, account)
}

// page makes something of each of up to limit accounts with names greater than
// after. One that cannot be read makes it an error that names the account.
func page[T any](ctx context.Context, d *Directory, doing, after string, limit int, of func(name string, rec *record.Local) T) ([]T, error) {
	entries, err := d.store.Scan(ctx, record.PrefixLocal, record.PrefixLocal+after, limit)
	if err != nil {
		return nil, storeError(doing, err)
	}
	all := make([]T, 0, len(entries))
	for _, e := range entries {
		rec, err := d.open(e)
		if err != nil {
			return nil, err
		}
		all = append(all, of(strings.TrimPrefix(e.Key, record.PrefixLocal), rec))
	}
	return all, nil
}

// change rewrites the record of name as edit says.
func (d *Directory) change(ctx context.Context, name string, edit func(*record.Local)) error {
	return d.retry(ctx, name, func() (store.Op, error) {
		rec, rev, err := d.read(ctx, name)
		if err != nil {
			return store.Op{}, err
		}
		wasEnabled := rec.Enabled
		edit(rec)
		op, err := d.put(name, rec)
		op.IfRevision, op.Revokes = rev, wasEnabled && !rec.Enabled
		return op, err
	})
}

// retry applies what prepare makes of the state that it reads, and begins anew
// when somebody else was faster, up to maxTries times. Each conflict means that
// another's change succeeded.
func (d *Directory) retry(ctx context.Context, name string, prepare func() (store.Op, error)) error {
	var err error
	for range maxTries {
		var op store.Op
		if op, err = prepare(); err != nil {
			return err
		}
		if _, err = d.store.Apply(ctx, store.Batch{op}); !errors.Is(err, store.ErrConflict) {
			break
		}
	}
	if err != nil {
		return storeError(fmt.Sprintf("change local account %q", name), err)
	}
	return nil
}

// put returns the operation that writes rec, still without a demand.
func (d *Directory) put(name string, rec *record.Local) (store.Op, error) {
	plain, err := proto.Marshal(rec)
	if err != nil {
		return store.Op{}, fmt.Errorf("write local account %q: %w", name, err)
	}
	defer clear(plain)
	key := record.PrefixLocal + name
	return store.Op{Action: store.Put, Key: key, Value: d.keys.Seal(record.KindLocal, key, plain)}, nil
}

func checkName(name string) error {
	if name == "" || len(name) > maxName || !utf8.ValidString(name) {
		return fmt.Errorf("%w: a name of %d octets; it is 1 to %d octets of UTF-8", directory.ErrInvalid, len(name), maxName)
	}
	return nil
}

// cleanGroups returns groups sorted and each once, or an ErrInvalid.
func cleanGroups(groups []string) ([]string, error) {
	groups = slices.Clone(groups)
	slices.Sort(groups)
	groups = slices.Compact(groups)
	if len(groups) > maxGroups {
		return nil, fmt.Errorf("%w: %d groups; %d are allowed", directory.ErrInvalid, len(groups), maxGroups)
	}
	for _, g := range groups {
		unprintable := func(r rune) bool { return !unicode.IsPrint(r) }
		if n := utf8.RuneCountInString(g); n == 0 || n > maxGroup || !utf8.ValidString(g) || strings.ContainsFunc(g, unprintable) {
			return nil, fmt.Errorf("%w: group %q; a group is 1 to %d printable characters", directory.ErrInvalid, g, maxGroup)
		}
	}
	return groups, nil
}
