package probe

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"syscall"
	"time"

	"layeh.com/radius"

	"github.com/keywicket/keywicket/core/proof"
)

// The errors of Ask. It wraps one of them.
var (
	// ErrSilent: nothing came back. To a device that is a dead server.
	ErrSilent = errors.New("no answer")

	// ErrForged: something came back, but nothing that somebody who knows the
	// shared secret made of this request.
	ErrForged = errors.New("no genuine answer")

	// ErrRefused: nobody listens there.
	ErrRefused = errors.New("nobody listens there")

	// ErrUnreachable: nothing could be sent, or the name of the server is no
	// address that is known.
	ErrUnreachable = errors.New("it cannot be reached")

	// ErrRequest: there is no such Access-Request, because something is too long.
	ErrRequest = errors.New("this does not fit into an Access-Request")
)

// A Request is what to ask of whom.
type Request struct {
	Server   string     // host and port
	From     netip.Addr // of this host; none: what the kernel takes
	Secret   []byte
	Method   proof.Method
	Account  string
	Password string // as it is typed into the device
	Device   string // Calling-Station-Id; empty: none

	Repeat  time.Duration // after which the same octets are sent again; 0 is 3 s
	Timeout time.Duration // for all of it; 0 is 10 s
}

// A Check is what became of one thing that the answer should show.
type Check string

const (
	Absent Check = ""      // it is not there
	Right  Check = "right" // it is there, and as it must be
	Wrong  Check = "wrong" // it is there, and not as it must be
)

// An Answer is what came back. Its Response Authenticator is right, else it
// would be none.
type Answer struct {
	Code       radius.Code
	From       string        // local address that was asked from
	Took       time.Duration // from the first datagram
	Sent       int           // datagrams
	Attributes [][]byte      // whole: type, length, value

	MessageAuthenticator Check

	// AuthenticatorResponse and Keys are MS-CHAPv2's: whether the server knows
	// the password too, and whether both have the same MPPE keys.
	AuthenticatorResponse Check
	Keys                  Check
}

// Accepted says whether the device may be let in: an Access-Accept of somebody
// who, with MS-CHAPv2, showed that he knows the password, too.
func (a Answer) Accepted(m proof.Method) bool {
	mutual := m != proof.MethodMSCHAPv2 || a.AuthenticatorResponse == Right
	return a.Code == radius.CodeAccessAccept && mutual && a.Keys != Wrong && a.MessageAuthenticator != Wrong
}

// Ask sends r until a genuine answer comes or the time is over. With an error
// the Answer tells of From, Took and Sent alone.
func Ask(ctx context.Context, r Request) (Answer, error) {
	x, err := request(r)
	if err != nil {
		return Answer{}, err
	}
	if r.Timeout == 0 {
		r.Timeout = 10 * time.Second
	}
	if r.Repeat == 0 {
		r.Repeat = 3 * time.Second
	}
	ctx, cancel := context.WithTimeout(ctx, r.Timeout)
	defer cancel()
	var d net.Dialer
	if r.From.IsValid() {
		d.LocalAddr = net.UDPAddrFromAddrPort(netip.AddrPortFrom(r.From, 0))
	}
	// Connected: it takes no answer from another address.
	conn, err := d.DialContext(ctx, "udp", r.Server)
	if err != nil {
		return Answer{}, fmt.Errorf("%w: %w", ErrUnreachable, err)
	}
	defer conn.Close()
	stop := context.AfterFunc(ctx, func() { _ = conn.SetReadDeadline(time.Now()) })
	defer stop()
	return x.trade(ctx, conn, r)
}

// trade sends and receives until something genuine comes.
func (x *exchange) trade(ctx context.Context, conn net.Conn, r Request) (Answer, error) {
	start := time.Now()
	told := Answer{From: conn.LocalAddr().String()}
	forged := false
	var again time.Time
	for {
		if !time.Now().Before(again) {
			if _, err := conn.Write(x.wire); err != nil && !errors.Is(err, syscall.ECONNREFUSED) {
				return told, fmt.Errorf("%w: %w", ErrUnreachable, err)
			}
			told.Sent++
			again = time.Now().Add(r.Repeat)
		}
		_ = conn.SetReadDeadline(again)
		if ctx.Err() != nil { // it may have ended before the line above
			_ = conn.SetReadDeadline(time.Now())
		}
		var buf [radius.MaxPacketLength]byte
		n, err := conn.Read(buf[:])
		told.Took = time.Since(start)
		var timeout net.Error
		switch {
		case err == nil:
			if answer, ok := x.answer(buf[:n], told); ok {
				return answer, nil
			}
			forged = true
		case errors.Is(err, syscall.ECONNREFUSED):
			return told, ErrRefused
		case !errors.As(err, &timeout) || !timeout.Timeout():
			return told, err
		}
		if ctx.Err() != nil {
			if forged {
				return told, ErrForged
			}
			return told, ErrSilent
		}
	}
}
