package keyring

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// TestReplace: what was sealed and tagged before a rotation stays right, for
// everybody who holds the keyring.
func TestReplace(t *testing.T) {
	k := fresh(t)
	first := k.Newest()
	sealed := k.Seal("a", "b", []byte("text"))
	before, _ := k.Tag(first, []byte("inner"))
	jitter, auditKey := k.Jitter("alain"), k.AuditKey()

	rotated, err := k.Rotate(time.Now())
	if err != nil {
		t.Fatal(err)
	}
	k.Replace(rotated)
	if k.Newest() == first || len(k.IDs()) != 2 {
		t.Fatalf("the newest of %v is still %v", k.IDs(), first)
	}
	if plain, err := k.Open("a", "b", sealed); err != nil || string(plain) != "text" {
		t.Errorf("sealed before: %q, %v", plain, err)
	}
	if after, ok := k.Tag(first, []byte("inner")); !ok || after != before {
		t.Error("the old tag changed")
	}
	if id, ok := SealedWith(k.Seal("a", "b", nil)); !ok || id != k.Newest() {
		t.Errorf("sealed with %v, want the newest", id)
	}
	if k.Jitter("alain") != jitter || !bytes.Equal(k.AuditKey(), auditKey) {
		t.Error("a rotation changed the jitter or the audit key")
	}

	retired, err := k.Retire(first)
	if err != nil {
		t.Fatal(err)
	}
	k.Replace(retired)
	if _, err := k.Open("a", "b", sealed); err == nil {
		t.Error("the retired key still opens")
	}
	if _, ok := k.Tag(first, []byte("inner")); ok {
		t.Error("the retired key still tags")
	}
	old := k.OldAuditKeys()
	if len(old) != 1 || !bytes.Equal(old[0], auditKey) || bytes.Equal(k.AuditKey(), auditKey) {
		t.Error("the audit key of the retired key is not kept as an old one")
	}
	again, err := Parse(k.Marshal())
	if err != nil {
		t.Fatal(err)
	}
	if got := again.OldAuditKeys(); len(got) != 1 || !bytes.Equal(got[0], auditKey) || !bytes.Equal(again.Marshal(), k.Marshal()) {
		t.Error("the text of the keyring lost the old audit key")
	}
}

func TestRetireRefuses(t *testing.T) {
	k := fresh(t)
	if _, err := k.Retire(k.Newest()); err == nil {
		t.Error("the newest key was retired")
	}
	if _, err := k.Retire(KeyID{1}); err == nil {
		t.Error("an unknown key was retired")
	}
}

func TestParseRetiredFaults(t *testing.T) {
	k := fresh(t)
	first := k.Newest()
	k, _ = k.Rotate(time.Now())
	k, _ = k.Retire(first)
	lines := strings.SplitAfter(string(k.Marshal()), "\n")
	if !strings.HasPrefix(lines[1], "retired ") {
		t.Fatalf("line 2 is of no retired key: %.8s", lines[1])
	}
	for i := range lines[1] {
		flipped := []byte(lines[1])
		flipped[i] ^= 1
		got, err := Parse([]byte(lines[0] + string(flipped) + lines[2]))
		if err == nil && !bytes.Equal(got.Marshal(), k.Marshal()) {
			t.Errorf("octet %d of the retired key was changed, and nobody noticed", i)
		}
	}
	if _, err := Parse([]byte(lines[0] + lines[1] + lines[1] + lines[2])); err == nil {
		t.Error("a retired key that stands there twice was taken")
	}
}

func TestReplaceFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "keyring")
	k := fresh(t)
	if err := k.ReplaceFile(path); err == nil {
		t.Error("a file that is not there was replaced")
	}
	if err := k.WriteFile(path); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(path, 0o400); err != nil {
		t.Fatal(err)
	}
	// What an interrupted try left behind is in nobody's way.
	if err := os.WriteFile(path+".new", []byte("half"), 0o600); err != nil {
		t.Fatal(err)
	}
	rotated, err := k.Rotate(time.Now())
	if err != nil {
		t.Fatal(err)
	}
	if err := rotated.ReplaceFile(path); err != nil {
		t.Fatal(err)
	}
	got, err := ReadFile(path)
	if err != nil || !bytes.Equal(got.Marshal(), rotated.Marshal()) {
		t.Errorf("the file holds another keyring (%v)", err)
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o400 {
		t.Errorf("mode %v, %v; want 0400 as before", info.Mode(), err)
	}
	if _, err := os.Lstat(path + ".new"); err == nil {
		t.Error("the temporary file is left behind")
	}
}
