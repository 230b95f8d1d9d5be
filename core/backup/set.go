package backup

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/keywicket/keywicket/core/internal/record"
	"github.com/keywicket/keywicket/core/keyring"
	"github.com/keywicket/keywicket/core/store"
)

// A Set is a complete backup and the incremental ones that follow it, all of
// which were checked. Close it.
type Set struct {
	Headers []Header
	Records int
	Values  uint64 // in all files
	Octets  uint64 // of the values that stand in the end
	Size    int64  // octets of all files
	Damaged []string

	keys  *keyring.Keyring
	files []*os.File
	index map[string]entry
}

// An entry says where the value of a key is.
type entry struct {
	revision store.Revision
	sum      sum
	file     int
	size     int
	damaged  bool
}

// Check reads whole backups: a complete one, then each incremental one in the
// order in which they were made. Every chunk must open, the chain be complete,
// and every record open and parse. With leaveOut a record that does not is
// named in Damaged and left out; else it is an ErrRecord.
func Check(ctx context.Context, paths []string, keys *keyring.Keyring, leaveOut bool) (_ *Set, err error) {
	s := &Set{keys: keys}
	defer func() {
		if err != nil {
			err = errors.Join(err, s.Close())
		}
	}()
	for i, path := range paths {
		if err := s.add(ctx, i, path, leaveOut); err != nil {
			return nil, fmt.Errorf("%s: %w", path, err)
		}
	}
	meta, ok := s.index[record.KeyMeta]
	if !ok || meta.damaged {
		return nil, fmt.Errorf("%s: %w: the record that says what the store is", paths[len(paths)-1], ErrRecord)
	}
	s.Records = len(s.index)
	for _, e := range s.index {
		s.Octets += uint64(e.size)
	}
	return s, nil
}

// Newest is the header of the last backup.
func (s *Set) Newest() Header { return s.Headers[len(s.Headers)-1] }

// add checks one file and brings the index to its state.
func (s *Set) add(ctx context.Context, number int, path string, leaveOut bool) error {
	f, err := openFile(path)
	if err != nil {
		return err
	}
	s.files = append(s.files, f)
	info, err := f.Stat()
	if err != nil {
		return err
	}
	s.Size += info.Size()
	next := make(map[string]entry)
	s.Damaged = nil // an older value may have been
	h, end, err := read(f, s.keys, s.follows, func(i item) error {
		if err := ctx.Err(); err != nil {
			return err
		}
		e, err := s.entryOf(i, number, leaveOut)
		if e.damaged {
			s.Damaged = append(s.Damaged, i.key)
		}
		next[i.key] = e
		return err
	})
	if err != nil {
		return err
	}
	s.Headers, s.index = append(s.Headers, h), next
	s.Values += end.Values
	return nil
}

// openFile opens a backup, which must be a regular file.
func openFile(path string) (*os.File, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("%w: it is no regular file", ErrNoBackup)
	}
	return os.Open(path)
}

// follows says whether a backup goes on from the one before it.
func (s *Set) follows(h Header) error {
	switch n := len(s.Headers); {
	case n == 0 && h.Complete():
		return nil
	case n == 0:
		return fmt.Errorf("%w: this one goes on from the backup %s", ErrChain, h.Base)
	case h.Complete():
		return fmt.Errorf("%w: this one is complete, and stands behind another", ErrChain)
	case h.Base != s.Headers[n-1].ID:
		return fmt.Errorf("%w: this one goes on from the backup %s, and before it stands %s", ErrChain, h.Base, s.Headers[n-1].ID)
	}
	return nil
}

// entryOf checks one record.
func (s *Set) entryOf(i item, number int, leaveOut bool) (entry, error) {
	if i.kept {
		e, ok := s.index[i.key]
		if !ok || e.revision != i.revision || e.sum != i.sum {
			return e, fmt.Errorf("%w: the value of a record is in neither", ErrChain)
		}
		return e, nil
	}
	e := entry{revision: i.revision, sum: i.sum, file: number, size: len(i.value)}
	err := checkRecord(s.keys, i.key, i.value)
	switch {
	case err == nil:
		return e, nil
	case errors.Is(err, errNewer), errors.Is(err, keyring.ErrVersion):
		return e, fmt.Errorf("%w: the record %q: %w", ErrNewer, i.key, err)
	case leaveOut:
		e.damaged = true
		return e, nil
	case errors.Is(err, keyring.ErrUnknownKey):
		return e, fmt.Errorf("%w: the record %q: %w", ErrKeyring, i.key, err)
	}
	return e, fmt.Errorf("%w: %q: %w; leave such records out, or use another backup", ErrRecord, i.key, err)
}

// each calls fn for every record that stands in the end and is whole, file by
// file and in each in the order of keys, with its sealed value.
func (s *Set) each(ctx context.Context, fn func(key string, sealed []byte) error) error {
	for number, f := range s.files {
		if _, err := f.Seek(0, io.SeekStart); err != nil {
			return err
		}
		same := func(h Header) error {
			if h != s.Headers[number] {
				return fmt.Errorf("%w: it was exchanged while it was read", ErrDamaged)
			}
			return nil
		}
		_, _, err := read(f, s.keys, same, func(i item) error {
			if err := ctx.Err(); err != nil {
				return err
			}
			e, ok := s.index[i.key]
			if i.kept || !ok || e.file != number || e.damaged {
				return nil
			}
			if e.sum != i.sum {
				return fmt.Errorf("%w: it was exchanged while it was read", ErrDamaged)
			}
			return fn(i.key, i.value)
		})
		if err != nil {
			return fmt.Errorf("%s: %w", f.Name(), err)
		}
	}
	return nil
}

// account reads the account record of a name out of the index: whether there
// is one, and whether it was left out.
func (s *Set) account(name string) (there, damaged bool) {
	e, ok := s.index[record.PrefixAccount+name]
	return ok, e.damaged
}

// Close closes the files.
func (s *Set) Close() error {
	var err error
	for _, f := range s.files {
		err = errors.Join(err, f.Close())
	}
	s.files = nil
	return err
}
