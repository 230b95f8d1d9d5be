package radius

import (
	"bytes"
	"crypto/subtle"
	"net/netip"
	"slices"
	"strings"
	"sync/atomic"
	"time"
	"unicode"
	"unicode/utf8"
)

// An OldSecret tells how far the change of a client's shared secret has come.
type OldSecret struct {
	Client  string
	Until   time.Time // taken before, and not from then on
	Packets uint64    // that came with it since it became the old one
	Used    time.Time // when the last of them came; zero: none
	Source  netip.Addr
}

// oldUse is what OldSecret tells of one key.
type oldUse struct {
	packets atomic.Uint64
	last    atomic.Pointer[lastUse]
	ended   atomic.Int64 // the latest OldUntil that was reached, in milliseconds since 1970
}

type lastUse struct {
	at     time.Time
	source netip.Addr
}

// keysOf returns the keys that t has for the client called name.
func (t *table) keysOf(name string) []*key {
	if c := t.names[name]; c != nil {
		return c.keys
	}
	return nil
}

// keyFor returns the key of known for secret where it has the same part there,
// with what was counted of it, or a new one.
func keyFor(secret []byte, old bool, known []*key) *key {
	for _, k := range known {
		if k.old == old && subtle.ConstantTimeCompare(k.secret, secret) == 1 {
			return k
		}
	}
	k := newKey(secret)
	k.old = old
	return k
}

// live returns the keys of c that are taken now, the new one first. One that has
// ended does not come back with a clock that is set back.
func (c *client) live(now time.Time) []*key {
	if len(c.keys) < 2 {
		return c.keys
	}
	until, ended := c.OldUntil.UnixMilli(), &c.keys[1].use.ended
	switch {
	case until <= ended.Load():
		return c.keys[:1]
	case !now.Before(c.OldUntil):
		ended.Store(until)
		return c.keys[:1]
	}
	return c.keys
}

// usedOld notes that a request came with the old secret.
func (s *Server) usedOld(c *client, k *key, source netip.Addr, now time.Time) {
	k.use.packets.Add(1)
	k.use.last.Store(&lastUse{now, source})
	if held, ok := s.olds.pass(source, now); ok {
		s.log.Warn("radius: request with the old shared secret; give the device the new one before the old one ends",
			"client", c.Name, "source", source, "until", c.OldUntil, "held_back", held)
	}
}

// OldSecrets returns the changes of secrets that are going on, by the names of
// the clients.
func (s *Server) OldSecrets() []OldSecret {
	var all []OldSecret
	for name, c := range s.table.Load().names {
		for _, k := range c.live(time.Now()) {
			if !k.old {
				continue
			}
			o := OldSecret{Client: name, Until: c.OldUntil, Packets: k.use.packets.Load()}
			if last := k.use.last.Load(); last != nil {
				o.Used, o.Source = last.at, last.source
			}
			all = append(all, o)
		}
	}
	slices.SortFunc(all, func(a, b OldSecret) int { return strings.Compare(a.Client, b.Client) })
	return all
}

// reveal decodes a User-Password into text, which has its length. A request
// without Message-Authenticator does not say which secret it was made with:
// during a change that is the new one, or the old one where only that makes
// text of the password. The reply is signed with the same. mask is what hidden is
// hidden with under r.key, where that is known already, or nil.
func (r *request) reveal(text, hidden, mask []byte) {
	if len(mask) == len(hidden) {
		subtle.XORBytes(text, hidden, mask)
	} else {
		r.key.reveal(text, hidden, r.packet.authenticator())
	}
	if r.packet.signatures > 0 || isText(text) {
		return
	}
	for _, k := range r.client.live(r.arrived) {
		if !k.old {
			continue
		}
		k.reveal(text, hidden, r.packet.authenticator())
		if isText(text) {
			r.key = k
			return
		}
	}
	r.key.reveal(text, hidden, r.packet.authenticator())
	r.garbled = true
}

// isText says whether somebody can have typed what was decoded: valid UTF-8
// without control characters, and NUL from its end on. What another secret
// makes of 16 octets is that once in some hundred thousand times, and of 32, as
// an app password has, never.
func isText(decoded []byte) bool {
	typed := bytes.TrimRight(decoded, "\x00")
	return utf8.Valid(typed) && !bytes.ContainsFunc(typed, unicode.IsControl)
}
