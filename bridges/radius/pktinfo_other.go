//go:build !linux

package radius

import (
	"net/netip"
	"syscall"
)

const controlLen = 1

// Elsewhere the system chooses the address that an answer leaves from. With
// one address per Listen entry it can choose no other.
func wantLocalAddress(_, _ string, _ syscall.RawConn) error { return nil }

func localAddress([]byte) (netip.Addr, uint32) { return netip.Addr{}, 0 }

func fromAddress(oob []byte, _ *path) []byte { return oob }
