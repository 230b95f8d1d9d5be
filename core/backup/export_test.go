package backup

import (
	"context"

	"github.com/keywicket/keywicket/core/store"
)

// Each calls fn for every record of a set.
func (s *Set) Each(ctx context.Context, fn func(key string, sealed []byte) error) error {
	return s.each(ctx, fn)
}

// Chunks seals plain chunks into a file, the last one as that.
func Chunks(o Source, plain ...[]byte) []byte {
	var b buffer
	w := &out{w: &b, keys: o.Keys}
	w.sum.ID = ID{1}
	b = append(append(b, magic...), format)
	b = append(b, w.sum.ID[:]...)
	for i, p := range plain {
		_ = w.write(p, i == len(plain)-1) // a buffer takes everything
	}
	return b
}

type buffer []byte

func (b *buffer) Write(p []byte) (int, error) { *b = append(*b, p...); return len(p), nil }

// WithStep calls step after each step of a restore.
func (o Options) WithStep(step func(name string) error) Options {
	o.step = step
	return o
}

// Kinds returns the prefix of every kind of record.
func Kinds() (all []string) {
	for _, k := range recordKinds() {
		all = append(all, k.prefix)
	}
	return all
}

// ItemOf is a record as it stands in a chunk.
func ItemOf(key string, revision store.Revision, sealed []byte) []byte {
	return item{key: key, revision: revision, sum: sumOf(sealed), value: sealed}.append(nil)
}

// EndOf is the last chunk of a backup.
func EndOf(records, octets int) []byte {
	return end{Records: uint64(records), Values: uint64(records), Octets: uint64(octets)}.marshal()
}

// KeptOf is a record as it stands in an incremental backup that lacks its value.
func KeptOf(key string, revision store.Revision, sealed []byte) []byte {
	return item{key: key, revision: revision, sum: sumOf(sealed), kept: true}.append(nil)
}
