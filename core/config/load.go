package config

import (
	"bytes"
	"fmt"
	"io/fs"
	"path/filepath"

	"github.com/pelletier/go-toml/v2"
)

// fileMax bounds the file: room for tens of thousands of clients.
const fileMax = 16 << 20

// Load reads the configuration file at path. The error is Faults, except where
// the file can't be read at all. With Faults comes what could be read, so that
// the caller can find those that only it finds, and tell all at once; it is nil
// where the file is not TOML.
func Load(path string) (*File, error) {
	file, info, err := openAny(path)
	if err != nil {
		return nil, fmt.Errorf("read the configuration: %w", err)
	}
	defer func() { _ = file.Close() }() // only read from
	if info.IsDir() {
		return nil, fmt.Errorf("read the configuration: %w", inFolder(path))
	}
	text, err := readMost(file, fileMax)
	if err != nil {
		return nil, fmt.Errorf("read the configuration: %w", err)
	}
	// Absolute, so that a later change of the working folder moves no path.
	whole, err := filepath.Abs(path)
	if err != nil {
		return nil, fmt.Errorf("read the configuration: %w", err)
	}
	return parse(path, filepath.Dir(whole), text, info.Mode())
}

// Parse reads a configuration from text. Faults give name as the file, and
// relative paths start from its folder. The error is Faults, as of Load.
func Parse(name string, text []byte) (*File, error) {
	return parse(name, filepath.Dir(name), text, 0)
}

// parse reads text, which came from a file of that mode in the folder dir.
func parse(name, dir string, text []byte, mode fs.FileMode) (*File, error) {
	text = bytes.TrimPrefix(text, []byte("\ufeff")) // of an editor that marks UTF-8
	values := map[string]any{}
	if err := toml.Unmarshal(text, &values); err != nil {
		return nil, syntaxFaults(name, text, err)
	}
	r := &reader{file: name, dir: dir, positions: findPositions(text), asked: map[string]bool{}}
	f := r.read(values)
	f.Path, f.positions = name, r.positions
	r.checkMode(f, mode)
	return f, r.faults.Err()
}

// checkMode refuses a file that everybody may write: it says which programs run,
// and who is let in.
func (r *reader) checkMode(f *File, mode fs.FileMode) {
	if f.mode = mode; mode.Perm()&0o002 != 0 {
		r.faults = append(r.faults, Fault{File: r.file, Line: 1, Text: fmt.Sprintf("this file has mode %04o, so that everybody on this host can change it; chmod 640 it", mode.Perm())})
	}
}
