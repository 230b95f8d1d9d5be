package badgerstore

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"

	"github.com/keywicket/keywicket/core/store"
)

// Badger's keys are the user's behind dataPrefix, which keeps their order, and
// lastKey, which no such key can be. Neither begins as Badger's own do.
const (
	dataPrefix = 'k'
	lastKey    = "last revision"
)

func dataKey(key string) []byte {
	return append(append(make([]byte, 0, 1+len(key)), dataPrefix), key...)
}

// A value is stored behind its revision (8 octets) and a checksum (4 octets)
// over key, revision and value; numbers are big-endian.
const frameHead = 8 + 4

func castagnoli(parts ...[]byte) uint32 {
	table, sum := crc32.MakeTable(crc32.Castagnoli), uint32(0)
	for _, p := range parts {
		sum = crc32.Update(sum, table, p)
	}
	return sum
}

// frameOf returns room for a frame with a copy of value in it.
func frameOf(value []byte) []byte {
	return append(make([]byte, frameHead, frameHead+len(value)), value...)
}

// finish makes framed, which comes of frameOf, the stored form at key.
func finish(framed, key []byte, r store.Revision) {
	binary.BigEndian.PutUint64(framed, uint64(r))
	binary.BigEndian.PutUint32(framed[8:], castagnoli(key, framed[:8], framed[frameHead:]))
}

// parseFrame returns what is in framed, the value as a view of it, or ErrDamaged.
func parseFrame(framed, key []byte) (store.Revision, []byte, error) {
	if len(framed) < frameHead || len(framed) > frameHead+store.MaxValue {
		return 0, nil, fmt.Errorf("%w: what is stored at %q has %d octets", store.ErrDamaged, key, len(framed))
	}
	r, value := store.Revision(binary.BigEndian.Uint64(framed)), framed[frameHead:]
	if r == 0 || binary.BigEndian.Uint32(framed[8:]) != castagnoli(key, framed[:8], value) {
		return 0, nil, fmt.Errorf("%w: what is stored at %q fails its checksum; restore a backup", store.ErrDamaged, key)
	}
	return r, value, nil
}

// A link is what each transaction writes at lastKey: the revision of the
// transaction before it and its own. So a transaction that is missing from the
// middle of the logs shows.
func link(before, own store.Revision) []byte {
	b := binary.BigEndian.AppendUint64(nil, uint64(before))
	b = binary.BigEndian.AppendUint64(b, uint64(own))
	return binary.BigEndian.AppendUint32(b, castagnoli(b))
}

func parseLink(b []byte) (before, own store.Revision, err error) {
	if len(b) != 20 || castagnoli(b[:16]) != binary.BigEndian.Uint32(b[16:]) {
		return 0, 0, fmt.Errorf("%w: the last revision fails its checksum", store.ErrDamaged)
	}
	before, own = store.Revision(binary.BigEndian.Uint64(b)), store.Revision(binary.BigEndian.Uint64(b[8:]))
	if before >= own {
		return 0, 0, fmt.Errorf("%w: revision %d follows %d", store.ErrDamaged, own, before)
	}
	return before, own, nil
}
