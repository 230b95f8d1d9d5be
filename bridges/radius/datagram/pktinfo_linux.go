package datagram

import (
	"encoding/binary"
	"net/netip"
	"strconv"
	"unsafe"

	"golang.org/x/sys/unix"
)

// controlLen is room for one IP_PKTINFO, one IPV6_PKTINFO, one SCM_TIMESTAMPNS and
// one UDP_GRO or UDP_SEGMENT message.
const controlLen = 160

// readControl reads what the kernel said beside a datagram: which address it
// was sent to, where the next of the same sender begins in it, and when it came
// in Unix nanoseconds.
func readControl(oob []byte) (local netip.Addr, iface uint32, segment int, came int64) {
	for len(oob) >= unix.SizeofCmsghdr {
		header, data, rest, err := unix.ParseOneSocketControlMessage(oob)
		if err != nil {
			break
		}
		switch {
		case header.Level == unix.IPPROTO_IP && header.Type == unix.IP_PKTINFO && len(data) >= unix.SizeofInet4Pktinfo:
			// ipi_spec_dst, not ipi_addr: the one to answer from, also for a broadcast.
			local, iface = netip.AddrFrom4([4]byte(data[4:8])), binary.NativeEndian.Uint32(data)
		case header.Level == unix.IPPROTO_IPV6 && header.Type == unix.IPV6_PKTINFO && len(data) >= unix.SizeofInet6Pktinfo:
			if local.IsValid() { // a dual socket says both; the first is the one to answer from
				break
			}
			local, iface = netip.AddrFrom16([16]byte(data[:16])), binary.NativeEndian.Uint32(data[16:])
		case header.Level == unix.SOL_UDP && header.Type == unix.UDP_GRO && len(data) >= 4:
			segment = int(int32(binary.NativeEndian.Uint32(data)))
		case header.Level == unix.SOL_SOCKET && header.Type == unix.SCM_TIMESTAMPNS:
			var t unix.Timespec
			copy((*[unsafe.Sizeof(t)]byte)(unsafe.Pointer(&t))[:], data)
			came = t.Nano()
		}
		oob = rest
	}
	return local, iface, segment, came
}

// appendLocal appends the message that makes a datagram leave from to.Local.
// The interface is left to the routes, except for a link-local address.
func appendLocal(oob []byte, to *Path) []byte {
	switch {
	case !to.Local.IsValid() || to.Local.IsMulticast():
		return oob
	case to.Local.Is4():
		oob = appendHeader(oob, unix.IPPROTO_IP, unix.IP_PKTINFO, unix.SizeofInet4Pktinfo)
		local := to.Local.As4()
		oob = append(oob, 0, 0, 0, 0)
		oob = append(oob, local[:]...)
		return pad(append(oob, 0, 0, 0, 0), unix.SizeofInet4Pktinfo)
	}
	var iface uint32
	if to.Local.IsLinkLocalUnicast() {
		iface = to.Iface
	}
	oob = appendHeader(oob, unix.IPPROTO_IPV6, unix.IPV6_PKTINFO, unix.SizeofInet6Pktinfo)
	local := to.Local.As16()
	oob = append(oob, local[:]...)
	return pad(binary.NativeEndian.AppendUint32(oob, iface), unix.SizeofInet6Pktinfo)
}

// appendSegment appends the message that makes the kernel cut what is sent
// into datagrams of size octets.
func appendSegment(oob []byte, size int) []byte {
	oob = appendHeader(oob, unix.SOL_UDP, unix.UDP_SEGMENT, 2)
	return pad(binary.NativeEndian.AppendUint16(oob, uint16(size)), 2)
}

// pad appends what is missing to where the next message begins.
func pad(oob []byte, size int) []byte {
	var zeros [16]byte
	return append(oob, zeros[:unix.CmsgSpace(size)-unix.CmsgLen(size)]...)
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
