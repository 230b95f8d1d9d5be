package main

import (
	"bytes"
	"fmt"
	"os"

	"github.com/pelletier/go-toml/v2"

	"github.com/keywicket/keywicket/core/directory/directorytest"
)

// A fixtureUser is an account in the file of --accounts.
type fixtureUser struct {
	Name     string   `toml:"name"`
	Password string   `toml:"password"`
	Groups   []string `toml:"groups"`
}

func (u fixtureUser) user() directorytest.User {
	return directorytest.User{Name: u.Name, Password: u.Password, Groups: u.Groups}
}

// readFixture reads the accounts that a directory is checked with. No error
// repeats what is in the file: it has passwords.
func readFixture(path string) (directorytest.Fixture, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return directorytest.Fixture{}, err
	}
	var f struct {
		Enabled    fixtureUser `toml:"enabled"`
		Disabled   fixtureUser `toml:"disabled"`
		NoPassword fixtureUser `toml:"no_password"`
		Absent     fixtureUser `toml:"absent"`
	}
	d := toml.NewDecoder(bytes.NewReader(text)).DisallowUnknownFields()
	if err := d.Decode(&f); err != nil {
		return directorytest.Fixture{}, fmt.Errorf("%s: this is not as --accounts wants it; \"keywicket plugin check --help\" shows how", path)
	}
	for name, u := range map[string]fixtureUser{"enabled": f.Enabled, "disabled": f.Disabled, "absent": f.Absent} {
		if u.Name == "" {
			return directorytest.Fixture{}, fmt.Errorf("%s: [%s] has no name", path, name)
		}
		if u.Password == "" && name != "absent" {
			return directorytest.Fixture{}, fmt.Errorf("%s: [%s] has no password", path, name)
		}
	}
	return directorytest.Fixture{Enabled: f.Enabled.user(), Disabled: f.Disabled.user(), NoPassword: f.NoPassword.user(), Absent: f.Absent.Name}, nil
}
