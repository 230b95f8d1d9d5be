package control

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/status"

	"github.com/keywicket/keywicket/bridges/socket"
	"github.com/keywicket/keywicket/core"
	"github.com/keywicket/keywicket/plugins/proto/controlv1"
)

// Bounds of what a peer can make the server keep.
const (
	maxConnections = 256
	maxRequest     = 64 << 10 // octets
	maxStreams     = 64       // requests at once on a connection
)

// A Host is the running program, of which the engine knows nothing.
type Host interface {
	Status(ctx context.Context) *controlv1.StatusResponse

	// Reload reads the configuration again. The error says every fault; then
	// nothing was changed.
	Reload(ctx context.Context) (warnings []string, err error)

	// ListKeys, RotateKey and RetireKey serve the methods of the contract.
	// Their errors are *core.Error.
	ListKeys(ctx context.Context) (*controlv1.ListKeysResponse, error)
	RotateKey(ctx context.Context) (*controlv1.ListKeysResponse, error)
	RetireKey(ctx context.Context, id string) (*controlv1.ListKeysResponse, error)

	// WatchRadius begins to look at RADIUS packets. next waits for one, and stop
	// is called in the end. Its errors are *core.Error.
	WatchRadius(r *controlv1.WatchRadiusRequest) (next func(context.Context) (*controlv1.RadiusPacket, error), stop func(), err error)

	// Backup writes a backup to w. Its error is a *core.Error, or one of w.
	Backup(ctx context.Context, r *controlv1.BackupRequest, w io.Writer) (*controlv1.BackupSummary, error)
}

// Options say what a server needs.
type Options struct {
	Path   string // of the socket
	Group  int    // id of the group that may administer too; 0: none
	Engine *core.Engine
	Host   Host
	Log    *slog.Logger
}

// A Server answers on one socket.
type Server struct {
	listener net.Listener
	grpc     *grpc.Server
	opt      Options
	self     *self  // of self-service; nil at the control socket
	parent   string // who alone can ask; empty: the kernel is asked who does
}

// Listen makes the socket. One that a dead daemon left behind is replaced; one
// that a living daemon listens on is an error.
func Listen(opt Options) (*Server, error) {
	mode := fs.FileMode(0o600)
	if opt.Group > 0 {
		mode = 0o660
	}
	l, err := socket.Listen(socket.Options{Path: opt.Path, Name: "control socket", Mode: mode, Group: opt.Group})
	if err != nil {
		return nil, err
	}
	s := &Server{listener: newLimited(l, maxConnections), opt: opt}
	s.grpc = grpc.NewServer(
		grpc.Creds(peerCredentials{}),
		grpc.MaxRecvMsgSize(maxRequest),
		grpc.MaxConcurrentStreams(maxStreams),
		grpc.ConnectionTimeout(5*time.Second),
		grpc.KeepaliveParams(keepalive.ServerParameters{MaxConnectionIdle: 10 * time.Minute}),
		grpc.UnaryInterceptor(s.unary),
		grpc.StreamInterceptor(s.stream),
	)
	s.register()
	return s, nil
}

// NewForParent returns a gRPC server of the contract for the program that
// launched this one. That nobody else can connect is up to whoever gives opts and
// the listener: the parent is not asked who he is. Path and Group are not used.
func NewForParent(opt Options, opts ...grpc.ServerOption) *grpc.Server {
	s := &Server{opt: opt, parent: socket.Peer{UID: uint32(os.Getuid())}.String()}
	s.grpc = grpc.NewServer(append(opts,
		grpc.MaxRecvMsgSize(maxRequest),
		grpc.MaxConcurrentStreams(maxStreams),
		grpc.ConnectionTimeout(5*time.Second),
		grpc.UnaryInterceptor(s.unary),
		grpc.StreamInterceptor(s.stream),
	)...)
	s.register()
	return s.grpc
}

// register adds the services of the contract.
func (s *Server) register() {
	controlv1.RegisterAppPasswordsServer(s.grpc, &appPasswords{engine: s.opt.Engine})
	controlv1.RegisterAccountsServer(s.grpc, &accounts{engine: s.opt.Engine})
	controlv1.RegisterSessionsServer(s.grpc, &sessions{engine: s.opt.Engine})
	controlv1.RegisterDaemonServer(s.grpc, &daemon{host: s.opt.Host})
}

// A limited listener has a bounded number of connections open. It is like
// golang.org/x/net/netutil.LimitListener, whose connections cannot be asked who
// is at the other end.
type limited struct {
	*net.UnixListener
	slots  chan struct{}
	closed chan struct{}
	close  func()
}

func newLimited(l *net.UnixListener, most int) *limited {
	closed := make(chan struct{})
	return &limited{l, make(chan struct{}, most), closed, sync.OnceFunc(func() { close(closed) })}
}

// Close also ends an Accept that waits for a slot: gRPC closes its connections
// only after that.
func (l *limited) Close() error {
	l.close()
	return l.UnixListener.Close()
}

// Accept waits for a slot and a connection.
func (l *limited) Accept() (net.Conn, error) {
	select {
	case l.slots <- struct{}{}:
	case <-l.closed:
		return nil, net.ErrClosed
	}
	conn, err := l.AcceptUnix()
	if err != nil {
		<-l.slots
		return nil, err
	}
	return &slotConn{UnixConn: conn, release: sync.OnceFunc(func() { <-l.slots })}, nil
}

type slotConn struct {
	*net.UnixConn
	release func()
}

// Close gives the slot back.
func (c *slotConn) Close() error {
	defer c.release()
	return c.UnixConn.Close()
}

// Addr returns the path of the socket.
func (s *Server) Addr() string { return filepath.Clean(s.opt.Path) }

// Serve answers until Close is called.
func (s *Server) Serve() error {
	err := s.grpc.Serve(s.listener)
	if errors.Is(err, grpc.ErrServerStopped) {
		return nil
	}
	return err
}

// Close lets the requests that run end within grace, stops, and removes the
// socket.
func (s *Server) Close(grace time.Duration) {
	done := make(chan struct{})
	go func() {
		s.grpc.GracefulStop()
		close(done)
	}()
	select {
	case <-done:
	case <-time.After(grace):
		s.grpc.Stop()
		<-done
	}
}

// unary and stream let in who may administer, note who asks, and keep a panic
// from ending the daemon.
func (s *Server) unary(ctx context.Context, req any, info *grpc.UnaryServerInfo, next grpc.UnaryHandler) (resp any, err error) {
	ctx, err = s.admit(ctx, info.FullMethod)
	if err != nil {
		return nil, err
	}
	defer s.recover(info.FullMethod, &err)
	return next(ctx, req)
}

func (s *Server) stream(srv any, ss grpc.ServerStream, info *grpc.StreamServerInfo, next grpc.StreamHandler) (err error) {
	ctx, err := s.admit(ss.Context(), info.FullMethod)
	if err != nil {
		return err
	}
	defer s.recover(info.FullMethod, &err)
	return next(srv, admitted{ss, ctx})
}

type admitted struct {
	grpc.ServerStream
	ctx context.Context
}

func (a admitted) Context() context.Context { return a.ctx }

func (s *Server) admit(ctx context.Context, method string) (context.Context, error) {
	if s.parent != "" {
		return core.WithActor(ctx, s.parent), nil
	}
	c, ok := callerOf(ctx)
	if !ok || !c.may(uint32(os.Geteuid()), s.opt.Group) {
		s.opt.Log.Warn("a request at the control socket was refused", "method", method, "caller", c.String())
		return nil, status.Error(codes.PermissionDenied, "you may not administer this Keywicket: ask root, or become a member of the group of its control socket")
	}
	return core.WithActor(ctx, c.String()), nil
}

func (s *Server) recover(method string, err *error) {
	if p := recover(); p != nil {
		s.opt.Log.Error("a request at the control socket ended in a panic", "method", method, "panic", p)
		*err = status.Error(codes.Internal, "internal error; the log says more")
	}
}

// statusOf turns an error of the engine into the status of the contract.
func statusOf(err error) error {
	if err == nil {
		return nil
	}
	return status.Error(codeOf(core.KindOf(err)), err.Error())
}

func codeOf(k core.Kind) codes.Code {
	switch k {
	case core.KindDenied:
		return codes.PermissionDenied
	case core.KindInvalid:
		return codes.InvalidArgument
	case core.KindNotFound:
		return codes.NotFound
	case core.KindConflict:
		return codes.AlreadyExists
	case core.KindLimited:
		return codes.ResourceExhausted
	case core.KindUnavailable:
		return codes.Unavailable
	case core.KindDamaged:
		return codes.DataLoss
	}
	return codes.Internal
}

// daemon serves what the Host knows.
type daemon struct {
	controlv1.UnimplementedDaemonServer
	host Host
}

func (d *daemon) Status(ctx context.Context, _ *controlv1.StatusRequest) (*controlv1.StatusResponse, error) {
	return d.host.Status(ctx), nil
}

func (d *daemon) Reload(ctx context.Context, _ *controlv1.ReloadRequest) (*controlv1.ReloadResponse, error) {
	warnings, err := d.host.Reload(ctx)
	if err != nil {
		return nil, status.Error(codes.InvalidArgument, err.Error())
	}
	return &controlv1.ReloadResponse{Warnings: warnings}, nil
}

func (d *daemon) ListKeys(ctx context.Context, _ *controlv1.ListKeysRequest) (*controlv1.ListKeysResponse, error) {
	r, err := d.host.ListKeys(ctx)
	return r, statusOf(err)
}

func (d *daemon) RotateKey(ctx context.Context, _ *controlv1.RotateKeyRequest) (*controlv1.ListKeysResponse, error) {
	r, err := d.host.RotateKey(ctx)
	return r, statusOf(err)
}

func (d *daemon) RetireKey(ctx context.Context, r *controlv1.RetireKeyRequest) (*controlv1.ListKeysResponse, error) {
	keys, err := d.host.RetireKey(ctx, r.Id)
	return keys, statusOf(err)
}

// WatchRadius sends what the Host sees until the peer leaves.
func (d *daemon) WatchRadius(r *controlv1.WatchRadiusRequest, stream grpc.ServerStreamingServer[controlv1.RadiusPacket]) error {
	next, stop, err := d.host.WatchRadius(r)
	if err != nil {
		return statusOf(err)
	}
	defer stop()
	if err := stream.SendHeader(nil); err != nil {
		return err
	}
	for {
		packet, err := next(stream.Context())
		if err != nil {
			return statusOf(err)
		}
		if err := stream.Send(packet); err != nil {
			return err
		}
	}
}
