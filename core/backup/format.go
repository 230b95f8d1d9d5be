package backup

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"time"

	"github.com/keywicket/keywicket/core/store"
)

const (
	magic      = "keywicket backup"
	format     = 1
	idSize     = 16
	headSize   = len(magic) + 1 + idSize
	kindBackup = "backup"

	maxChunk  = 1 << 20   // octets of an envelope
	fillChunk = 256 << 10 // octets of records after which a chunk is closed

	sumSize = 16
)

// The first octets of chunks and records.
const (
	chunkHeader  = 'H'
	chunkRecords = 'R'
	chunkEnd     = 'E'

	recordValue = 'v'
	recordKept  = 'k'
)

var errMalformed = errors.New("it is malformed")

// An ID tells backups apart.
type ID [idSize]byte

// String returns the 32 hexadecimal digits of id.
func (id ID) String() string { return hex.EncodeToString(id[:]) }

// A Header says of what a backup is.
type Header struct {
	ID       ID
	Base     ID        // of the backup that it goes on from; zero: it is complete
	Time     time.Time // when the snapshot was taken
	Revision store.Revision
	Lineage  Lineage

	recordFormat int
}

// A Lineage tells the lives of a store apart: revisions of one cannot be
// compared with those of another.
type Lineage struct {
	Created  int64 // Unix milliseconds
	Restored int64 // 0: never
}

// Complete says whether the backup needs no other.
func (h Header) Complete() bool { return h.Base == ID{} }

// An end says what a backup holds.
type end struct {
	Records uint64
	Values  uint64
	Octets  uint64 // of the values
}

// A sum stands for a value.
type sum [sumSize]byte

func sumOf(value []byte) sum {
	whole := sha256.Sum256(value)
	return sum(whole[:sumSize])
}

// An item is one record of a backup.
type item struct {
	key      string
	revision store.Revision
	sum      sum
	kept     bool // the value is in a backup before
	value    []byte
}

// place is the key that a chunk is sealed for.
func place(id ID, number uint64, last bool) string {
	mark := "more"
	if last {
		mark = "last"
	}
	return fmt.Sprintf("%d/%s/%d/%s", format, id, number, mark)
}

func (h Header) marshal() []byte {
	b := []byte{chunkHeader}
	b = binary.BigEndian.AppendUint16(b, uint16(h.recordFormat))
	b = binary.BigEndian.AppendUint64(b, uint64(h.Time.UnixMilli()))
	b = binary.BigEndian.AppendUint64(b, uint64(h.Revision))
	b = binary.BigEndian.AppendUint64(b, uint64(h.Lineage.Created))
	b = binary.BigEndian.AppendUint64(b, uint64(h.Lineage.Restored))
	return append(b, h.Base[:]...)
}

func parseHeader(id ID, b []byte) (Header, error) {
	const size = 1 + 2 + 4*8 + idSize
	if len(b) != size || b[0] != chunkHeader {
		return Header{}, errMalformed
	}
	number := func(at int) uint64 { return binary.BigEndian.Uint64(b[at:]) }
	return Header{
		ID: id, Base: ID(b[size-idSize:]),
		Time:         time.UnixMilli(int64(number(3))),
		Revision:     store.Revision(number(11)),
		Lineage:      Lineage{Created: int64(number(19)), Restored: int64(number(27))},
		recordFormat: int(binary.BigEndian.Uint16(b[1:])),
	}, nil
}

func (e end) marshal() []byte {
	b := []byte{chunkEnd}
	b = binary.BigEndian.AppendUint64(b, e.Records)
	b = binary.BigEndian.AppendUint64(b, e.Values)
	return binary.BigEndian.AppendUint64(b, e.Octets)
}

func parseEnd(b []byte) (end, error) {
	if len(b) != 1+3*8 || b[0] != chunkEnd {
		return end{}, errMalformed
	}
	return end{
		Records: binary.BigEndian.Uint64(b[1:]), Values: binary.BigEndian.Uint64(b[9:]), Octets: binary.BigEndian.Uint64(b[17:]),
	}, nil
}

func (i item) append(b []byte) []byte {
	what := byte(recordValue)
	if i.kept {
		what = recordKept
	}
	b = append(b, what)
	b = binary.BigEndian.AppendUint16(b, uint16(len(i.key)))
	b = append(b, i.key...)
	b = binary.BigEndian.AppendUint64(b, uint64(i.revision))
	b = append(b, i.sum[:]...)
	if i.kept {
		return b
	}
	b = binary.BigEndian.AppendUint32(b, uint32(len(i.value)))
	return append(b, i.value...)
}

// nextItem takes a record off b. Its value shares memory with b.
func nextItem(b []byte) (i item, rest []byte, err error) {
	const fixed = 1 + 2 // what stands before the key
	if len(b) < fixed || b[0] != recordValue && b[0] != recordKept {
		return i, nil, errMalformed
	}
	n := int(binary.BigEndian.Uint16(b[1:]))
	i.kept = b[0] == recordKept
	if b = b[fixed:]; len(b) < n+8+sumSize || n == 0 || n > store.MaxKey {
		return i, nil, errMalformed
	}
	i.key, b = string(b[:n]), b[n:]
	i.revision, b = store.Revision(binary.BigEndian.Uint64(b)), b[8:]
	i.sum, b = sum(b[:sumSize]), b[sumSize:]
	if i.kept {
		return i, b, nil
	}
	if len(b) < 4 {
		return i, nil, errMalformed
	}
	size := binary.BigEndian.Uint32(b)
	if b = b[4:]; size > store.MaxValue || int(size) > len(b) {
		return i, nil, errMalformed
	}
	i.value = b[:size:size]
	if sumOf(i.value) != i.sum {
		return i, nil, errMalformed
	}
	return i, b[size:], nil
}
