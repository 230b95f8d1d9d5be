package local

import (
	"context"
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"

	"golang.org/x/crypto/argon2"

	"github.com/keywicket/keywicket/core/directory"
	"github.com/keywicket/keywicket/core/secret"
	"github.com/keywicket/keywicket/core/store"
)

// A Cost is what one hash with argon2id takes (RFC 9106, section 3.1).
type Cost struct {
	Time      uint32 // passes
	MemoryKiB uint32
	Threads   uint8 // lanes
}

// DefaultCost is the second recommended option of RFC 9106, section 4.
func DefaultCost() Cost { return Cost{Time: 3, MemoryKiB: 64 << 10, Threads: 4} }

// maxCost bounds what is read back, so that one damaged or planted record
// cannot take the machine's memory.
func maxCost() Cost { return Cost{Time: 16, MemoryKiB: 1 << 20, Threads: 16} }

func (c Cost) withDefaults() Cost {
	limit, standard := maxCost(), DefaultCost()
	if c.Time == 0 {
		c.Time = standard.Time
	}
	if c.MemoryKiB == 0 {
		c.MemoryKiB = standard.MemoryKiB
	}
	if c.Threads == 0 {
		c.Threads = standard.Threads
	}
	return Cost{min(c.Time, limit.Time), min(c.MemoryKiB, limit.MemoryKiB), min(c.Threads, limit.Threads)}
}

func (c Cost) bounded() bool {
	limit := maxCost()
	return 0 < c.Time && c.Time <= limit.Time && 0 < c.MemoryKiB && c.MemoryKiB <= limit.MemoryKiB &&
		0 < c.Threads && c.Threads <= limit.Threads
}

const (
	saltSize    = 16   // octets (RFC 9106, section 3.1)
	hashSize    = 32   // octets
	maxPassword = 1024 // octets
)

// A phc is a hash of a main password in parts. Its text is the PHC string
//
//	$argon2id$v=19$m=65536,t=3,p=4$<salt>$<hash>
//
// with base64 that has no padding.
type phc struct {
	cost Cost
	salt []byte
	hash []byte
}

func (h phc) String() string {
	b64 := base64.RawStdEncoding.EncodeToString
	return fmt.Sprintf("$argon2id$v=%d$m=%d,t=%d,p=%d$%s$%s", argon2.Version, h.cost.MemoryKiB, h.cost.Time, h.cost.Threads, b64(h.salt), b64(h.hash))
}

// parsePHC reads the text of a hash. Its error is a store.ErrDamaged.
func parsePHC(text string) (phc, error) {
	fields := strings.Split(text, "$")
	if len(fields) != 6 || fields[0] != "" || fields[1] != "argon2id" || fields[2] != "v="+strconv.Itoa(argon2.Version) {
		return phc{}, fmt.Errorf("%w: not a PHC string of argon2id, version %d", store.ErrDamaged, argon2.Version)
	}
	var h phc
	var err error
	if h.cost, err = parseCost(fields[3]); err != nil {
		return phc{}, fmt.Errorf("%w: %w", store.ErrDamaged, err)
	}
	salt, errSalt := base64.RawStdEncoding.DecodeString(fields[4])
	hash, errHash := base64.RawStdEncoding.DecodeString(fields[5])
	if errSalt != nil || errHash != nil || len(salt) != saltSize || len(hash) != hashSize {
		return phc{}, fmt.Errorf("%w: salt or hash of the PHC string", store.ErrDamaged)
	}
	h.salt, h.hash = salt, hash
	if h.String() != text { // leading zeros, line breaks in the base64
		return phc{}, fmt.Errorf("%w: PHC string in another form than it was written", store.ErrDamaged)
	}
	return h, nil
}

func parseCost(text string) (c Cost, err error) {
	params := strings.Split(text, ",")
	if len(params) != 3 {
		return c, errors.New("parameters of the PHC string")
	}
	var v [3]uint64
	for i, name := range []string{"m=", "t=", "p="} {
		digits, ok := strings.CutPrefix(params[i], name)
		if v[i], err = strconv.ParseUint(digits, 10, 32); !ok || err != nil {
			return c, fmt.Errorf("parameter %q of the PHC string", params[i])
		}
	}
	if v[2] > uint64(maxCost().Threads) {
		return c, fmt.Errorf("parameter %q of the PHC string is out of bounds", params[2])
	}
	c = Cost{MemoryKiB: uint32(v[0]), Time: uint32(v[1]), Threads: uint8(v[2])}
	if !c.bounded() {
		return c, fmt.Errorf("parameters %q of the PHC string are out of bounds", text)
	}
	return c, nil
}

// dummy is a hash that no password has, as slow as one that is made now.
func (d *Directory) dummy() phc {
	return phc{cost: d.cost, salt: make([]byte, saltSize), hash: make([]byte, hashSize)}
}

// matches reports whether password hashes to h, without telling by its time
// how much of it is right. The error is an ErrUnavailable: ctx ended before
// there was a slot.
func (d *Directory) matches(ctx context.Context, h phc, password []byte) (bool, error) {
	got, err := d.derive(ctx, h.cost, h.salt, password)
	if err != nil {
		return false, err
	}
	defer clear(got)
	return subtle.ConstantTimeCompare(got, h.hash) == 1, nil
}

// derive hashes password in a slot. argon2id itself cannot be interrupted: once
// begun it runs to its end.
func (d *Directory) derive(ctx context.Context, c Cost, salt, password []byte) ([]byte, error) {
	if err := ctx.Err(); err != nil { // select picks at random if both are ready
		return nil, fmt.Errorf("%w: %w", directory.ErrUnavailable, err)
	}
	select {
	case d.slots <- struct{}{}:
	case <-ctx.Done():
		return nil, fmt.Errorf("%w: too many main passwords are being checked: %w", directory.ErrUnavailable, ctx.Err())
	}
	defer func() { <-d.slots }()
	return argon2.IDKey(password, salt, c.Time, c.MemoryKiB, c.Threads, hashSize), nil
}

// hash returns the PHC string of a main password that is to be set.
func (d *Directory) hash(ctx context.Context, password []byte) (string, error) {
	if err := checkLength(password); err != nil {
		return "", err
	}
	text, err := secret.Parse(password)
	text.Wipe()
	if err == nil || errors.Is(err, secret.ErrCheck) {
		return "", fmt.Errorf("%w: this looks like an app password: a main password may not be %d, %d or %d letters without i, l, o and digits, because it could not be told from one",
			directory.ErrInvalid, secret.Tiny, secret.Standard, secret.Long)
	}
	h := phc{cost: d.cost, salt: make([]byte, saltSize)}
	if _, err := io.ReadFull(d.rand, h.salt); err != nil {
		return "", fmt.Errorf("read randomness for a salt: %w", err)
	}
	if h.hash, err = d.derive(ctx, h.cost, h.salt, password); err != nil {
		return "", err
	}
	defer clear(h.hash)
	return h.String(), nil
}

func checkLength(password []byte) error {
	if len(password) == 0 || len(password) > maxPassword {
		return fmt.Errorf("%w: a main password of %d octets; 1 to %d are allowed", directory.ErrInvalid, len(password), maxPassword)
	}
	return nil
}
