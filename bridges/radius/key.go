package radius

import (
	"crypto/hmac"
	"crypto/md5" //nolint:gosec // RFC 2865 and RFC 3579 know nothing else
	"hash"
	"sync"
)

const digestLen = md5.Size

// A key is a shared secret, ready for use from many goroutines.
type key struct {
	secret []byte
	pool   sync.Pool // of *digests
	old    bool      // the one of before, during a change
	use    oldUse
}

// digests are kept for the next packet: making an HMAC costs more than using it.
type digests struct {
	mac, sum hash.Hash
	out      [digestLen]byte
	zero     [digestLen]byte // stays zero
}

func newKey(secret []byte) *key {
	k := &key{secret: append([]byte(nil), secret...)}
	k.pool.New = func() any { return &digests{mac: hmac.New(md5.New, k.secret), sum: md5.New()} }
	return k
}

// signs reports whether the Message-Authenticator of the request p, which
// starts at p.signature, is right: HMAC-MD5 over the packet with zeros in its
// place (RFC 3579, section 3.2).
func (k *key) signs(p *packet) bool {
	d := k.pool.Get().(*digests)
	defer k.pool.Put(d)
	value := p.signature + 2
	d.mac.Reset()
	d.mac.Write(p.raw[:value])
	d.mac.Write(d.zero[:])
	d.mac.Write(p.raw[value+digestLen:])
	return hmac.Equal(d.mac.Sum(d.out[:0]), p.raw[value:value+digestLen])
}

// sign completes reply, whose first attribute is an empty
// Message-Authenticator: first that one, over the authenticator of the request
// (RFC 3579, section 3.2), then the Response Authenticator (RFC 2865, section 3).
func (k *key) sign(reply, requestAuthenticator []byte) {
	d := k.pool.Get().(*digests)
	defer k.pool.Put(d)
	copy(reply[4:headerLen], requestAuthenticator)
	value := reply[headerLen+2 : headerLen+2+digestLen]
	clear(value)
	d.mac.Reset()
	d.mac.Write(reply)
	copy(value, d.mac.Sum(d.out[:0]))
	d.sum.Reset()
	d.sum.Write(reply)
	d.sum.Write(k.secret)
	copy(reply[4:headerLen], d.sum.Sum(d.out[:0]))
}

// hide encrypts a key of 16 octets for MS-MPPE-Send-Key and MS-MPPE-Recv-Key:
// the salt, and then the length, the key and padding in two blocks (RFC 2548,
// section 2.4.2).
func (k *key) hide(plain [digestLen]byte, salt [2]byte, requestAuthenticator []byte) []byte {
	d := k.pool.Get().(*digests)
	defer k.pool.Put(d)
	var blocks [2 * digestLen]byte
	blocks[0] = digestLen
	copy(blocks[1:], plain[:])
	out := append(make([]byte, 0, len(salt)+len(blocks)), salt[:]...)
	for at := 0; at < len(blocks); at += digestLen {
		d.sum.Reset()
		d.sum.Write(k.secret)
		if at == 0 {
			d.sum.Write(requestAuthenticator)
			d.sum.Write(salt[:])
		} else {
			d.sum.Write(out[len(out)-digestLen:])
		}
		mask := d.sum.Sum(d.out[:0])
		for i := range mask {
			out = append(out, blocks[at+i]^mask[i])
		}
	}
	clear(d.out[:])
	clear(blocks[:])
	return out
}

// reveal decodes the blocks of a User-Password in hidden into text, which has
// the same length, a multiple of 16 (RFC 2865, section 5.2).
func (k *key) reveal(text, hidden, requestAuthenticator []byte) {
	d := k.pool.Get().(*digests)
	defer k.pool.Put(d)
	before := requestAuthenticator
	for at := 0; at < len(hidden); at += digestLen {
		d.sum.Reset()
		d.sum.Write(k.secret)
		d.sum.Write(before)
		mask := d.sum.Sum(d.out[:0])
		for i := range mask {
			text[at+i] = hidden[at+i] ^ mask[i]
		}
		before = hidden[at : at+digestLen]
	}
	clear(d.out[:])
}
