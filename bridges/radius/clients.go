package radius

import (
	"crypto/hmac"
	"net/netip"
	"slices"
	"sync/atomic"
	"time"
)

// A table is one configuration, ready for use. It never changes: a reload
// makes another one, and a request stays with the one it came in under.
type table struct {
	config  Config
	clients map[netip.Prefix]*client
	names   map[string]*client
	bits4   []int // lengths of prefixes in clients, longest first
	bits6   []int
	peers   map[string]*peer
}

// A client is what one configuration says of a device.
type client struct {
	*Client
	service string
	keys    []*key // Secrets: the new one, and during a change the old one
	peer    *peer
	interim time.Duration // Acct-Interim-Interval that it is told; 0: none
	unsure  bool          // Memory could not say whether it ever signed: take it that it did

	// mostReply is at least what an Access-Accept to it has of reply attributes, in
	// octets, but for those of app passwords.
	mostReply int
}

// A peer is what is known of a device by its name, from one configuration to
// the next.
type peer struct {
	name     string
	signed   atomic.Bool // has ever sent a valid Message-Authenticator
	history  *history
	failures window
	statuses window
	queue    queue
	delayed  atomic.Int32 // its Rejects that wait
	reports  atomic.Int32 // its Accounting-Requests that are being recorded
}

func newPeer(name string) *peer {
	return &peer{
		name:     name,
		history:  newHistory(),
		failures: window{n: failuresPerSecond},
		statuses: window{n: statusPerSecond},
	}
}

// newTable makes a table of a Config without faults. Peers that before knows
// are taken over.
func newTable(config Config, before *table) *table {
	t := &table{config: config, clients: map[netip.Prefix]*client{}, names: map[string]*client{}, peers: map[string]*peer{}}
	mostOfAll := config.Replies.most()
	for i := range config.Clients {
		said := &config.Clients[i]
		c := &client{Client: said, service: said.service(), interim: interimInterval(said.Reply), mostReply: octetsOf(said.Reply) + mostOfAll}
		t.names[said.Name] = c
		var known []*key
		if before != nil {
			c.peer = before.peers[said.Name]
			known = before.keysOf(said.Name)
		}
		if c.peer == nil {
			c.peer = newPeer(said.Name)
		}
		t.peers[said.Name] = c.peer
		for i, secret := range said.Secrets {
			c.keys = append(c.keys, keyFor(secret, i > 0, known))
		}
		for _, p := range said.Prefixes {
			plain, _ := plainPrefix(p)
			t.clients[plain] = c
			bits := &t.bits6
			if plain.Addr().Is4() {
				bits = &t.bits4
			}
			if !slices.Contains(*bits, plain.Bits()) {
				*bits = append(*bits, plain.Bits())
			}
		}
	}
	for _, bits := range [][]int{t.bits4, t.bits6} {
		slices.SortFunc(bits, func(a, b int) int { return b - a })
	}
	for _, c := range t.names {
		c.peer.failures.limit(c.failures())
	}
	for _, p := range t.peers {
		p.history.share(len(t.peers))
	}
	return t
}

// ClientAt returns the name of the client that requests from source are of, or
// nothing.
func (c *Config) ClientAt(source netip.Addr) string {
	if found := newTable(*c, nil).client(source.Unmap().WithZone("")); found != nil {
		return found.Name
	}
	return ""
}

// client returns the one with the longest prefix that source is in, or nil.
// source is without zone and not IPv4-mapped.
func (t *table) client(source netip.Addr) *client {
	bits := t.bits6
	if source.Is4() {
		bits = t.bits4
	}
	for _, n := range bits {
		p, err := source.Prefix(n)
		if err != nil {
			return nil
		}
		if c := t.clients[p]; c != nil {
			return c
		}
	}
	return nil
}

// requires reports whether requests of c must carry a Message-Authenticator.
func (c *client) requires() bool {
	switch c.RequireMessageAuthenticator {
	case RequireNever:
		return false
	case RequireAuto:
		return c.unsure || c.peer.signed.Load()
	}
	return true
}

// authenticate returns the key by which p is genuine, or why it is not taken.
// Nothing in p has been decoded yet, and nothing is changed by it. Of a signed
// packet first is what its Message-Authenticator should be by the first key.
func (c *client) authenticate(p *packet, first *[digestLen]byte, now time.Time) (*key, drop) {
	switch {
	case p.code() == codeAccountingRequest:
		return c.authenticateReport(p, now)
	case p.signatures > 1:
		return nil, dropMessageAuthenticator
	case p.signatures == 1:
		if p.raw[p.signature+1] != 2+digestLen {
			return nil, dropMessageAuthenticator
		}
		live := c.live(now)
		if hmac.Equal(first[:], p.raw[p.signature+2:][:digestLen]) {
			return live[0], dropNone
		}
		for _, k := range live[1:] {
			if k.signs(p) {
				return k, dropNone
			}
		}
		return nil, dropMessageAuthenticator
	}
	if c.requires() || p.signedAnyway() {
		return nil, dropNoMessageAuthenticator
	}
	if !c.AllowUnsignedProxyState && p.has(attrProxyState) {
		return nil, dropProxyState
	}
	return c.keys[0], dropNone
}
