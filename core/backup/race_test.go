package backup_test

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"
	"testing"
	"unicode/utf16"

	//lint:ignore SA1019 the NT hash is MD4 (RFC 2759, section 8.3)
	"golang.org/x/crypto/md4" //nolint:staticcheck // the same for golangci-lint
	"google.golang.org/protobuf/proto"

	"github.com/keywicket/keywicket/core/backup"
	"github.com/keywicket/keywicket/core/internal/record"
	"github.com/keywicket/keywicket/core/keyring"
	"github.com/keywicket/keywicket/core/store"
)

// Whatever is written meanwhile, a backup has the records of one moment: pairs
// that are always written together fit.
func TestConsistent(t *testing.T) {
	s := newSite(t)
	s.enroll("alain@contoso.com")
	const pairs = 200
	write := func(ctx context.Context, pair int, since int64) error {
		var b store.Batch
		for _, side := range []string{"a", "z"} { // far apart in the order of keys
			key := fmt.Sprintf("fact/%s/%03d", side, pair)
			plain, err := proto.Marshal(&record.Fact{Since: since})
			if err != nil {
				return err
			}
			b = append(b, store.Op{Action: store.Put, Key: key, Value: s.keys.Seal("fact", key, plain)})
		}
		_, err := s.store.Apply(ctx, b)
		return err
	}
	for pair := range pairs {
		must(t, write(t.Context(), pair, 1))
	}
	ctx, cancel := context.WithCancel(t.Context())
	var group sync.WaitGroup
	failed := make([]error, 4)
	for w := range failed {
		group.Go(func() {
			for i := 0; ctx.Err() == nil && failed[w] == nil; i++ {
				if err := write(ctx, (i*7+w)%pairs, int64(i+2)); ctx.Err() == nil {
					failed[w] = err
				}
			}
		})
	}
	torn := 0
	before := ""
	for i := range 15 {
		path := s.backup(fmt.Sprintf("b%d", i), before)
		set, err := backup.Check(t.Context(), chain(s, i), s.keys, false)
		must(t, err)
		since := map[string]int64{}
		must(t, set.Each(t.Context(), func(key string, sealed []byte) error {
			if !strings.HasPrefix(key, "fact/") {
				return nil
			}
			plain, err := s.keys.Open("fact", key, sealed)
			var fact record.Fact
			since[key] = 0
			if err = errors.Join(err, proto.Unmarshal(plain, &fact)); err == nil {
				since[key] = fact.Since
			}
			return err
		}))
		must(t, set.Close())
		for pair := range pairs {
			if a, z := since[fmt.Sprintf("fact/a/%03d", pair)], since[fmt.Sprintf("fact/z/%03d", pair)]; a != z || a == 0 {
				torn++
			}
		}
		before = path
	}
	cancel()
	group.Wait()
	if err := errors.Join(failed...); err != nil || torn > 0 {
		t.Errorf("%d pairs are torn; error %v", torn, err)
	}
}

// chain is the paths of the first backups of TestConsistent.
func chain(s *site, last int) (paths []string) {
	for i := range last + 1 {
		paths = append(paths, fmt.Sprintf("%s/b%d", s.dir, i))
	}
	return paths
}

// forms are the ways in which an app password could stand in a file.
func forms(text string) map[string][]byte {
	var wide []byte
	for _, u := range utf16.Encode([]rune(text)) {
		wide = append(wide, byte(u), byte(u>>8))
	}
	nt := md4.New()
	nt.Write(wide)
	var grouped []string
	for i := 0; i < len(text); i += 4 {
		grouped = append(grouped, text[i:i+4])
	}
	return map[string][]byte{
		"plain": []byte(text), "upper case": []byte(strings.ToUpper(text)), "UTF-16LE": wide, "NT hash": nt.Sum(nil),
		"grouped": []byte(strings.Join(grouped, "-")), "spaced": []byte(strings.Join(grouped, " ")),
		"hex": []byte(hex.EncodeToString([]byte(text))), "base64": []byte(base64.StdEncoding.EncodeToString([]byte(text)))[:24],
		"half": []byte(text[:10]),
	}
}

// Neither an app password nor a name can be read in a backup.
func TestNothingReadable(t *testing.T) {
	s := newSite(t)
	var owners []*owner
	for i := range 25 {
		o := s.enroll(fmt.Sprintf("owner%02d@contoso.com", i))
		for j := range 39 {
			s.create(o, fmt.Sprintf("device %d", j), "")
		}
		owners = append(owners, o)
	}
	full := s.backup("full", "")
	s.tick()
	for _, o := range owners {
		_, err := s.engine.Delete(t.Context(), o.name, "device 3")
		must(t, err)
	}
	increment := s.backup("increment", full)
	for _, path := range []string{full, increment} {
		octets, err := os.ReadFile(path)
		must(t, err)
		texts := 0
		for _, o := range owners {
			for _, public := range []string{o.name, strings.Split(o.name, "@")[0], "contoso", "account/", "device 7"} {
				if bytes.Contains(octets, []byte(public)) {
					t.Errorf("%s has the text %q", path, public)
				}
			}
			for _, code := range o.recovery {
				if bytes.Contains(octets, []byte(code)) || bytes.Contains(octets, []byte(strings.ReplaceAll(code, "-", ""))) {
					t.Errorf("%s has a recovery code", path)
				}
			}
			for _, p := range o.passwords {
				texts++
				for form, needle := range forms(p.text) {
					if bytes.Contains(octets, needle) {
						t.Errorf("%s has an app password as %s", path, form)
					}
					if planted := bytes.Join([][]byte{octets[:100], needle, octets[100:200]}, nil); !bytes.Contains(planted, needle) {
						t.Errorf("%s would not be found", form)
					}
				}
			}
		}
		if texts != 1000 {
			t.Errorf("%d app passwords were looked for", texts)
		}
	}
}

// FuzzRestore: arbitrary octets, as a file, as a chunk in one, or as a record,
// never panic, and nothing is written.
func FuzzRestore(f *testing.F) {
	s, path := small(f)
	octets, err := os.ReadFile(path)
	must(f, err)
	f.Add(octets, byte(0))
	f.Add(octets[:40], byte(0))
	header := append([]byte("H\x00\x01"), make([]byte, 4*8+16)...)
	header[18] = 9 // the revision
	f.Add(header, byte(1))
	f.Add([]byte("Rv\x00\x0ameta/store"), byte(2))
	f.Add(append(append([]byte("Rk\x00\x01m\x00\x00\x00\x00\x00\x00\x00\x01"), make([]byte, 16)...), 'v', 0), byte(2))
	e, err := s.store.Get(f.Context(), "account/alain@contoso.com")
	must(f, err)
	plain, err := s.keys.Open("account", e.Key, e.Value)
	must(f, err)
	f.Add(plain, byte(3))
	meta, err := s.store.Get(f.Context(), "meta/store")
	must(f, err)
	keys := s.keys
	source := backup.Source{Keys: keys}
	f.Fuzz(func(t *testing.T, octets []byte, as byte) {
		dir := t.TempDir()
		file := octets
		switch as % 4 {
		case 1:
			file = backup.Chunks(source, octets, []byte{'E'})
		case 2:
			file = backup.Chunks(source, header, octets, make([]byte, 25))
		case 3:
			a := backup.ItemOf("account/x", 1, keys.Seal("account", "account/x", octets))
			m := backup.ItemOf("meta/store", 1, meta.Value)
			file = backup.Chunks(source, header, append(append([]byte{'R'}, a...), m...), backup.EndOf(2, len(octets)+keyring.Overhead+len(meta.Value)))
		}
		must(t, os.WriteFile(dir+"/backup", file, 0o600))
		must(t, os.Mkdir(dir+"/data", 0o700))
		opt := s.options(dir + "/backup")
		opt.DataDir, opt.AuditDir = dir+"/data", dir+"/audit"
		r, err := backup.Prepare(context.WithoutCancel(t.Context()), opt)
		if err == nil {
			_, err = r.Report(), r.Close()
			if as%4 == 0 && !bytes.Equal(octets, file) || as%4 == 2 {
				t.Error("what is none was taken for a backup")
			}
			must(t, err)
		}
		if as%4 == 3 && bytes.Equal(octets, plain) && err != nil {
			t.Errorf("a right record is refused, so that nothing behind that is tried: %v", err)
		}
		entries, err := os.ReadDir(opt.DataDir)
		if err != nil || len(entries) != 0 {
			t.Errorf("it wrote %v, %v", entries, err)
		}
	})
}
