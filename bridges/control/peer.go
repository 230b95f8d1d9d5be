package control

import (
	"context"
	"errors"
	"net"
	"slices"
	"syscall"

	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/peer"

	"github.com/keywicket/keywicket/bridges/socket"
)

// A caller is who is at the other end of a connection.
type caller struct {
	credentials.CommonAuthInfo
	socket.Peer
}

// AuthType names how the caller is known, for gRPC.
func (caller) AuthType() string { return "SO_PEERCRED" }

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
	return c.UID == 0 || c.UID == owner || (group > 0 && slices.Contains(c.Groups, uint32(group)))
}

// peerCredentials asks the kernel who connected. There is nothing to encrypt
// on a unix socket.
type peerCredentials struct{}

// ServerHandshake asks for the peer of conn.
func (peerCredentials) ServerHandshake(conn net.Conn) (net.Conn, credentials.AuthInfo, error) {
	s, ok := conn.(syscall.Conn)
	if !ok {
		return nil, nil, errors.New("not a socket")
	}
	p, err := socket.PeerOf(s)
	if err != nil {
		return nil, nil, err
	}
	return conn, caller{credentials.CommonAuthInfo{SecurityLevel: credentials.PrivacyAndIntegrity}, p}, nil
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
