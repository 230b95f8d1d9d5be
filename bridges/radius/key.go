package radius

import (
	"crypto/hmac"
	"crypto/md5" //nolint:gosec // RFC 2865 and RFC 3579 know nothing else
	"crypto/subtle"
	"hash"
	"sync"

	"github.com/keywicket/keywicket/bridges/radius/digest"
)

const digestLen = md5.Size

// A key is a shared secret, ready for use from many goroutines.
type key struct {
	secret []byte
	mac    *digest.Key // the same, for many at a time
	pool   sync.Pool   // of *digests
	old    bool        // the one of before, during a change
	use    oldUse
}

// digests are kept for the next packet: making an HMAC costs more than using it.
type digests struct {
	mac, sum hash.Hash
	out      [digestLen]byte
	zero     [digestLen]byte // stays zero

	// What MD5 is made over, in one piece: that is quicker than adding the parts.
	begun []byte // the secret, and room for what follows it
	whole []byte // a reply, and then the secret
}

func newKey(secret []byte) *key {
	k := &key{secret: append([]byte(nil), secret...), mac: digest.NewKey(secret)}
	k.pool.New = func() any {
		return &digests{mac: hmac.New(md5.New, k.secret), sum: md5.New(), begun: append(make([]byte, 0, len(k.secret)+2*digestLen), k.secret...)}
	}
	return k
}

// mask returns what octets are hidden with: MD5 over the secret, what comes before
// them, and a salt.
func (d *digests) mask(before, salt []byte) [digestLen]byte {
	return md5.Sum(append(append(d.begun, before...), salt...)) //nolint:gosec // see above
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
	d.whole = append(append(d.whole[:0], reply...), k.secret...)
	sum := md5.Sum(d.whole) //nolint:gosec // see above
	copy(reply[4:headerLen], sum[:])
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
	mask := d.mask(requestAuthenticator, salt[:])
	for at := 0; at < len(blocks); at += digestLen {
		if at > 0 {
			mask = d.mask(out[len(out)-digestLen:], nil)
		}
		for i := range mask {
			out = append(out, blocks[at+i]^mask[i])
		}
	}
	clear(mask[:])
	clear(blocks[:])
	return out
}

// reveal decodes the blocks of a User-Password in hidden into text, which has
// the same length, a multiple of 16 (RFC 2865, section 5.2).
func (k *key) reveal(text, hidden, requestAuthenticator []byte) {
	d := k.pool.Get().(*digests)
	defer k.pool.Put(d)
	var mask [digestLen]byte
	before := requestAuthenticator
	for at := 0; at < len(hidden); at += digestLen {
		mask = d.mask(before, nil)
		subtle.XORBytes(text[at:], hidden[at:at+digestLen], mask[:])
		before = hidden[at : at+digestLen]
	}
	clear(mask[:])
}
