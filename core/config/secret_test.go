package config

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestReadSecret(t *testing.T) {
	for name, tt := range map[string]struct {
		text string
		mode fs.FileMode
		want string // the secret, or after "!" a word of the error
	}{
		"plain":          {"planted-secret", 0o600, "planted-secret"},
		"group":          {"planted-secret\n", 0o640, "planted-secret"},
		"read only":      {"planted-secret\n", 0o400, "planted-secret"},
		"one newline":    {"planted\n\n", 0o600, "planted\n"},
		"inner newline":  {"a\nb", 0o600, "a\nb"},
		"spaces kept":    {" a \n", 0o600, " a "},
		"longest":        {strings.Repeat("a", secretMax) + "\n", 0o600, strings.Repeat("a", secretMax)},
		"too long":       {strings.Repeat("a", secretMax+1), 0o600, "!more than"},
		"far too long":   {strings.Repeat("planted", secretMax), 0o600, "!more than"},
		"others read":    {"planted-secret\n", 0o644, "planted-secret"},
		"others write":   {"planted-secret\n", 0o602, "!chmod 600"},
		"empty":          {"", 0o600, "!empty"},
		"newline alone":  {"\n", 0o600, "!empty"},
		"windows":        {"planted\r\n", 0o600, "!Windows"},
		"256 octets, R6": {strings.Repeat("b", 256), 0o600, strings.Repeat("b", 256)},
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "client.secret")
			if err := os.WriteFile(path, []byte(tt.text), 0o600); err != nil {
				t.Fatal(err)
			}
			if err := os.Chmod(path, tt.mode); err != nil {
				t.Fatal(err)
			}
			got, err := ReadSecret(path)
			if word, bad := strings.CutPrefix(tt.want, "!"); bad {
				if err == nil || got != nil || !strings.Contains(err.Error(), word) || strings.Contains(err.Error(), "planted") {
					t.Errorf("got %q, %v, want an error with %q and without the secret", got, err, word)
				}
				return
			}
			if err != nil || string(got) != tt.want {
				t.Errorf("got %q, %v, want %q", got, err, tt.want)
			}
		})
	}
}

func TestReadSecretNoFile(t *testing.T) {
	dir := t.TempDir()
	if _, err := ReadSecret(filepath.Join(dir, "absent")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("an absent file: %v, want fs.ErrNotExist", err)
	}
	if _, err := ReadSecret(dir); err == nil {
		t.Error("a folder was read")
	}
	if _, err := ofPipe(t, ReadSecret); err == nil {
		t.Error("a pipe was read")
	}
}

// TestR6ClientSecret checks the strength of secrets from both sources.
func TestR6ClientSecret(t *testing.T) {
	dir := t.TempDir()
	for name, text := range map[string]string{"short": "planted-1234567", "enough": "planted-12345678", "empty": "\n"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	f, err := Parse(filepath.Join(dir, "keywicket.toml"), []byte(smallest+`allow_inline_secrets = true
[radius]
listen = ["[::1]:1812"]
[radius.client.enough]
address = ["192.0.2.1"]
secret_file = "enough"
[radius.client.short]
address = ["192.0.2.2"]
secret_file = "short"
[radius.client.allowed]
address = ["192.0.2.3"]
secret_file = "short"
allow_weak_secret = true
[radius.client.empty]
address = ["192.0.2.4"]
secret_file = "empty"
allow_weak_secret = true
[radius.client.inline]
address = ["192.0.2.5"]
secret = "planted-inline-12345678"
`))
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]struct {
		secret string
		line   int // of the fault, where there is one
	}{"allowed": {"planted-1234567", 0}, "empty": {"", 18}, "enough": {"planted-12345678", 0}, "inline": {"planted-inline-12345678", 0}, "short": {"", 11}}
	if len(f.Radius.Clients) != len(want) {
		t.Fatalf("%d clients, want %d", len(f.Radius.Clients), len(want))
	}
	for _, c := range f.Radius.Clients {
		secret, err := f.ClientSecret(c)
		if string(secret) != want[c.Name].secret {
			t.Errorf("%s: secret %q, want %q", c.Name, secret, want[c.Name].secret)
		}
		var faults Faults
		if !errors.As(err, &faults) {
			if want[c.Name].line != 0 {
				t.Errorf("%s: error %v, want a fault", c.Name, err)
			}
			continue
		}
		checkFaults(t, err, f.Path)
		if len(faults) != 1 || faults[0].Line != want[c.Name].line {
			t.Errorf("%s: faults %v, want one at line %d", c.Name, faults, want[c.Name].line)
		}
	}
	if (Secret{}).Bytes() != nil || (Secret{}).String() != "" {
		t.Error("no secret looks like one")
	}
	if secret, err := f.ClientSecret(Client{Name: "made up"}); err == nil || secret != nil {
		t.Errorf("a client without a secret has %q", secret)
	}
}

// The old secret is read until its time, and afterwards nobody looks for it.
func TestOldClientSecret(t *testing.T) {
	dir := t.TempDir()
	for name, text := range map[string]string{"new.secret": "planted-new-12345678", "old.secret": "planted-old-12345678"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for until, want := range map[string]time.Time{
		`"2027-01-31"`: time.Date(2027, 2, 1, 0, 0, 0, 0, time.Local), `2027-01-31`: time.Date(2027, 2, 1, 0, 0, 0, 0, time.Local),
		`"2027-01-31T18:00:00Z"`: time.Date(2027, 1, 31, 18, 0, 0, 0, time.UTC), `2027-01-31T18:00:00`: time.Date(2027, 1, 31, 18, 0, 0, 0, time.Local),
	} {
		path := filepath.Join(dir, "keywicket.toml")
		text := smallest + "[radius]\nlisten=[\"[::1]:1812\"]\n[radius.client.a]\naddress=[\"::1\"]\nsecret_file=\"new.secret\"\nold_secret_file=\"old.secret\"\nold_secret_until=" + until
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		f, err := Load(path)
		if err != nil {
			t.Fatal(err)
		}
		c := f.Radius.Clients[0]
		if !c.OldSecretUntil.Equal(want) {
			t.Errorf("%s is %v, want %v", until, c.OldSecretUntil, want)
		}
		if got, err := f.OldClientSecret(c, want.Add(-time.Second)); err != nil || string(got) != "planted-old-12345678" {
			t.Errorf("before: %q, %v", got, err)
		}
		c.OldSecretFile = filepath.Join(dir, "removed.secret")
		if _, err := f.OldClientSecret(c, want.Add(-time.Second)); err == nil || !strings.Contains(err.Error(), "keywicket.toml:8: radius.client.a.old_secret_file: ") {
			t.Errorf("a file that is not there: %v", err)
		}
		if got, err := f.OldClientSecret(c, want); err != nil || got != nil {
			t.Errorf("after: %q, %v", got, err)
		}
	}
}
