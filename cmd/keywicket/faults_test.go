package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestAllFaultsAtOnce: the faults of the file and those that only the parts
// find are told together, each line once.
func TestAllFaultsAtOnce(t *testing.T) {
	path := filepath.Join(t.TempDir(), "keywicket.toml")
	text := `data_dir = "d"
keyring = "k"
[profile.x]
letters = 21
reply = { "Nonsense" = "1" }
[radius]
listen = ["127.0.0.1:1812"]
[radius.client.a]
address = ["192.0.2.1"]
secret_file = "missing"
[radius.client.b]
address = ["192.0.2.2/24"]
secret_file = "missing"
`
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	f, err := loadWhole(path)
	if f != nil || err == nil || exitCode(err) != exitUsage {
		t.Fatalf("%v, %v: want no file, and faults that end with %d", f, err, exitUsage)
	}
	lines := strings.Split(err.Error(), "\n")
	want := []string{":4: profile.x.letters", ":5: profile.x.reply.Nonsense", ":10: radius.client.a.secret_file", ":12: radius.client.b.address", ":13: radius.client.b.secret_file"}
	if len(lines) != len(want) {
		t.Fatalf("%d faults, want %d:\n%v", len(lines), len(want), err)
	}
	for i, line := range lines {
		if !strings.Contains(line, want[i]) {
			t.Errorf("fault %d is %q, want %q", i, line, want[i])
		}
	}
}
