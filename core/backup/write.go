package backup

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/keywicket/keywicket/core/internal/record"
	"github.com/keywicket/keywicket/core/keyring"
	"github.com/keywicket/keywicket/core/store"
)

// A Source is what a backup is made of.
type Source struct {
	Store store.Store // one that is a store.Snapshotter too
	Keys  *keyring.Keyring
	Now   func() time.Time

	// Begun is called before anything is written; its error ends the backup.
	Begun func(Header) error
}

// A Summary says what was written.
type Summary struct {
	Header
	Records uint64
	Values  uint64   // of them: all, or those that changed
	Octets  uint64   // of the values
	Damaged []string // keys of records that cannot be opened, the first few
}

// maxDamaged is how many damaged records a Summary names.
const maxDamaged = 20

// ErrStore: the store is not one that such a backup can be made of.
var ErrStore = errors.New("no backup can be made")

// Write writes a backup of what src holds to w. since is what Ends took from
// the backup that it goes on from, or nil for a complete one. A record that is
// damaged is written as it is, and named.
func Write(ctx context.Context, w io.Writer, src Source, since *Mark) (Summary, error) {
	snapshotter, ok := src.Store.(store.Snapshotter)
	if !ok {
		return Summary{}, fmt.Errorf("%w: this kind of store cannot show itself as of one moment; use its own means", ErrStore)
	}
	o := &out{w: w, keys: src.Keys}
	o.sum.Time = src.Now() // before the snapshot: what happens from now on may be missing in it
	rand.Read(o.sum.ID[:])
	lineage, err := lineageOf(ctx, src.Store, src.Keys)
	if err != nil {
		return Summary{}, err
	}
	o.sum.Lineage, o.sum.recordFormat = lineage, record.Format
	if since != nil {
		base, err := since.open(src.Keys)
		if err != nil {
			return Summary{}, err
		}
		if base.Lineage != lineage {
			return Summary{}, fmt.Errorf("%w: the store was restored or made anew since the older backup; make a complete one", ErrStore)
		}
		o.base, o.sum.Base = base.Revision, base.ID
	}
	begin := func(at store.Revision) error {
		if o.base > at {
			return fmt.Errorf("%w: the store is older than the older backup, so that it was put back by hand; make a complete one", ErrStore)
		}
		o.sum.Revision = at
		if src.Begun != nil {
			if err := src.Begun(o.sum.Header); err != nil {
				return err
			}
		}
		return o.head()
	}
	if err := snapshotter.Snapshot(ctx, begin, o.record); err != nil {
		return Summary{}, err
	}
	return o.sum, o.finish()
}

// out writes the chunks of one backup.
type out struct {
	w      io.Writer
	keys   *keyring.Keyring
	base   store.Revision // values up to it are in a backup before
	sum    Summary
	number uint64 // of the next chunk
	chunk  []byte // records that wait
}

func (o *out) head() error {
	b := append([]byte(magic), format)
	if _, err := o.w.Write(append(b, o.sum.ID[:]...)); err != nil {
		return err
	}
	return o.write(o.sum.Header.marshal(), false)
}

// write writes one chunk.
func (o *out) write(plain []byte, last bool) error {
	sealed := o.keys.Seal(kindBackup, place(o.sum.ID, o.number, last), plain)
	o.number++
	b := binary.BigEndian.AppendUint32(make([]byte, 0, 4+len(sealed)), uint32(len(sealed)))
	_, err := o.w.Write(append(b, sealed...))
	return err
}

// record adds one record.
func (o *out) record(e store.Entry) error {
	i := item{key: e.Key, revision: e.Revision, sum: sumOf(e.Value), kept: e.Revision <= o.base}
	o.sum.Records++
	if !i.kept {
		i.value = e.Value
		o.sum.Values++
		o.sum.Octets += uint64(len(e.Value))
	}
	if _, err := openRecord(o.keys, e.Key, e.Value); err != nil && len(o.sum.Damaged) < maxDamaged {
		o.sum.Damaged = append(o.sum.Damaged, e.Key)
	}
	if o.chunk == nil {
		o.chunk = append(make([]byte, 0, fillChunk*2), chunkRecords)
	}
	o.chunk = i.append(o.chunk)
	if len(o.chunk) < fillChunk {
		return nil
	}
	return o.flush()
}

func (o *out) flush() error {
	if len(o.chunk) <= 1 {
		return nil
	}
	err := o.write(o.chunk, false)
	clear(o.chunk)
	o.chunk = o.chunk[:1]
	o.chunk[0] = chunkRecords
	return err
}

func (o *out) finish() error {
	if err := o.flush(); err != nil {
		return err
	}
	return o.write(end{Records: o.sum.Records, Values: o.sum.Values, Octets: o.sum.Octets}.marshal(), true)
}

// lineageOf reads which life of which store this is.
func lineageOf(ctx context.Context, s store.Store, keys *keyring.Keyring) (Lineage, error) {
	var meta record.Meta
	if err := readRecord(ctx, s, keys, record.KeyMeta, &meta); err != nil {
		return Lineage{}, err
	}
	restored, _, err := factOf(ctx, s, keys, keyRestored)
	return Lineage{Created: meta.Created, Restored: restored}, err
}
