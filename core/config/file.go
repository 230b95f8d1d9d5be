package config

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
)

// ReadFile reads a file that the configuration names, of at most as many octets.
// An error says what to do.
func ReadFile(path string, most int) ([]byte, error) {
	file, _, err := openFile(path)
	if err != nil {
		return nil, err
	}
	defer func() { _ = file.Close() }() // only read from
	return readMost(file, most)
}

// openFile opens a regular file, and says what it is.
func openFile(path string) (*os.File, fs.FileInfo, error) {
	file, info, err := openAny(path)
	switch {
	case errors.Is(err, fs.ErrPermission):
		return nil, nil, fmt.Errorf("%w; chmod 640 it with the group of the daemon, and let that group through its folders", err)
	case err != nil:
		return nil, nil, fmt.Errorf("%w; make the file, or mend its path", err)
	case info.Mode().IsRegular():
		return file, info, nil
	}
	_ = file.Close() // only opened
	if info.IsDir() {
		return nil, nil, fmt.Errorf("%s is a folder; give the path of a file", path)
	}
	return nil, nil, fmt.Errorf("%s is not a regular file; give the path of one", path)
}

// openAny opens whatever there is. It waits for nobody: without O_NONBLOCK a named
// pipe would hold up the start for ever.
func openAny(path string) (*os.File, fs.FileInfo, error) {
	file, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, nil, err
	}
	info, err := file.Stat()
	if err != nil {
		return nil, nil, errors.Join(err, file.Close())
	}
	return file, info, nil
}

func readMost(file *os.File, most int) ([]byte, error) {
	text, err := io.ReadAll(io.LimitReader(file, int64(most)+1))
	if err == nil && len(text) > most {
		err = fmt.Errorf("%s is larger than %d MiB", file.Name(), most>>20)
	}
	return text, err
}

// inFolder says what to name where a folder was.
func inFolder(path string) error {
	name := filepath.Join(path, "keywicket.toml")
	if _, err := os.Stat(name); err != nil {
		return fmt.Errorf("%s is a folder; give the path of the file", path)
	}
	return fmt.Errorf("%s is a folder; the file is %s", path, name)
}
