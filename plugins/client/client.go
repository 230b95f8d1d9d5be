package client

import (
	"context"
	"errors"
	"fmt"
	"net"
	"time"
	"unicode/utf8"

	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/keywicket/keywicket/plugins/proto/controlv1"
)

const (
	// callTimeout bounds a call whose context has no deadline.
	callTimeout = 10 * time.Second

	// reconnectWait is the longest pause before a daemon that went away is looked
	// for again; gRPC's own is two minutes.
	reconnectWait = time.Second
)

var (
	// ErrRefused says that the attempt was decided, and the answer is no.
	ErrRefused = errors.New("refused")

	// ErrUnavailable says that nobody decided.
	ErrUnavailable = errors.New("the engine is not available")
)

// A Client asks one engine. Its methods, and those of its services, may be called
// from many goroutines. The services are described in control.proto; their errors
// are gRPC statuses.
type Client struct {
	AppPasswords controlv1.AppPasswordsClient
	Accounts     controlv1.AccountsClient
	Sessions     controlv1.SessionsClient
	Daemon       controlv1.DaemonClient

	close func() error
}

// Dial asks the daemon whose control socket is at path. It does not wait for it:
// as long as the daemon is away, calls fail as unavailable, and go on when it is
// back. The daemon asks the kernel who this program is: it runs as root, as the
// daemon's user, or in the group of the socket.
func Dial(path string) (*Client, error) {
	wait := backoff.DefaultConfig
	wait.MaxDelay = reconnectWait
	conn, err := grpc.NewClient("passthrough:///keywicket",
		grpc.WithTransportCredentials(insecure.NewCredentials()), // a unix socket
		grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, "unix", path)
		}),
		grpc.WithConnectParams(grpc.ConnectParams{Backoff: wait, MinConnectTimeout: callTimeout}),
		grpc.WithUnaryInterceptor(bounded))
	if err != nil {
		return nil, err
	}
	return newClient(conn, conn.Close), nil
}

func newClient(conn grpc.ClientConnInterface, close func() error) *Client {
	return &Client{
		AppPasswords: controlv1.NewAppPasswordsClient(conn),
		Accounts:     controlv1.NewAccountsClient(conn),
		Sessions:     controlv1.NewSessionsClient(conn),
		Daemon:       controlv1.NewDaemonClient(conn),
		close:        close,
	}
}

// bounded gives a deadline to a call that has none.
func bounded(ctx context.Context, method string, req, reply any, conn *grpc.ClientConn, call grpc.UnaryInvoker, opts ...grpc.CallOption) error {
	if _, ok := ctx.Deadline(); !ok {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, callTimeout)
		defer cancel()
	}
	return call(ctx, method, req, reply, conn, opts...)
}

// Verify decides an attempt to sign in. Nil, and nothing else, lets in. Any error
// wraps ErrRefused or ErrUnavailable. Its text has the reason, which is for the
// log: whoever is refused must not learn it. The answer is not to be kept: the
// next one may be another.
func (c *Client) Verify(ctx context.Context, r *controlv1.VerifyRequest) error {
	for _, text := range []string{r.GetAccount(), r.GetPassword(), r.GetService(), r.GetDevice(), r.GetSource()} {
		if !utf8.ValidString(text) { // which cannot be asked
			return fmt.Errorf("%w: the request is not UTF-8", ErrRefused)
		}
	}
	v, err := c.AppPasswords.Verify(ctx, r)
	switch {
	case err != nil:
		return fmt.Errorf("%w: %w", ErrUnavailable, err)
	case v.Granted:
		return nil
	case v.Reason == "unavailable" || v.Reason == "": // a fault of ours decides nothing
		return fmt.Errorf("%w: %s", ErrUnavailable, v.Sentence)
	}
	return fmt.Errorf("%w (%s): %s", ErrRefused, v.Reason, v.Sentence)
}

// Close ends an engine that was launched, and leaves a daemon.
func (c *Client) Close() error { return c.close() }
