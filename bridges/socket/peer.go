package socket

import (
	"fmt"
	"os/user"
	"strconv"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// A Peer is who is at the other end of a connection, as the kernel says.
type Peer struct {
	UID    uint32
	PID    int32
	Groups []uint32 // the first one and the supplementary ones
}

// String returns the peer as it stands in logs and in the audit.
func (p Peer) String() string {
	if u, err := user.LookupId(strconv.FormatUint(uint64(p.UID), 10)); err == nil {
		return fmt.Sprintf("uid %d (%s)", p.UID, u.Username)
	}
	return fmt.Sprintf("uid %d", p.UID)
}

// PeerOf asks the kernel who connected (SO_PEERCRED, SO_PEERGROUPS).
func PeerOf(conn syscall.Conn) (Peer, error) {
	raw, err := conn.SyscallConn()
	if err != nil {
		return Peer{}, err
	}
	var p Peer
	var asked error
	if err := raw.Control(func(fd uintptr) { p, asked = ask(int(fd)) }); err != nil {
		return Peer{}, err
	}
	return p, asked
}

func ask(fd int) (Peer, error) {
	cred, err := unix.GetsockoptUcred(fd, unix.SOL_SOCKET, unix.SO_PEERCRED)
	if err != nil {
		return Peer{}, fmt.Errorf("SO_PEERCRED: %w", err)
	}
	groups, err := peerGroups(fd)
	if err != nil {
		return Peer{}, fmt.Errorf("SO_PEERGROUPS: %w", err)
	}
	return Peer{UID: cred.Uid, PID: cred.Pid, Groups: append(groups, cred.Gid)}, nil
}

// maxGroups is the most groups that Linux lets a process be in (NGROUPS_MAX).
const maxGroups = 1 << 16

// peerGroups returns the supplementary groups of the peer (SO_PEERGROUPS, Linux
// 4.13), for which golang.org/x/sys/unix has no function.
func peerGroups(fd int) ([]uint32, error) {
	for n := uint32(64); n <= maxGroups; n *= 4 {
		groups := make([]uint32, n)
		size := n * 4
		_, _, errno := unix.Syscall6(unix.SYS_GETSOCKOPT, uintptr(fd), unix.SOL_SOCKET, unix.SO_PEERGROUPS,
			uintptr(unsafe.Pointer(&groups[0])), uintptr(unsafe.Pointer(&size)), 0)
		switch errno {
		case 0:
			return groups[:size/4], nil
		case unix.ERANGE: // more than that
			continue
		}
		return nil, errno
	}
	return nil, unix.ERANGE
}
