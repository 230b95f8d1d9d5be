package badgerstore

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"github.com/dgraph-io/badger/v4"
	"golang.org/x/sys/unix"

	"github.com/keywicket/keywicket/core/store"
)

// lockName is a lock of our own: Badger's is taken too late (we read the
// files first) and its error cannot be told from others.
const lockName = "keywicket.lock"

// prepareDir makes dir if need be, restricts and locks it. It refuses a
// directory that holds something else before it touches it.
func prepareDir(dir string) (lock *os.File, err error) {
	switch err := os.Mkdir(dir, 0o700); {
	case errors.Is(err, fs.ErrNotExist):
		return nil, fmt.Errorf("%w: %s does not exist; make it, or correct data_dir: %w", store.ErrUnavailable, filepath.Dir(dir), err)
	case err != nil && !errors.Is(err, fs.ErrExist):
		return nil, fmt.Errorf("%w: the directory %s cannot be made: %w", store.ErrUnavailable, dir, err)
	case err == nil:
		if err := syncDir(filepath.Dir(dir)); err != nil {
			return nil, fmt.Errorf("%w: %w", store.ErrUnavailable, err)
		}
	}
	if err := checkContent(dir); err != nil {
		return nil, err
	}
	if err := os.Chmod(dir, 0o700); err != nil { // whatever the umask, and whoever made it
		return nil, fmt.Errorf("%w: %s must belong to the user that Keywicket runs as: %w", store.ErrUnavailable, dir, err)
	}
	return lockDir(dir)
}

func lockDir(dir string) (*os.File, error) {
	path := filepath.Join(dir, lockName)
	lock, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("%w: the directory %s must be writable for the user that Keywicket runs as: %w", store.ErrUnavailable, dir, err)
	}
	err = unix.Flock(int(lock.Fd()), unix.LOCK_EX|unix.LOCK_NB)
	if errors.Is(err, unix.EWOULDBLOCK) {
		err = fmt.Errorf("%w: the store in %s is open in another process; stop that first (is Keywicket running already?)", store.ErrUnavailable, dir)
	} else if err != nil {
		err = fmt.Errorf("%w: lock %s: %w", store.ErrUnavailable, path, err)
	}
	if err != nil {
		return nil, errors.Join(err, lock.Close())
	}
	return lock, nil
}

// checkContent says whether dir is a store, or empty enough to become one.
func checkContent(dir string) error {
	names, err := readNames(dir)
	if err != nil {
		return err
	}
	if slices.Contains(names, badger.ManifestFilename) {
		return nil
	}
	parts := 0
	for _, name := range names {
		switch filepath.Ext(name) {
		case ".sst", ".mem", ".vlog":
			parts++
			continue
		}
		switch name {
		case badger.KeyRegistryFileName, discardName:
			parts++
		case lockName, ackName, ballastName, "LOCK", "MANIFEST-REWRITE", "lost+found":
		default:
			return fmt.Errorf("%w: %s holds %q and is no store; choose an empty directory", store.ErrUnavailable, dir, name)
		}
	}
	if parts > 0 {
		return fmt.Errorf("%w: %s has lost its MANIFEST; restore a backup", store.ErrDamaged, dir)
	}
	return nil
}

func readNames(dir string) ([]string, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, fmt.Errorf("%w: the directory %s must be readable for the user that Keywicket runs as: %w", store.ErrUnavailable, dir, err)
	}
	names := make([]string, len(entries))
	for i, e := range entries {
		names[i] = e.Name()
	}
	return names, nil
}

const discardName = "DISCARD" // what Badger would collect from its value log

// removeEmpty removes what Badger wants to find whole although nothing of ours
// is ever in it: the value log, what could be collected from it, and the
// registry of encryption keys. Badger makes them anew. So a flipped octet in
// them stops nobody.
func removeEmpty(dir string) error {
	names, err := readNames(dir)
	if err != nil {
		return err
	}
	for _, name := range names {
		if filepath.Ext(name) == ".vlog" || name == discardName || name == badger.KeyRegistryFileName {
			if err := os.Remove(filepath.Join(dir, name)); err != nil {
				return fmt.Errorf("%w: %w", store.ErrUnavailable, err)
			}
		}
	}
	return nil
}

// restrictFiles takes from group and others what the umask left them. Files
// come and go meanwhile.
func restrictFiles(dir string) error {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return fmt.Errorf("restrict files: %w", err)
	}
	for _, e := range entries {
		info, err := e.Info()
		if err == nil && info.Mode().IsRegular() && info.Mode().Perm() != 0o600 {
			err = os.Chmod(filepath.Join(dir, e.Name()), 0o600)
		}
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("restrict files: %w", err)
		}
	}
	return nil
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return fmt.Errorf("sync directory: %w", err)
	}
	if err := errors.Join(d.Sync(), d.Close()); err != nil {
		return fmt.Errorf("sync directory %s: %w", dir, err)
	}
	return nil
}
