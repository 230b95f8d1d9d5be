//go:build !linux

package datagram

import (
	"errors"
	"net"
	"net/netip"
	"syscall"
	"time"
)

// Elsewhere a Conn is one socket, and the system chooses the address that an
// answer leaves from.

func share(syscall.RawConn) error { return errors.ErrUnsupported }

func (c *Conn) prepare() error {
	c.six = !c.udp.LocalAddr().(*net.UDPAddr).AddrPort().Addr().Is4()
	return nil
}

func (*Conn) forceBuffers(int) bool { return false }

// Timestamps does nothing.
func (*Conn) Timestamps() error { return nil }

// A Reader reads from one Conn. It is for one goroutine.
type Reader struct {
	c    *Conn
	buf  [65536]byte
	n    int
	path Path
}

// NewReader makes a Reader of c.
func (c *Conn) NewReader() *Reader { return &Reader{c: c, n: -1} }

// Read waits for a datagram. Next gives it. After Close the error is
// net.ErrClosed.
func (r *Reader) Read() error {
	n, from, err := r.c.udp.ReadFromUDPAddrPort(r.buf[:])
	if err != nil {
		return err
	}
	r.n, r.path = n, Path{Peer: netip.AddrPortFrom(from.Addr().Unmap().WithZone(""), from.Port())}
	if zone, err := net.InterfaceByName(from.Addr().Zone()); err == nil {
		r.path.Iface = uint32(zone.Index)
	}
	return nil
}

// Next returns the datagram and where it came from, and false where there is
// none. Both are the Reader's: from is good until the next call, and data until
// the next Read.
func (r *Reader) Next() (data []byte, from *Path, ok bool) {
	if r.n < 0 {
		return nil, nil, false
	}
	data, r.n = r.buf[:r.n], -1
	return data, &r.path, true
}

// Came is now.
func (r *Reader) Came() time.Time { return time.Now() }

// A Writer writes to one Conn. It is for one goroutine.
type Writer struct{ c *Conn }

// NewWriter makes a Writer to c.
func (c *Conn) NewWriter() *Writer { return &Writer{c} }

// Add sends data.
func (w *Writer) Add(data []byte, to *Path) (failed int, err error) {
	peer := to.Peer
	if w.c.six {
		peer = netip.AddrPortFrom(netip.AddrFrom16(peer.Addr().As16()), peer.Port())
		if zone, err := net.InterfaceByIndex(int(to.Iface)); err == nil && peer.Addr().IsLinkLocalUnicast() {
			peer = netip.AddrPortFrom(peer.Addr().WithZone(zone.Name), peer.Port())
		}
	}
	if _, err := w.c.udp.WriteToUDPAddrPort(data, peer); err != nil {
		return 1, err
	}
	return 0, nil
}

// Flush has nothing to do: Add has sent everything.
func (w *Writer) Flush() (failed int, err error) { return 0, nil }
