package main

import (
	"context"
	"encoding/csv"
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/crypto/bcrypt"

	"github.com/keywicket/keywicket/core/directory"
	"github.com/keywicket/keywicket/plugins/sdk"
)

func main() { sdk.ServeDirectory(&file{}) }

// A file is the directory. It keeps what it last read.
type file struct {
	Path string `json:"path"`

	mu       sync.Mutex
	changed  time.Time
	accounts map[string]account
}

type account struct {
	directory.Account
	hash string
}

// Configure takes the settings.
func (f *file) Configure(_ context.Context, s sdk.Settings) error {
	if err := s.Decode(f); err != nil {
		return err
	}
	_, err := f.read()
	return err
}

// Lookup implements directory.Directory.
func (f *file) Lookup(_ context.Context, name string) (directory.Account, error) {
	a, err := f.find(name)
	a.Groups, a.Attributes = slices.Clone(a.Groups), maps.Clone(a.Attributes) // the caller's own
	return a.Account, err
}

// VerifyPassword implements directory.Directory.
func (f *file) VerifyPassword(_ context.Context, name string, password []byte) error {
	a, err := f.find(name)
	switch {
	case err != nil:
		return err
	case !a.Enabled || a.hash == "" || len(password) > 72: // bcrypt looks at no more
		return directory.ErrDenied
	case bcrypt.CompareHashAndPassword([]byte(a.hash), password) != nil:
		return directory.ErrDenied
	}
	return nil
}

// Health implements sdk.Checker.
func (f *file) Health(context.Context) error {
	_, err := os.Stat(f.Path)
	return err
}

func (f *file) find(name string) (account, error) {
	accounts, err := f.read()
	if err != nil {
		return account{}, fmt.Errorf("%w: %w", directory.ErrUnavailable, err)
	}
	a, ok := accounts[name]
	if !ok {
		return account{}, directory.ErrNotFound
	}
	return a, nil
}

// read returns the accounts by name. A file with a fault is none at all: who
// would be missing in half of it?
func (f *file) read() (map[string]account, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	info, err := os.Stat(f.Path)
	if err != nil {
		return nil, err
	}
	if f.accounts != nil && info.ModTime().Equal(f.changed) {
		return f.accounts, nil
	}
	text, err := os.Open(f.Path)
	if err != nil {
		return nil, err
	}
	defer func() { _ = text.Close() }() // only read from
	rows, err := csv.NewReader(text).ReadAll()
	if err != nil {
		return nil, err
	}
	if len(rows) == 0 {
		return nil, errors.New(f.Path + " is empty; its first line names the columns")
	}
	accounts := map[string]account{}
	for i, row := range rows[1:] {
		a := parse(rows[0], row)
		if _, twice := accounts[a.Name]; twice || a.Name == "" || a.ID == "" {
			return nil, fmt.Errorf("%s: row %d has no id, no name, or a name that stands there twice", f.Path, i+2)
		}
		accounts[a.Name] = a
	}
	f.accounts, f.changed = accounts, info.ModTime()
	return accounts, nil
}

func parse(columns, row []string) account {
	a := account{Account: directory.Account{Attributes: map[string]string{}}}
	for i, value := range row {
		switch columns[i] {
		case "id":
			a.ID = value
		case "name":
			a.Name = value
		case "enabled":
			a.Enabled = value == "yes"
		case "groups":
			a.Groups = strings.FieldsFunc(value, func(c rune) bool { return c == ';' })
		case "password":
			a.hash = value
		default:
			a.Attributes[columns[i]] = value
		}
	}
	return a
}
