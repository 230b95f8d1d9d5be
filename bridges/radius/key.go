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
