package conversation

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
)

// Name is the program.
const Name = "keywicket-pam"

// Folder is where a package puts it.
const Folder = "/usr/libexec/keywicket"

// Find returns the program: beside the one that runs, or in Folder. It is to be
// run with a password, so its file and folder must be root's, or whoever runs
// it, and writable by nobody else.
func Find() (string, error) {
	var folders []string
	if self, err := os.Executable(); err == nil {
		folders = append(folders, filepath.Dir(self))
	}
	for _, folder := range append(folders, Folder) {
		path := filepath.Join(folder, Name)
		if _, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) {
			continue
		}
		return path, Check(path)
	}
	return "", fmt.Errorf("%s is not there: it is neither beside this program nor in %s; build it with \"go build -o %[2]s/%[1]s ./plugins/pam\", which needs a C compiler and libpam0g-dev", Name, Folder)
}

// Check says what is wrong with the program at path.
func Check(path string) error {
	info, err := os.Stat(path)
	if err != nil {
		return err
	}
	if !info.Mode().IsRegular() || info.Mode()&0o111 == 0 {
		return fmt.Errorf("%s is no program", path)
	}
	whole, err := filepath.EvalSymlinks(path)
	if err != nil {
		return err
	}
	for _, each := range []string{whole, filepath.Dir(whole)} {
		info, err := os.Stat(each)
		if err != nil {
			return err
		}
		owner := info.Sys().(*syscall.Stat_t).Uid
		if owner != 0 && int(owner) != os.Geteuid() || info.Mode()&0o022 != 0 {
			return fmt.Errorf("%s could be changed by others than root (owner %d, mode %04o), and the program is given a password; chown it to root and chmod it go-w", each, owner, info.Mode().Perm())
		}
	}
	return nil
}
