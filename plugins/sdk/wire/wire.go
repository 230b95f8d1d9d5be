package wire

import (
	"time"

	plugin "github.com/hashicorp/go-plugin"
)

const (
	// V1 is the version that keywicket.plugin.v1 has in go-plugin's
	// negotiation.
	V1 = 1

	// Name is what the one plugin of a program is called in go-plugin's set.
	Name = "keywicket"

	// MaxMessage is the most octets of a message, either way.
	MaxMessage = 4 << 20

	// Deadline is how long a call may take that is no stream.
	Deadline = 2 * time.Second

	// MaxText is how much of a plugin's text is kept, in octets.
	MaxText = 1 << 10
)

// Handshake keeps a program that is no plugin from being taken for one. It is
// no secret and proves nothing.
func Handshake() plugin.HandshakeConfig {
	return plugin.HandshakeConfig{MagicCookieKey: "KEYWICKET_PLUGIN", MagicCookieValue: "7f1d4a0c2b9e4c6f8a53d1e60b7c9428"}
}
