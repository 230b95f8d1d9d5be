package datagram

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"sync/atomic"
	"syscall"
	"time"
)

// A Path is where a datagram came from, and so where its answer goes: back to
// Peer, out of Local.
type Path struct {
	Peer  netip.AddrPort // without zone; an IPv4 address as IPv4, on every socket
	Local netip.Addr     // that was asked; the zero Addr where the socket has one address alone
	Iface uint32         // index; needed for link-local addresses
}

// A Conn is a UDP socket. Any number of Writers may use it at a time, and as
// many Readers.
type Conn struct {
	udp  *net.UDPConn
	raw  syscall.RawConn
	six  bool        // AF_INET6
	asks bool        // for Local
	gro  bool        // what is read may be many datagrams of one sender
	gso  atomic.Bool // the same for what is written
}

// Listen binds address up to n times, so that as many Readers can work at once:
// the kernel gives what comes from one address and port to the same of them,
// always. There is one at least. The address is taken whole: another program
// that has it, or wants it later, gets an error, also one that shares its ports.
func Listen(network, address string, n int) ([]*Conn, error) {
	first, err := listen(network, address, false)
	if err != nil {
		return nil, err
	}
	all := []*Conn{first}
	if n < 2 || first.share() != nil {
		return all, nil
	}
	for len(all) < n {
		// With the port that the kernel chose, where address said 0.
		next, err := listen(network, samePort(address, first.Addr()), true)
		if err != nil { // fewer do too
			break
		}
		all = append(all, next)
	}
	return all, nil
}

func samePort(address string, bound netip.AddrPort) string {
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return bound.String()
	}
	_, port, _ := net.SplitHostPort(bound.String())
	return net.JoinHostPort(host, port)
}

func listen(network, address string, shared bool) (*Conn, error) {
	lc := net.ListenConfig{}
	if shared {
		lc.Control = func(_, _ string, raw syscall.RawConn) error { return share(raw) }
	}
	conn, err := lc.ListenPacket(context.Background(), network, address)
	if err != nil {
		return nil, err
	}
	return newConn(conn.(*net.UDPConn))
}

func newConn(udp *net.UDPConn) (*Conn, error) {
	raw, err := udp.SyscallConn()
	if err != nil {
		return nil, errors.Join(err, udp.Close())
	}
	c := &Conn{udp: udp, raw: raw}
	if err := c.prepare(); err != nil {
		return nil, errors.Join(err, udp.Close())
	}
	return c, nil
}

func (c *Conn) share() error { return share(c.raw) }

// SetBuffers wishes for so many octets of room for what waits to be read and
// to be sent; the kernel gives what it allows.
func (c *Conn) SetBuffers(octets int) {
	if !c.forceBuffers(octets) {
		_ = c.udp.SetReadBuffer(octets)
		_ = c.udp.SetWriteBuffer(octets)
	}
}

// Addr is what was bound, with the port that the kernel chose for port 0.
func (c *Conn) Addr() netip.AddrPort { return c.udp.LocalAddr().(*net.UDPAddr).AddrPort() }

// Offloads says whether the kernel takes and gives many datagrams in one piece.
func (c *Conn) Offloads() (receive, send bool) { return c.gro, c.gso.Load() }

// DisableOffload makes every datagram that is written one of its own.
func (c *Conn) DisableOffload() { c.gso.Store(false) }

// SetReadDeadline ends every Read at t, which then returns os.ErrDeadlineExceeded.
func (c *Conn) SetReadDeadline(t time.Time) error { return c.udp.SetReadDeadline(t) }

// Close ends every Read, which then returns net.ErrClosed.
func (c *Conn) Close() error { return c.udp.Close() }
