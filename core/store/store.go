package store

import (
	"context"
	"errors"
	"fmt"
)

// Limits of the contract. A store may take more; the engine never asks for it.
const (
	MaxKey   = 512       // octets of a key
	MaxValue = 256 << 10 // octets of a value
	MaxOps   = 128       // operations of a batch
	MaxBatch = 1 << 20   // octets of all keys and values of a batch
)

// The errors of the contract. A store wraps one of them with %w; anything else
// is taken for a fault of the store and never for an answer.
var (
	// ErrNotFound: the store is sure that there is nothing at the key. A store
	// that cannot tell says ErrUnavailable.
	ErrNotFound = errors.New("not found")

	// ErrConflict: a demand of the batch did not hold. Nothing was changed.
	ErrConflict = errors.New("conflict")

	// ErrInvalid: the request breaks a limit or is malformed. Nothing was
	// changed, and the same request will never succeed.
	ErrInvalid = errors.New("invalid request")

	// ErrUnavailable: the store is closed, out of reach or late. A read may be
	// repeated. Of a write the outcome is unknown.
	ErrUnavailable = errors.New("unavailable")

	// ErrFull: there is no room to write. Nothing was changed; reads go on, and
	// so do batches that take access away, as long as what the store keeps in
	// reserve for them lasts. The text says where room is missing, and how much.
	ErrFull = errors.New("disk full")

	// ErrDamaged: what is kept fails its checksum or cannot be read.
	ErrDamaged = errors.New("damaged")
)

// A Revision numbers the states of a store. Each successful Apply has a higher
// one than every Apply answered before it, over restarts too. Zero is no
// revision.
type Revision uint64

// An Entry is a key with what the store keeps there.
type Entry struct {
	Key      string
	Value    []byte
	Revision Revision // of the Apply that wrote Value
}

// An Action is what an operation does to its key. The zero Action is invalid.
type Action uint8

const (
	_      Action = iota
	Put           // write Value
	Delete        // remove the key; removing nothing is no error
	Check         // change nothing, only demand
)

// An Op is one operation of a batch: an action and, if it has one, the demand
// that must hold for the whole batch to happen.
type Op struct {
	Action Action
	Key    string
	Value  []byte // for Put; may be empty

	// IfAbsent demands that there is nothing at Key, IfRevision (when not
	// zero) that Key was last written by that Apply. At most one of the two.
	IfAbsent   bool
	IfRevision Revision

	// Revokes: this takes access away, as deleting an app password does. A
	// batch with such an operation may use what the store keeps in reserve when
	// there is no more room. Nothing else depends on it, and a store without a
	// reserve leaves it unread.
	Revokes bool
}

// A Batch is carried out whole or not at all. No key may stand in it twice.
type Batch []Op

// Validate says, as an ErrInvalid, which limit or rule b breaks. Stores call
// it first thing in Apply.
func (b Batch) Validate() error {
	if len(b) == 0 || len(b) > MaxOps {
		return fmt.Errorf("%w: a batch of %d operations; 1 to %d are allowed", ErrInvalid, len(b), MaxOps)
	}
	size, seen := 0, make(map[string]bool, len(b))
	for i, op := range b {
		if err := CheckKey(op.Key); err != nil {
			return fmt.Errorf("operation %d: %w", i, err)
		}
		size += len(op.Key) + len(op.Value)
		switch {
		case op.Action < Put || op.Action > Check:
			return fmt.Errorf("%w: operation %d has no action", ErrInvalid, i)
		case op.Action != Put && op.Value != nil:
			return fmt.Errorf("%w: operation %d is no Put and has a value", ErrInvalid, i)
		case len(op.Value) > MaxValue:
			return fmt.Errorf("%w: operation %d has a value of %d octets; %d are allowed", ErrInvalid, i, len(op.Value), MaxValue)
		case op.IfAbsent && op.IfRevision != 0:
			return fmt.Errorf("%w: operation %d makes two demands", ErrInvalid, i)
		case op.Action == Check && !op.IfAbsent && op.IfRevision == 0:
			return fmt.Errorf("%w: operation %d checks nothing", ErrInvalid, i)
		case seen[op.Key]:
			return fmt.Errorf("%w: operation %d names a key a second time", ErrInvalid, i)
		}
		seen[op.Key] = true
	}
	if size > MaxBatch {
		return fmt.Errorf("%w: a batch of %d octets; %d are allowed", ErrInvalid, size, MaxBatch)
	}
	return nil
}

// CheckKey says, as an ErrInvalid, why key cannot be one.
func CheckKey(key string) error {
	if key == "" || len(key) > MaxKey {
		return fmt.Errorf("%w: a key of %d octets; 1 to %d are allowed", ErrInvalid, len(key), MaxKey)
	}
	return nil
}

// An Event is one change, or the word that changes were missed.
type Event struct {
	// Reset: events were lost. The watcher drops what it holds; later events
	// are complete again. The other fields are empty.
	Reset bool

	// Lost: changes may be missed from now on, until a Reset. The watcher asks
	// the store itself for what it needs. The other fields are empty.
	Lost bool

	Deleted bool  // the key was removed; Entry has Key and Revision only
	Entry   Entry // the state after the change
}

// A Store keeps sealed records under ordered keys. It never sees a secret.
//
// Methods may be called from many goroutines. Values passed in and handed out
// are not shared: the caller may change them afterwards. Every method returns
// soon after ctx ends, with an error that wraps ErrUnavailable or the
// context's own.
//
// storetest.Cases checks these sentences; change both together.
type Store interface {
	// Get returns the entry at key, or ErrNotFound. It sees every Apply that
	// was answered before it was called. A key that CheckKey refuses is
	// ErrInvalid.
	Get(ctx context.Context, key string) (Entry, error)

	// Scan returns up to limit entries whose keys begin with prefix and are
	// greater than after, in the order of their octets. Both may be empty.
	// Fewer than limit means that there are no more. A limit under 1 is
	// ErrInvalid. A batch is seen whole or not at all.
	Scan(ctx context.Context, prefix, after string, limit int) ([]Entry, error)

	// Apply carries out b whole or not at all, and returns its revision once
	// it would survive a loss of power. A demand that does not hold makes it
	// ErrConflict, and nothing is changed; a store without room says ErrFull,
	// and changes nothing either. When ctx ends halfway the outcome is either
	// of the two, but never a part.
	Apply(ctx context.Context, b Batch) (Revision, error)

	// Watch sends every change to a key that begins with prefix, by this or
	// another process, that was answered after Watch returned: in the order
	// of their revisions, each once; those of one batch in any order. A Check,
	// and removing nothing, is no change. A watcher that is too slow gets a Reset
	// instead of holding others up, and a store that is cut off from others that
	// write says Lost at once, and Reset when it no longer is. The channel is closed when ctx ends or the
	// store closes, and not before.
	Watch(ctx context.Context, prefix string) (<-chan Event, error)
}

// A Snapshotter is a Store that can show all its entries as they were at one
// moment, however long that takes and whatever is written meanwhile. It is
// optional: a backup wants it.
//
// storetest.Cases checks these sentences for a store that has the method.
type Snapshotter interface {
	// Snapshot calls each for every entry, in the order of their keys, as of
	// one revision: with everything that was answered before
	// Snapshot was called, and with each batch whole or not at all. begin is
	// called once, with that revision, before each. Neither holds up a read or
	// a write, even if it takes long. Their error ends the Snapshot, which
	// returns it as it is.
	Snapshot(ctx context.Context, begin func(Revision) error, each func(Entry) error) error
}

// A Nearby is a Store that has some entries at hand, and can show those without
// waiting for a disk, a network or a writer. It is optional: an engine looks up an account
// that way where it would hold others up by waiting.
//
// storetest.Cases checks these sentences for a store that has the method.
type Nearby interface {
	// AtHand appends to room the value at key, and returns that and the revision,
	// as Get would tell them. Where it cannot say that at once ok is false and value
	// is room, which says nothing of the entry.
	AtHand(room []byte, key string) (value []byte, r Revision, ok bool)
}

type currentKey struct{}

// Current returns a context whose reads want what the store has now. A store
// that goes on from a copy while others write to what it is a copy of says
// ErrUnavailable to them; every other store always tells what it has now.
func Current(ctx context.Context) context.Context { return context.WithValue(ctx, currentKey{}, true) }

// WantsCurrent says whether ctx comes of Current.
func WantsCurrent(ctx context.Context) bool { return ctx.Value(currentKey{}) != nil }
