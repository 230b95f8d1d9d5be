package backup_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io"
	"maps"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/keywicket/keywicket/core/backup"
	"github.com/keywicket/keywicket/core/keyring"
	"github.com/keywicket/keywicket/core/store"
	"github.com/keywicket/keywicket/core/store/memstore"
)

// small is a site with a small backup of several chunks' worth of structure.
func small(t testing.TB) (s *site, path string) {
	t.Helper()
	s = newSite(t)
	s.enroll("alain@contoso.com", "Printer")
	s.tick()
	return s, s.backup("backup", "")
}

func (s *site) check(paths ...string) error {
	set, err := backup.Check(s.t.Context(), paths, s.keys, false)
	if err == nil {
		err = set.Close()
	}
	return err
}

// refused demands that neither Check nor a restore takes the files, and that
// the restore opens and changes nothing.
func (s *site) refused(what string, want error, paths ...string) {
	s.t.Helper()
	err := s.check(paths...)
	if !errors.Is(err, want) {
		s.t.Errorf("%s: %v, want %v", what, err, want)
		return
	}
	opt := s.options(paths...)
	opt.Open = func(string) (backup.Store, error) { return nil, errors.New("it was opened") }
	before := s.listing()
	if _, err := runRestore(s.t.Context(), opt, false); !errors.Is(err, want) {
		s.t.Errorf("%s: restore: %v, want %v", what, err, want)
	}
	if after := s.listing(); after != before {
		s.t.Errorf("%s: %s is %s now", what, before, after)
	}
}

// chunks cuts a backup into what stands before its chunks, and these.
func chunks(t testing.TB, octets []byte) (head []byte, all [][]byte) {
	t.Helper()
	const size = 16 + 1 + 16
	head, rest := octets[:size], octets[size:]
	for len(rest) > 0 {
		n := 4 + int(binary.BigEndian.Uint32(rest))
		all, rest = append(all, rest[:n]), rest[n:]
	}
	return head, all
}

// TestFormatIsAsDescribed takes a file apart by what the comment of the
// package says.
func TestFormatIsAsDescribed(t *testing.T) {
	s, path := small(t)
	octets, err := os.ReadFile(path)
	must(t, err)
	head, all := chunks(t, octets)
	if string(head[:16]) != "keywicket backup" || head[16] != 1 || len(all) != 3 {
		t.Fatalf("head %q, %d chunks", head, len(all))
	}
	var plain [3][]byte
	for i, mark := range []string{"more", "more", "last"} {
		if plain[i], err = s.keys.Open("backup", fmt.Sprintf("1/%x/%d/%s", head[17:], i, mark), all[i][4:]); err != nil {
			t.Fatalf("chunk %d: %v", i, err)
		}
	}
	if h := plain[0]; h[0] != 'H' || len(h) != 1+2+8+8+8+8+16 || binary.BigEndian.Uint64(h[3:]) != uint64(s.now.UnixMilli()) {
		t.Errorf("header %x", h)
	}
	records, octetsSeen := 0, uint64(0)
	if plain[1][0] != 'R' {
		t.Errorf("records begin with %q", plain[1][0])
	}
	for rest := plain[1][1:]; len(rest) > 0; records++ {
		n := binary.BigEndian.Uint16(rest[1:])
		key, at := string(rest[3:3+n]), 3+int(n)+8+16
		size := binary.BigEndian.Uint32(rest[at:])
		e, err := s.store.Get(t.Context(), key)
		if err != nil || rest[0] != 'v' || !bytes.Equal(e.Value, rest[at+4:at+4+int(size)]) || uint64(e.Revision) != binary.BigEndian.Uint64(rest[3+n:]) {
			t.Errorf("record %q: %v", key, err)
		}
		octetsSeen += uint64(size)
		rest = rest[at+4+int(size):]
	}
	if e := plain[2]; e[0] != 'E' || binary.BigEndian.Uint64(e[1:]) != uint64(records) || binary.BigEndian.Uint64(e[17:]) != octetsSeen {
		t.Errorf("end %x after %d records of %d octets", e, records, octetsSeen)
	}
}

// Every kind of record that the engine writes is one that a backup takes.
func TestKindsAreWhole(t *testing.T) {
	fset := token.NewFileSet()
	file, err := parser.ParseFile(fset, "../internal/record/doc.go", nil, 0)
	must(t, err)
	var want []string
	ast.Inspect(file, func(n ast.Node) bool {
		spec, ok := n.(*ast.ValueSpec)
		if !ok || !strings.HasPrefix(spec.Names[0].Name, "Prefix") && !strings.HasPrefix(spec.Names[0].Name, "Key") {
			return true
		}
		text, err := strconv.Unquote(spec.Values[0].(*ast.BasicLit).Value)
		must(t, err)
		want = append(want, text)
		return true
	})
	got := backup.Kinds()
	slices.Sort(got)
	slices.Sort(want)
	if len(want) < 5 || !slices.Equal(got, want) {
		t.Errorf("kinds %q, the stored form has %q", got, want)
	}
}

func TestEveryOctet(t *testing.T) {
	s, path := small(t)
	octets, err := os.ReadFile(path)
	must(t, err)
	s.stop()
	opt := s.options(path)
	opt.Open = func(string) (backup.Store, error) { t.Error("a store was opened"); return nil, errors.New("no") }
	before := s.listing()
	known := []error{backup.ErrDamaged, backup.ErrNoBackup, backup.ErrNewer, backup.ErrKeyring}
	for i := range octets {
		for _, flip := range []byte{1, 0x80, 0xff} {
			changed := bytes.Clone(octets)
			changed[i] ^= flip
			must(t, os.WriteFile(path, changed, 0o600))
			_, err := runRestore(t.Context(), opt, false)
			if !slices.ContainsFunc(known, func(k error) bool { return errors.Is(err, k) }) {
				t.Fatalf("octet %d of %d, ^ %#x: %v", i, len(octets), flip, err)
			}
		}
	}
	for n := range octets {
		must(t, os.WriteFile(path, octets[:n], 0o600))
		if err := s.check(path); !errors.Is(err, backup.ErrDamaged) && !errors.Is(err, backup.ErrNoBackup) {
			t.Fatalf("cut to %d octets: %v", n, err)
		}
	}
	must(t, os.WriteFile(path, append(bytes.Clone(octets), 0), 0o600))
	s.refused("an octet more", backup.ErrDamaged, path)
	if after := s.listing(); after != before {
		t.Errorf("%s is %s now", before, after)
	}
	must(t, os.WriteFile(path, octets, 0o600))
	must(t, s.check(path))
}

// Chunks open in their place alone.
func TestChunksStayInPlace(t *testing.T) {
	s := newSite(t)
	s.enroll("alain@contoso.com")
	for i := range 40 { // chunks are closed at 256 KiB
		value := s.keys.Seal("activity", fmt.Sprintf("activity/%02d", i), append([]byte{0xa2, 6, 0x80, 0x80, 2}, make([]byte, 32<<10)...))
		_, err := s.store.Apply(t.Context(), store.Batch{{Action: store.Put, Key: fmt.Sprintf("activity/%02d", i), Value: value}})
		must(t, err)
	}
	one, two := s.backup("one", ""), s.backup("two", "")
	read := func(path string) ([]byte, [][]byte) {
		octets, err := os.ReadFile(path)
		must(t, err)
		return chunks(t, octets)
	}
	head, a := read(one)
	otherHead, b := read(two)
	if len(a) < 5 || len(a) != len(b) {
		t.Fatalf("%d chunks", len(a))
	}
	try := func(what string, head []byte, all ...[]byte) {
		t.Helper()
		path := s.dir + "/try"
		must(t, os.WriteFile(path, append(bytes.Clone(head), bytes.Join(all, nil)...), 0o600))
		s.refused(what, backup.ErrDamaged, path)
	}
	for i := range a {
		try(fmt.Sprintf("cut before chunk %d", i), head, a[:i]...)
		try(fmt.Sprintf("without chunk %d", i), head, append(slices.Clone(a[:i]), a[i+1:]...)...)
		try(fmt.Sprintf("chunk %d twice", i), head, slices.Insert(slices.Clone(a), i, a[i])...)
		try(fmt.Sprintf("chunk %d of the other", i), head, append(append(slices.Clone(a[:i]), b[i]), a[i+1:]...)...)
		if i > 0 {
			swapped := slices.Clone(a)
			swapped[i], swapped[i-1] = a[i-1], a[i]
			try(fmt.Sprintf("chunks %d and %d swapped", i-1, i), head, swapped...)
		}
	}
	try("the other's head", otherHead, a...)
	try("both", head, append(slices.Clone(a), b...)...)
	must(t, s.check(one))
	must(t, s.check(two))
}

func TestWrongFiles(t *testing.T) {
	s, path := small(t)
	octets, err := os.ReadFile(path)
	must(t, err)
	write := func(b []byte) string {
		path := s.dir + "/try"
		must(t, os.WriteFile(path, b, 0o600))
		return path
	}
	newer := bytes.Clone(octets)
	newer[16]++
	s.refused("newer format", backup.ErrNewer, write(newer))
	s.refused("empty", backup.ErrNoBackup, write(nil))
	s.refused("text", backup.ErrNoBackup, write([]byte("data_dir = \"/var/lib/keywicket\"\n")))
	s.refused("a directory", backup.ErrNoBackup, s.dir)
	s.refused("not there", os.ErrNotExist, s.dir+"/nothing")

	right := s.keys
	other, err := keyring.New(time.Now())
	must(t, err)
	s.keys = other
	s.refused("another keyring", backup.ErrKeyring, path)
	rotated, err := right.Rotate(time.Now())
	must(t, err)
	s.keys = rotated
	must(t, s.check(path))
	if s.keys, err = rotated.Retire(right.Newest()); err != nil {
		t.Fatal(err)
	}
	s.refused("its key was retired", backup.ErrKeyring, path)
	if err := s.check(path); !strings.Contains(err.Error(), "retired") || !strings.Contains(err.Error(), right.Newest().String()) {
		t.Errorf("it does not say which key: %v", err)
	}
	s.keys = right
	for _, record := range []string{"later/x", "account/x"} {
		_, err = s.store.Apply(t.Context(), store.Batch{{Action: store.Put, Key: record, Value: s.keys.Seal("later", record, nil)}})
		must(t, err)
		want := backup.ErrRecord
		if record == "later/x" {
			want = backup.ErrNewer
		}
		s.refused("a record at "+record, want, s.backup("strange", ""))
		_, err = s.store.Apply(t.Context(), store.Batch{{Action: store.Delete, Key: record}})
		must(t, err)
	}
}

func TestChains(t *testing.T) {
	s := newSite(t)
	alain := s.enroll("alain@contoso.com", "Printer")
	full := s.backup("full", "")
	s.tick()
	s.enroll("beate@contoso.com")
	first := s.backup("first", full)
	s.tick()
	_, err := s.engine.Delete(t.Context(), alain.name, "Printer")
	must(t, err)
	must(t, s.engine.DeleteAccount(t.Context(), "beate@contoso.com"))
	second := s.backup("second", first)
	beside := s.backup("beside", full)
	again := s.backup("again", "")

	for _, paths := range [][]string{{full}, {full, first}, {full, first, second}, {full, beside}, {again}} {
		if err := s.check(paths...); err != nil {
			t.Errorf("%q: %v", paths, err)
		}
	}
	for _, paths := range [][]string{{first}, {full, second}, {full, first, beside}, {first, full}, {full, full}, {again, first}, {full, second, first}, {full, first, first}} {
		s.refused(fmt.Sprint(paths), backup.ErrChain, paths...)
	}
	if size := func(p string) int64 { i, err := os.Stat(p); must(t, err); return i.Size() }; size(second) >= size(again) {
		t.Error("the incremental backup is no smaller than the complete one")
	}
	want := s.contents(s.store)
	s.restore(false, full, first, second)
	got := s.contents(s.store)
	maps.DeleteFunc(got, func(key, _ string) bool { return strings.HasPrefix(key, "fact/restored") })
	delete(want, "meta/store")
	delete(got, "meta/store")
	if !maps.Equal(want, got) {
		t.Errorf("restored %q, want %q", slices.Sorted(maps.Keys(got)), slices.Sorted(maps.Keys(want)))
	}

	// Revisions of another life of the store say nothing.
	for range 100 {
		_, err := s.store.Apply(t.Context(), store.Batch{{Action: store.Put, Key: "fact/x", Value: s.keys.Seal("fact", "fact/x", nil)}})
		must(t, err)
	}
	f, err := os.Open(again)
	must(t, err)
	defer f.Close()
	mark, err := backup.Ends(f)
	must(t, err)
	_, err = backup.Write(t.Context(), io.Discard, backup.Source{Store: s.store, Keys: s.keys, Now: time.Now}, mark)
	if !errors.Is(err, backup.ErrStore) || !strings.Contains(err.Error(), "restored") {
		t.Errorf("incremental over a restore: %v", err)
	}
}

// An incremental backup that names its base, but goes on from other values, is
// found.
func TestOtherValues(t *testing.T) {
	s, path := small(t)
	octets, err := os.ReadFile(path)
	must(t, err)
	e, err := s.store.Get(t.Context(), "meta/store")
	must(t, err)
	header := append([]byte("H\x00\x01"), make([]byte, 4*8)...)
	header[3+8+4] = 1 // a high revision
	header = append(header, octets[17:33]...)
	for name, tt := range map[string]struct {
		record []byte
		want   error
	}{
		"the same":         {backup.KeptOf(e.Key, e.Revision, e.Value), nil},
		"another value":    {backup.KeptOf(e.Key, e.Revision, []byte("other")), backup.ErrChain},
		"another revision": {backup.KeptOf(e.Key, e.Revision+1, e.Value), backup.ErrChain},
		"another key":      {backup.KeptOf("meta/other", e.Revision, e.Value), backup.ErrChain},
	} {
		next := s.dir + "/next"
		must(t, os.WriteFile(next, backup.Chunks(backup.Source{Keys: s.keys}, header, append([]byte("R"), tt.record...), append([]byte("E"), append([]byte{0, 0, 0, 0, 0, 0, 0, 1}, make([]byte, 16)...)...)), 0o600))
		if err := s.check(path, next); !errors.Is(err, tt.want) || tt.want == nil && err != nil {
			t.Errorf("%s: %v, want %v", name, err, tt.want)
		}
	}
}

// An incremental backup names a cut or foreign base as what it is.
func TestBadBase(t *testing.T) {
	s, path := small(t)
	octets, err := os.ReadFile(path)
	must(t, err)
	head, all := chunks(t, octets)
	_, other := chunks(t, func() []byte { b, err := os.ReadFile(s.backup("other", "")); must(t, err); return b }())
	for name, b := range map[string][]byte{
		"cut":           bytes.Join(append([][]byte{head}, all[:len(all)-1]...), nil),
		"only the head": bytes.Join([][]byte{head, all[0]}, nil),
		"cut chunk":     octets[:len(octets)-1],
		"other's end":   bytes.Join(append(append([][]byte{head}, all[:2]...), other[2]), nil),
		"no backup":     []byte("hello"),
	} {
		mark, err := backup.Ends(bytes.NewReader(b))
		if err == nil {
			_, err = backup.Write(t.Context(), io.Discard, backup.Source{Store: s.store, Keys: s.keys, Now: time.Now}, mark)
		}
		if !errors.Is(err, backup.ErrDamaged) && !errors.Is(err, backup.ErrNoBackup) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// noSnapshots is a store without the optional method.
type noSnapshots struct{ store.Store }

func TestStoreWithoutSnapshots(t *testing.T) {
	s, _ := small(t)
	_, err := backup.Write(t.Context(), io.Discard, backup.Source{Store: noSnapshots{memstore.New()}, Keys: s.keys, Now: time.Now}, nil)
	if !errors.Is(err, backup.ErrStore) {
		t.Errorf("%v", err)
	}
}
