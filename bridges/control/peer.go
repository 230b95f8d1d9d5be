package control

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os/user"
	"slices"
	"strconv"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/peer"
)

// A caller is who is at the other end of a connection, as the kernel says.
type caller struct {
	credentials.CommonAuthInfo
	uid    uint32
	pid    int32
	groups []uint32
}

// AuthType names how the caller is known, for gRPC.
func (caller) AuthType() string { return "SO_PEERCRED" }

// String returns the caller as it stands in the audit.
func (c caller) String() string {
	if u, err := user.LookupId(strconv.FormatUint(uint64(c.uid), 10)); err == nil {
		return fmt.Sprintf("uid %d (%s)", c.uid, u.Username)
	}
	return fmt.Sprintf("uid %d", c.uid)
}

// callerOf returns who made the request.
func callerOf(ctx context.Context) (caller, bool) {
	p, ok := peer.FromContext(ctx)
	if !ok {
		return caller{}, false
	}
	c, ok := p.AuthInfo.(caller)
	return c, ok
}

// may says whether c may administer.
func (c caller) may(owner uint32, group int) bool {
	return c.uid == 0 || c.uid == owner || (group > 0 && slices.Contains(c.groups, uint32(group)))
}

// peerCredentials asks the kernel who connected. There is nothing to encrypt
// on a unix socket.
type peerCredentials struct{}

// ServerHandshake asks for the peer of conn.
func (peerCredentials) ServerHandshake(conn net.Conn) (net.Conn, credentials.AuthInfo, error) {
	socket, ok := conn.(syscall.Conn)
	if !ok {
		return nil, nil, errors.New("not a socket")
	}
	raw, err := socket.SyscallConn()
	if err != nil {
		return nil, nil, err
	}
	var c caller
	var asked error
	if err := raw.Control(func(fd uintptr) { c, asked = askPeer(int(fd)) }); err != nil {
		return nil, nil, err
	}
	c.CommonAuthInfo = credentials.CommonAuthInfo{SecurityLevel: credentials.PrivacyAndIntegrity}
	return conn, c, asked
}

func askPeer(fd int) (caller, error) {
	cred, err := unix.GetsockoptUcred(fd, unix.SOL_SOCKET, unix.SO_PEERCRED)
	if err != nil {
		return caller{}, fmt.Errorf("SO_PEERCRED: %w", err)
	}
	groups, err := peerGroups(fd)
	if err != nil {
		return caller{}, fmt.Errorf("SO_PEERGROUPS: %w", err)
	}
	return caller{uid: cred.Uid, pid: cred.Pid, groups: append(groups, cred.Gid)}, nil
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

// ClientHandshake is not used: the package serves.
func (peerCredentials) ClientHandshake(context.Context, string, net.Conn) (net.Conn, credentials.AuthInfo, error) {
	return nil, nil, errors.New("these credentials are for a server")
}

// Info, Clone and OverrideServerName complete credentials.TransportCredentials.
func (peerCredentials) Info() credentials.ProtocolInfo {
	return credentials.ProtocolInfo{SecurityProtocol: "unix"}
}
func (peerCredentials) Clone() credentials.TransportCredentials { return peerCredentials{} }
func (peerCredentials) OverrideServerName(string) error         { return nil }
