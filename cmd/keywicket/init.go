package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"github.com/keywicket/keywicket/core/config"
	"github.com/keywicket/keywicket/core/keyring"
)

func (a *app) initCommand() *cobra.Command {
	var dir string
	cmd := &cobra.Command{
		Use:   "init",
		Short: "Make a configuration, a keyring and a data directory",
		Long:  "Make DIR/keywicket.toml, DIR/keyring and DIR/data. What is there already is not\ntouched: then nothing is made.",
		Args:  exactArgs(""),
		RunE: func(*cobra.Command, []string) error {
			abs, err := filepath.Abs(dir)
			if err != nil {
				return err
			}
			if err := initialize(abs); err != nil {
				return err
			}
			a.printf("Made in %s:\n\n", abs)
			a.printf("  keywicket.toml  the configuration, with comments\n")
			a.printf("  keyring         the root keys: keep a copy apart from the data; without it nothing can be read\n")
			a.printf("  data            for the store and the audit\n\n")
			a.printf("Next:\n\n  keywicket client new NAME --address ADDRESS --config %s\n  keywicket serve --config %[1]s\n", word(filepath.Join(abs, "keywicket.toml")))
			return nil
		},
	}
	cmd.Flags().StringVar(&dir, "dir", ".", "the `directory` to make them in")
	return cmd
}

// initialize makes the three in dir, or nothing.
func initialize(dir string) error {
	path := func(name string) string { return filepath.Join(dir, name) }
	for _, name := range []string{"keywicket.toml", "keyring", "data"} {
		if _, err := os.Lstat(path(name)); err == nil {
			return fmt.Errorf("%s is there already, and nothing was changed; choose another directory with --dir", path(name))
		} else if !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	if _, err := config.Parse(path("keywicket.toml"), config.Example(dir)); err != nil { // a path too long for a socket
		return fmt.Errorf("nothing was made: what would be written does not hold in this directory; choose another with --dir\n%w", err)
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	keys, err := keyring.New(time.Now())
	if err != nil {
		return err
	}
	made := []string{}
	undo := func(err error) error {
		for _, name := range made {
			err = errors.Join(err, os.Remove(path(name)))
		}
		return err
	}
	if err := keys.WriteFile(path("keyring")); err != nil {
		return undo(err)
	}
	made = append(made, "keyring")
	if err := os.Mkdir(path("data"), 0o700); err != nil {
		return undo(err)
	}
	made = append(made, "data")
	f, err := os.OpenFile(path("keywicket.toml"), os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return undo(err)
	}
	made = append(made, "keywicket.toml")
	_, err = f.Write(config.Example(dir))
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return undo(err)
	}
	return nil
}
