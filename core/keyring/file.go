//go:build unix

package keyring

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
)

// ReadFile reads a keyring file. It refuses, in words for whoever can mend it,
// what is no regular file, what anyone but the owner may read or change (mode
// other than 0400 and 0600), and what belongs neither to root nor to the user
// of this process, unless that is root. A credential that systemd made may have mode 0440.
func ReadFile(path string) (*Keyring, error) {
	// O_NONBLOCK: opening a named pipe must not wait for its writer.
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, fmt.Errorf("read the keyring: %w", err)
	}
	defer f.Close()
	info, err := f.Stat() // of what was opened: the name could change its meaning
	if err != nil {
		return nil, fmt.Errorf("read the keyring: %w", err)
	}
	if err := checkFile(path, info, os.Geteuid()); err != nil {
		return nil, err
	}
	text := make([]byte, maxText+1)
	defer clear(text)
	n, err := io.ReadFull(f, text)
	if err != nil && !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
		return nil, fmt.Errorf("read the keyring %s: %w", path, err)
	}
	if len(bytes.TrimSpace(text[:n])) == 0 {
		return nil, fmt.Errorf("the keyring %s is empty: restore it from a copy", path)
	}
	k, err := Parse(text[:n])
	if err != nil {
		return nil, fmt.Errorf("the keyring %s cannot be used: %w", path, err)
	}
	return k, nil
}

// checkFile says what is wrong with the file itself for a process of uid.
func checkFile(path string, info os.FileInfo, uid int) error {
	if info.Mode().IsDir() {
		return fmt.Errorf("the keyring %s is a folder: name the file", path)
	}
	if !info.Mode().IsRegular() {
		return fmt.Errorf("the keyring %s is not a regular file", path)
	}
	stat, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return fmt.Errorf("the keyring %s has no owner that could be checked", path)
	}
	perm := info.Mode().Perm()
	if perm != 0o400 && perm != 0o600 && (perm != 0o440 || stat.Uid != 0 || !isCredential(path)) {
		return fmt.Errorf("the keyring %s has mode %04o, so that others may get at the keys: chmod 600 %[1]s", path, perm)
	}
	// Root may read what belongs to the daemon's user: it is who administers.
	if stat.Uid != 0 && uid != 0 && int(stat.Uid) != uid {
		return fmt.Errorf("the keyring %s belongs to uid %d, who is neither root nor the user of this process: chown %d %[1]s", path, stat.Uid, uid)
	}
	if info.Size() > maxText {
		return fmt.Errorf("the keyring %s is too large: %d octets, at most %d are read", path, info.Size(), maxText)
	}
	return nil
}

// isCredential reports whether path is where systemd puts the credentials of a
// system service. It lets a service with User= read them through an access
// control list, whose mask then shows as the mode of the group: 0440, although
// the group may not read (systemd issue 29435). Only root can write there.
func isCredential(path string) bool {
	return strings.HasPrefix(filepath.Clean(path), "/run/credentials/")
}

// WriteFile writes k to a new file of mode 0600 and returns when the file would
// survive a loss of power. It never overwrites: if there is anything at path,
// the error is an fs.ErrExist.
func (k *Keyring) WriteFile(path string) (err error) {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return fmt.Errorf("write the keyring: %w", err)
	}
	defer func() {
		if err != nil {
			os.Remove(path) // ours: it was not there before
		}
	}()
	text := k.Marshal()
	defer clear(text)
	_, err = f.Write(text)
	if err == nil {
		err = f.Chmod(0o600) // whatever the umask says
	}
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err == nil {
		err = syncDir(filepath.Dir(path))
	}
	if err != nil {
		return fmt.Errorf("write the keyring: %w", err)
	}
	return nil
}

// ReplaceFile writes k over the keyring file at path, and returns when the new
// one would survive a loss of power. Until then, and after an error, the file
// is as it was. Owner and mode stay.
func (k *Keyring) ReplaceFile(path string) error {
	info, err := os.Stat(path)
	if err != nil {
		return fmt.Errorf("replace the keyring: %w", err)
	}
	if isCredential(path) {
		return fmt.Errorf("the keyring %s is a credential that systemd made: change the file that LoadCredential= names, and restart", path)
	}
	temporary := path + ".new"
	if err := os.Remove(temporary); err != nil && !errors.Is(err, fs.ErrNotExist) { // of a try that was interrupted
		return fmt.Errorf("replace the keyring: %w", err)
	}
	if err := k.WriteFile(temporary); err != nil {
		return err
	}
	err = os.Chmod(temporary, info.Mode().Perm())
	if stat, ok := info.Sys().(*syscall.Stat_t); ok && err == nil {
		err = os.Chown(temporary, int(stat.Uid), int(stat.Gid))
	}
	if err == nil {
		err = os.Rename(temporary, path)
	}
	if err == nil {
		err = syncDir(filepath.Dir(path))
	}
	if err != nil {
		return errors.Join(fmt.Errorf("replace the keyring: %w", err), os.RemoveAll(temporary))
	}
	return nil
}

// syncDir makes the name of a new file durable, not only its content.
func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
