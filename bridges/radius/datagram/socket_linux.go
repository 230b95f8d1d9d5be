package datagram

import (
	"encoding/binary"
	"errors"
	"net/netip"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// share lets others of this process bind the same address.
func share(raw syscall.RawConn) error {
	return control(raw, func(fd int) error { return unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEPORT, 1) })
}

func control(raw syscall.RawConn, f func(fd int) error) error {
	var err error
	return errors.Join(raw.Control(func(fd uintptr) { err = f(int(fd)) }), err)
}

// prepare asks the kernel for all that this package lives by.
func (c *Conn) prepare() error {
	return control(c.raw, func(fd int) error {
		domain, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_DOMAIN)
		if err != nil {
			return err
		}
		c.six = domain == unix.AF_INET6
		// A socket of one address answers from that one anyway.
		bound := c.Addr().Addr().Unmap()
		c.asks = bound.IsUnspecified() || bound.IsLinkLocalUnicast()
		switch {
		case c.asks && c.six:
			err = unix.SetsockoptInt(fd, unix.IPPROTO_IPV6, unix.IPV6_RECVPKTINFO, 1)
		case c.asks:
			err = unix.SetsockoptInt(fd, unix.IPPROTO_IP, unix.IP_PKTINFO, 1)
		}
		c.gro = unix.SetsockoptInt(fd, unix.SOL_UDP, unix.UDP_GRO, 1) == nil
		_, noGSO := unix.GetsockoptInt(fd, unix.SOL_UDP, unix.UDP_SEGMENT)
		c.gso.Store(noGSO == nil)
		return err
	})
}

// forceBuffers is for those who may have more than everybody may.
func (c *Conn) forceBuffers(octets int) bool {
	return control(c.raw, func(fd int) error {
		return errors.Join(unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, octets),
			unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_SNDBUFFORCE, octets))
	}) == nil
}

// Timestamps has the kernel note when datagrams come (SO_TIMESTAMPNS of socket(7)).
func (c *Conn) Timestamps() error {
	return control(c.raw, func(fd int) error { return unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_TIMESTAMPNS, 1) })
}

// mmsghdr is struct mmsghdr, of recvmmsg(2) and sendmmsg(2).
type mmsghdr struct {
	unix.Msghdr
	n uint32
}

// sendMessages is sendmmsg(2). It returns how many went out.
//
// It never blocks, and so is done without telling the scheduler of Go: that would
// take the processor away from a goroutine whose system call lasts 20 µs, which
// sending a batch does, and have another thread woken for it each time.
func sendMessages(fd uintptr, messages []mmsghdr) (int, unix.Errno) {
	n, _, errno := unix.RawSyscall6(unix.SYS_SENDMMSG, fd, uintptr(unsafe.Pointer(&messages[0])), uintptr(len(messages)), unix.MSG_DONTWAIT, 0, 0)
	return int(n), errno
}

// receiveMessages is recvmmsg(2), in the same way.
func receiveMessages(fd uintptr, messages []mmsghdr) (int, unix.Errno) {
	n, _, errno := unix.RawSyscall6(unix.SYS_RECVMMSG, fd, uintptr(unsafe.Pointer(&messages[0])), uintptr(len(messages)), unix.MSG_DONTWAIT, 0, 0)
	return int(n), errno
}

// A name is a struct sockaddr_in or sockaddr_in6.
type name unix.RawSockaddrInet6

// read returns the address without zone, and the index of a zone.
func (a *name) read() (netip.AddrPort, uint32) {
	if a.Family == unix.AF_INET {
		four := (*unix.RawSockaddrInet4)(unsafe.Pointer(a))
		return netip.AddrPortFrom(netip.AddrFrom4(four.Addr), port(&four.Port)), 0
	}
	return netip.AddrPortFrom(netip.AddrFrom16(a.Addr).Unmap(), port(&a.Port)), a.Scope_id
}

// write fills a for a socket of one family or the other, and returns its length.
func (a *name) write(to netip.AddrPort, iface uint32, six bool) uint32 {
	if !six {
		four := (*unix.RawSockaddrInet4)(unsafe.Pointer(a))
		four.Family, four.Addr = unix.AF_INET, to.Addr().As4()
		setPort(&four.Port, to.Port())
		return unix.SizeofSockaddrInet4
	}
	a.Family, a.Addr, a.Scope_id = unix.AF_INET6, to.Addr().As16(), 0
	if to.Addr().IsLinkLocalUnicast() {
		a.Scope_id = iface
	}
	setPort(&a.Port, to.Port())
	return unix.SizeofSockaddrInet6
}

func port(p *uint16) uint16 { return binary.BigEndian.Uint16((*[2]byte)(unsafe.Pointer(p))[:]) }

func setPort(p *uint16, n uint16) { binary.BigEndian.PutUint16((*[2]byte)(unsafe.Pointer(p))[:], n) }
