package badgerstore

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"

	"github.com/keywicket/keywicket/core/store"
)

const ackName = "ACKNOWLEDGED"

// An ackFile holds the revision acknowledged last, in 8 octets and a checksum.
//
// It is written after each transaction is on disk and not synced itself, so it
// is never ahead of the database: a database that ends before it has lost
// writes, or an older copy was put in its place. After a loss of power it may
// be behind, and then knows of less to miss. That costs a write into the page
// cache and no sync.
type ackFile struct {
	f    *os.File
	last store.Revision // as found by openAck
}

func openAck(dir string, log *slog.Logger) (*ackFile, error) {
	path := filepath.Join(dir, ackName)
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("%w: %s must be readable and writable: %w", store.ErrUnavailable, path, err)
	}
	b, err := io.ReadAll(io.LimitReader(f, 64))
	if err != nil {
		return nil, errors.Join(fmt.Errorf("%w: read %s: %w", store.ErrUnavailable, path, err), f.Close())
	}
	a := &ackFile{f: f}
	switch {
	case len(b) == 0:
		if err := a.write(0); err != nil { // so that its block is there when the disk is full
			return nil, errors.Join(fmt.Errorf("%w: %w", store.ErrFull, err), f.Close())
		}
	case len(b) != 12 || castagnoli(b[:8]) != binary.BigEndian.Uint32(b[8:]):
		// The records are not in here; to refuse them for it would help nobody.
		log.Warn("the file fails its checksum and is made anew; a loss before now would not be noticed", "file", path)
	default:
		a.last = store.Revision(binary.BigEndian.Uint64(b))
	}
	return a, nil
}

func (a *ackFile) write(last store.Revision) error {
	b := binary.BigEndian.AppendUint64(make([]byte, 0, 12), uint64(last))
	if _, err := a.f.WriteAt(binary.BigEndian.AppendUint32(b, castagnoli(b)), 0); err != nil {
		return fmt.Errorf("write %s: %w", a.f.Name(), err)
	}
	return nil
}

func (a *ackFile) sync() error {
	if err := a.f.Sync(); err != nil {
		return fmt.Errorf("sync %s: %w", a.f.Name(), err)
	}
	return nil
}

func (a *ackFile) close() error { return errors.Join(a.sync(), a.f.Close()) }

func lostError(dir string, last, acknowledged store.Revision) error {
	return fmt.Errorf("%w: the store in %s ends at revision %d, but revision %d was acknowledged: "+
		"a file was damaged, or an older copy put back; restore a backup, or remove %s to go on without what is missing",
		store.ErrDamaged, dir, last, acknowledged, filepath.Join(dir, ackName))
}
