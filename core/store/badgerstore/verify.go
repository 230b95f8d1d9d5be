package badgerstore

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"io/fs"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/dgraph-io/badger/v4"
	"github.com/dgraph-io/badger/v4/fb"
	"github.com/dgraph-io/badger/v4/table"

	"github.com/keywicket/keywicket/core/store"
)

// verify reads what Badger is about to open and says, as ErrDamaged, what is
// altered or lost. It changes nothing. acknowledged is the revision that must
// be there at least.
func verify(dir string, acknowledged store.Revision) (err error) {
	defer recovered(&err, "checking the store in "+dir)
	tables, err := readManifest(dir)
	if err != nil {
		return err
	}
	last, err := verifyTables(dir, slices.Sorted(maps.Keys(tables)))
	if err != nil {
		return err
	}
	if last, err = verifyLogs(dir, last); err != nil {
		return err
	}
	if last < acknowledged {
		return lostError(dir, last, acknowledged)
	}
	return nil
}

// verifyTables checks the tables with these numbers, several at once, and
// returns the newest revision in them. The error is that of the first damaged.
func verifyTables(dir string, ids []uint64) (store.Revision, error) {
	var next, newest atomic.Uint64
	errs := make([]error, len(ids))
	var readers sync.WaitGroup
	for range min(runtime.GOMAXPROCS(0), 8, len(ids)) {
		readers.Go(func() {
			var space []byte
			for i := next.Add(1) - 1; i < uint64(len(ids)); i = next.Add(1) - 1 {
				var r store.Revision
				r, space, errs[i] = verifyTable(table.NewFilename(ids[i], dir), space)
				for old := newest.Load(); uint64(r) > old && !newest.CompareAndSwap(old, uint64(r)); old = newest.Load() {
				}
			}
		})
	}
	readers.Wait()
	for _, err := range errs {
		if errors.Is(err, fs.ErrNotExist) {
			err = fmt.Errorf("%w: a table is missing; restore a backup: %w", store.ErrDamaged, err)
		}
		if err != nil {
			return 0, err
		}
	}
	return store.Revision(newest.Load()), nil
}

// readManifest lists the tables of the store in dir; none if it is new.
func readManifest(dir string) (map[uint64]badger.TableManifest, error) {
	path := filepath.Join(dir, badger.ManifestFilename)
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil // prepareDir knows that there is nothing else either
	}
	if err != nil {
		return nil, fmt.Errorf("%w: %s must be readable: %w", store.ErrUnavailable, path, err)
	}
	defer f.Close()
	m, end, err := badger.ReplayManifestFile(f, 0, badgerOptions(dir, slog.New(slog.DiscardHandler)))
	if err != nil {
		return nil, damagedFile(path, err.Error())
	}
	// Badger cuts off what follows the last whole change, and removes tables
	// that no change names. That is right for a change whose writing was
	// interrupted, and wrong for one whose length was altered: there some
	// length still fits the checksum.
	if _, err := f.Seek(end, io.SeekStart); err != nil {
		return nil, fmt.Errorf("%w: read %s: %w", store.ErrUnavailable, path, err)
	}
	rest, err := io.ReadAll(f)
	if err != nil {
		return nil, fmt.Errorf("%w: read %s: %w", store.ErrUnavailable, path, err)
	}
	if someLengthFits(rest) {
		return nil, damagedFile(path, "the length of a change is wrong")
	}
	return m.Tables, nil
}

// someLengthFits says whether the checksum at the head of a change (its length,
// its checksum, 4 octets each) is that of any number of octets after it.
func someLengthFits(change []byte) bool {
	if len(change) < 8 {
		return false
	}
	want, sum := binary.BigEndian.Uint32(change[4:]), uint32(0)
	for i := 8; ; i++ {
		if sum == want {
			return true
		}
		if i == len(change) {
			return false
		}
		sum = crc32.Update(sum, crc32.MakeTable(crc32.Castagnoli), change[i:i+1])
	}
}

func damagedFile(path, what string) error {
	return fmt.Errorf("%w: %s: %s; restore a backup", store.ErrDamaged, path, what)
}

// verifyTable checks every octet of a table that carries meaning, and returns
// the newest revision in it. The layout is that of Badger's table/builder.go:
// blocks, index, length of the index, checksum of the index, length of that.
//
// It reads into space, where that is large enough, and returns what it read
// into. A panic over what is in the index is damage.
func verifyTable(path string, space []byte) (_ store.Revision, data []byte, err error) {
	defer recovered(&err, "checking "+path)
	if data, err = readInto(path, space); err != nil {
		return 0, data, fmt.Errorf("%w: %w", store.ErrUnavailable, err)
	}
	newest, err := checkTable(path, data)
	return newest, data, err
}

// readInto is os.ReadFile into space, if that is large enough.
func readInto(path string, space []byte) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return space, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return space, err
	}
	if size := int(info.Size()); size <= cap(space) {
		space = space[:size]
	} else {
		space = make([]byte, size, size+size/4)
	}
	_, err = io.ReadFull(f, space)
	return space, err
}

func checkTable(path string, data []byte) (store.Revision, error) {
	rest, sum, ok := cutLast(data)
	if !ok {
		return 0, damagedFile(path, "its end is damaged")
	}
	_, index, ok := cutLast(rest)
	if !ok || !sumFits(sum, index) {
		return 0, damagedFile(path, "its index is damaged")
	}
	root := fb.GetRootAsTableIndex(index, 0)
	for i := range root.OffsetsLength() {
		var at fb.BlockOffset
		if !root.Offsets(&at, i) || uint64(at.Offset())+uint64(at.Len()) > uint64(len(data)) {
			return 0, damagedFile(path, "its index is damaged")
		}
		block, sum, ok := cutLast(data[at.Offset() : at.Offset()+at.Len()])
		if !ok || !sumFits(sum, block) {
			return 0, damagedFile(path, fmt.Sprintf("block %d is damaged", i))
		}
	}
	return store.Revision(root.MaxVersion()), nil
}

// cutLast takes from the end of b what stands before its own length.
func cutLast(b []byte) (before, last []byte, ok bool) {
	if len(b) < 4 {
		return nil, nil, false
	}
	b, n := b[:len(b)-4], binary.BigEndian.Uint32(b[len(b)-4:])
	if uint64(n) > uint64(len(b)) {
		return nil, nil, false
	}
	return b[:len(b)-int(n)], b[len(b)-int(n):], true
}

// sumFits reads Badger's pb.Checksum: field 1 the algorithm, always CRC-32C,
// which is 0 and so is left out; field 2 the sum.
func sumFits(encoded, data []byte) bool {
	want := castagnoli(data)
	if len(encoded) == 0 {
		return want == 0
	}
	sum, n := binary.Uvarint(encoded[1:])
	return encoded[0] == 2<<3 && n == len(encoded)-1 && sum == uint64(want)
}
