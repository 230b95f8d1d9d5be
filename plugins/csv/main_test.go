package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/crypto/bcrypt"

	"github.com/keywicket/keywicket/core/directory"
	"github.com/keywicket/keywicket/core/directory/directorytest"
	"github.com/keywicket/keywicket/plugins/sdk"
)

// open makes a directory of the rows of a file.
func open(t testing.TB, rows string) (*file, error) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "accounts.csv")
	if err := os.WriteFile(path, []byte(rows), 0o600); err != nil {
		t.Fatal(err)
	}
	f := &file{}
	return f, f.Configure(t.Context(), sdk.Settings{"path": path})
}

// TestContract: as a plugin it is tried by the command's tests.
func TestContract(t *testing.T) {
	f := directorytest.Standard()
	rows := []string{"id,name,enabled,groups,password"}
	for i, u := range []directorytest.User{f.Enabled, f.Disabled, f.NoPassword} {
		hash := ""
		if u.Password != "" {
			h, err := bcrypt.GenerateFromPassword([]byte(u.Password), bcrypt.MinCost)
			if err != nil {
				t.Fatal(err)
			}
			hash = string(h)
		}
		enabled := map[bool]string{true: "yes", false: "no"}[u.Name != f.Disabled.Name]
		rows = append(rows, strings.Join([]string{string(rune('1' + i)), u.Name, enabled, strings.Join(u.Groups, ";"), hash}, ","))
	}
	directorytest.Run(t, func(tb testing.TB) directory.Directory {
		d, err := open(tb, strings.Join(rows, "\n"))
		if err != nil {
			tb.Fatal(err)
		}
		return d
	})
}

// TestFaults: a file with a fault is refused, and the error says where it is.
func TestFaults(t *testing.T) {
	for rows, want := range map[string]string{
		"":                          "is empty; its first line names the columns",
		"id,name\n1,alain\n2,":      "row 3 has no id, no name",
		"id,name\n1,alain\n2,alain": "stands there twice",
		"id,name\n1":                "line 2",
		"id,name\n1,\"alain":        "line 2",
	} {
		if _, err := open(t, rows); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %q", rows, err, want)
		}
	}
	if err := (&file{}).Configure(t.Context(), sdk.Settings{"file": "x"}); err == nil || !strings.Contains(err.Error(), `unknown field "file"`) {
		t.Errorf("a setting that is misspelt: %v", err)
	}
	if err := (&file{}).Configure(t.Context(), sdk.Settings{}); err == nil {
		t.Error("no setting at all is taken")
	}
}
