package control

import (
	"context"
	"log/slog"
	"os/user"
	"strconv"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/status"

	"github.com/keywicket/keywicket/bridges/socket"
	"github.com/keywicket/keywicket/core"
	"github.com/keywicket/keywicket/plugins/proto/controlv1"
)

// SelfOptions say what a server of self-service needs.
type SelfOptions struct {
	Path   string // of the socket
	Engine *core.Engine
	Log    *slog.Logger
}

// ListenSelf makes the socket of self-service. Everybody may connect; what is
// served is the contract's Self alone, and it is about whoever asks.
func ListenSelf(opt SelfOptions) (*Server, error) {
	l, err := socket.Listen(socket.Options{Path: opt.Path, Name: "self-service socket", Mode: 0o666})
	if err != nil {
		return nil, err
	}
	s := &Server{listener: newLimited(l, maxConnections), opt: Options{Path: opt.Path, Log: opt.Log}}
	s.grpc = grpc.NewServer(
		grpc.Creds(peerCredentials{}),
		grpc.MaxRecvMsgSize(maxRequest),
		grpc.MaxConcurrentStreams(maxStreams),
		grpc.ConnectionTimeout(5*time.Second),
		grpc.KeepaliveParams(keepalive.ServerParameters{MaxConnectionIdle: 30 * time.Second, MaxConnectionAge: time.Minute}),
		grpc.UnaryInterceptor(func(ctx context.Context, req any, info *grpc.UnaryServerInfo, next grpc.UnaryHandler) (resp any, err error) {
			defer s.recover(info.FullMethod, &err)
			return next(ctx, req)
		}),
	)
	s.self = &self{engine: opt.Engine, login: loginOf}
	controlv1.RegisterSelfServer(s.grpc, s.self)
	return s, nil
}

// self serves the account of whoever asks.
type self struct {
	controlv1.UnimplementedSelfServer
	engine *core.Engine
	login  func(uid uint32) (string, error)
}

// loginOf returns the name of a user of this host.
func loginOf(uid uint32) (string, error) {
	u, err := user.LookupId(strconv.FormatUint(uint64(uid), 10))
	if err != nil {
		return "", err
	}
	return u.Username, nil
}

// account returns the account of the caller, and a context in which he is the
// one who asked.
func (s *self) account(ctx context.Context) (context.Context, string, error) {
	c, ok := callerOf(ctx)
	if !ok {
		return ctx, "", status.Error(codes.PermissionDenied, "the kernel does not say who you are")
	}
	name, err := s.login(c.UID)
	if err != nil || name == "" {
		return ctx, "", status.Errorf(codes.PermissionDenied, "uid %d has no login name on this host, so that it has no account of its own", c.UID)
	}
	return core.WithActor(ctx, c.String()), name, nil
}

func (s *self) List(ctx context.Context, _ *controlv1.ListOwnRequest) (*controlv1.ListResponse, error) {
	ctx, name, err := s.account(ctx)
	if err != nil {
		return nil, err
	}
	return (&appPasswords{engine: s.engine}).List(ctx, &controlv1.ListRequest{Account: name})
}

func (s *self) Create(ctx context.Context, r *controlv1.CreateOwnRequest) (*controlv1.CreateResponse, error) {
	ctx, name, err := s.account(ctx)
	if err != nil {
		return nil, err
	}
	main := []byte(r.MainPassword)
	defer clear(main)
	made, text, err := s.engine.CreateOwn(ctx, name, main, r.Code, core.NewAppPassword{Name: r.Name, Profile: r.Profile, Expires: fromTimestamp(r.Expires)})
	if err != nil {
		return nil, statusOf(err)
	}
	defer text.Wipe()
	return &controlv1.CreateResponse{AppPassword: fromAppPassword(made), Password: text.Canonical()}, nil
}
