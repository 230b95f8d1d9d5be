package radius

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"syscall"
	"time"
)

const (
	receiveBuffer = 4 << 20 // octets, where the kernel allows it
	readPause     = 10 * time.Millisecond
)

// A socket is one address that is listened on.
type socket struct {
	conn *net.UDPConn
	id   uint16
}

func (k *socket) number() uint16 { return k.id }

// listenSocket binds address. Its errors say what to do.
func listenSocket(address string, id uint16) (*socket, error) {
	network, err := network(address)
	if err != nil {
		return nil, fmt.Errorf("radius: listen: %w", err)
	}
	lc := net.ListenConfig{Control: wantLocalAddress}
	conn, err := lc.ListenPacket(context.Background(), network, address)
	switch {
	case errors.Is(err, syscall.EADDRINUSE):
		return nil, fmt.Errorf("radius: listen: %s is in use by another program; stop that one (ss -lunp shows it), or listen on another port: %w", address, err)
	case errors.Is(err, syscall.EADDRNOTAVAIL):
		return nil, fmt.Errorf("radius: listen: %s is no address of this host; correct it, or listen on 0.0.0.0: %w", address, err)
	case errors.Is(err, syscall.EACCES):
		return nil, fmt.Errorf("radius: listen: %s needs rights that this process lacks; take a port from 1024 up: %w", address, err)
	case err != nil:
		return nil, fmt.Errorf("radius: listen: %s: %w", address, err)
	}
	udp := conn.(*net.UDPConn)
	_ = udp.SetReadBuffer(receiveBuffer) // a wish; the kernel gives what it allows
	return &socket{conn: udp, id: id}, nil
}

// addr is what was bound, with the port that the kernel chose for port 0.
func (k *socket) addr() netip.AddrPort {
	return k.conn.LocalAddr().(*net.UDPAddr).AddrPort()
}

// read hands every datagram to handle until the socket is closed. One buffer
// serves them all.
func (k *socket) read(ctx context.Context, handle func(datagram []byte, from *path, scratch *packet), report func(error)) {
	var (
		buf     [maxPacket]byte // what is longer is cut, and only padding is lost
		oob     [controlLen]byte
		scratch packet
		at      = path{sock: k}
	)
	for {
		n, oobn, _, from, err := k.conn.ReadMsgUDPAddrPort(buf[:], oob[:])
		if err != nil {
			if errors.Is(err, net.ErrClosed) || ctx.Err() != nil {
				return
			}
			report(err)
			select { // rather late than busy
			case <-time.After(readPause):
			case <-ctx.Done():
				return
			}
			continue
		}
		at.from = from
		at.local, at.iface = localAddress(oob[:oobn])
		handle(buf[:n], &at, &scratch)
	}
}

// send answers from the address that was asked (RFC 2865, section 3: a device
// takes no answer from another one).
func (k *socket) send(reply []byte, to *path) error {
	var oob [controlLen]byte
	_, _, err := k.conn.WriteMsgUDPAddrPort(reply, fromAddress(oob[:0], to), to.from)
	return err
}
