package radius

import (
	"encoding/binary"
	"errors"
	"net/netip"
	"strconv"
	"syscall"

	"golang.org/x/sys/unix"
)

// controlLen is room for one IP_PKTINFO and one IPV6_PKTINFO message.
const controlLen = 96

// wantLocalAddress asks the kernel to say for each datagram which address it
// was sent to.
func wantLocalAddress(network, _ string, conn syscall.RawConn) error {
	var err error
	control := func(fd uintptr) {
		if network == "udp4" {
			err = unix.SetsockoptInt(int(fd), unix.IPPROTO_IP, unix.IP_PKTINFO, 1)
			return
		}
		err = unix.SetsockoptInt(int(fd), unix.IPPROTO_IPV6, unix.IPV6_RECVPKTINFO, 1)
	}
	return errors.Join(conn.Control(control), err)
}

// localAddress reads what the kernel said.
func localAddress(oob []byte) (netip.Addr, uint32) {
	for len(oob) >= unix.SizeofCmsghdr {
		header, data, rest, err := unix.ParseOneSocketControlMessage(oob)
		if err != nil {
			break
		}
		switch {
		case header.Level == unix.IPPROTO_IP && header.Type == unix.IP_PKTINFO && len(data) >= unix.SizeofInet4Pktinfo:
			// ipi_spec_dst, not ipi_addr: the one to answer from, also for a broadcast.
			return netip.AddrFrom4([4]byte(data[4:8])), binary.NativeEndian.Uint32(data)
		case header.Level == unix.IPPROTO_IPV6 && header.Type == unix.IPV6_PKTINFO && len(data) >= unix.SizeofInet6Pktinfo:
			return netip.AddrFrom16([16]byte(data[:16])), binary.NativeEndian.Uint32(data[16:])
		}
		oob = rest
	}
	return netip.Addr{}, 0
}

// fromAddress appends the message that makes a datagram leave from to.local.
// The interface is left to the routes, except for a link-local address.
func fromAddress(oob []byte, to *path) []byte {
	switch {
	case !to.local.IsValid() || to.local.IsMulticast():
		return oob
	case to.local.Is4():
		oob = appendHeader(oob, unix.IPPROTO_IP, unix.IP_PKTINFO, unix.SizeofInet4Pktinfo)
		local := to.local.As4()
		oob = append(oob, 0, 0, 0, 0)
		oob = append(oob, local[:]...)
		return append(oob, 0, 0, 0, 0)
	}
	var iface uint32
	if to.local.IsLinkLocalUnicast() {
		iface = to.iface
	}
	oob = appendHeader(oob, unix.IPPROTO_IPV6, unix.IPV6_PKTINFO, unix.SizeofInet6Pktinfo)
	local := to.local.As16()
	oob = append(oob, local[:]...)
	return binary.NativeEndian.AppendUint32(oob, iface)
}

// appendHeader appends a struct cmsghdr for size octets of data.
func appendHeader(oob []byte, level, kind, size int) []byte {
	length := unix.CmsgLen(size)
	if strconv.IntSize == 64 {
		oob = binary.NativeEndian.AppendUint64(oob, uint64(length))
	} else {
		oob = binary.NativeEndian.AppendUint32(oob, uint32(length))
	}
	oob = binary.NativeEndian.AppendUint32(oob, uint32(level))
	return binary.NativeEndian.AppendUint32(oob, uint32(kind))
}
