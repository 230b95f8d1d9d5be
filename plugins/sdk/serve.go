package sdk

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime/debug"

	"github.com/hashicorp/go-hclog"
	plugin "github.com/hashicorp/go-plugin"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/keywicket/keywicket/core/directory"
	"github.com/keywicket/keywicket/core/store"
	"github.com/keywicket/keywicket/plugins/proto/pluginv1"
	"github.com/keywicket/keywicket/plugins/sdk/wire"
)

// A Checker is a store, directory, notifier or hook that can say what is wrong
// behind it. Health is asked twice a second and returns at once: what it says is
// shown to the administrator, and nothing is started anew for it.
type Checker interface {
	Health(ctx context.Context) error
}

// ServeStore serves s until the host ends the program. Where s is a
// store.Snapshotter, a Configurer, a Checker or an io.Closer, it is used as
// that. What the program writes to standard error goes to the host's log.
func ServeStore(s store.Store) {
	serve(s, pluginv1.Kind_KIND_STORE, func(r grpc.ServiceRegistrar) {
		pluginv1.RegisterStoreServer(r, &storeServer{store: s})
	})
}

// ServeDirectory serves d as ServeStore does a store. It may also be a
// directory.Watcher and a directory.CodeVerifier.
func ServeDirectory(d directory.Directory) {
	serve(d, pluginv1.Kind_KIND_DIRECTORY, func(r grpc.ServiceRegistrar) {
		pluginv1.RegisterDirectoryServer(r, &directoryServer{directory: d})
	})
}

// ServeNotifier serves n as ServeStore does a store.
func ServeNotifier(n Notifier) {
	serve(n, pluginv1.Kind_KIND_NOTIFIER, func(r grpc.ServiceRegistrar) {
		pluginv1.RegisterNotifierServer(r, &notifierServer{notifier: n})
	})
}

// ServeHook serves h as ServeStore does a store. h is a Guard, an Observer, or
// both. Of one that is neither, or has a Check or an Observe that is not theirs,
// the program says so on standard error and ends: it would never be asked, and so
// let everybody in.
func ServeHook(h any) {
	if err := checkHook(h); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	serve(h, pluginv1.Kind_KIND_HOOK, func(r grpc.ServiceRegistrar) {
		pluginv1.RegisterHookServer(r, &hookServer{hook: h})
	})
}

func serve(what any, kind pluginv1.Kind, register func(grpc.ServiceRegistrar)) {
	plugin.Serve(&plugin.ServeConfig{
		HandshakeConfig: wire.Handshake(),
		VersionedPlugins: map[int]plugin.PluginSet{
			wire.V1: {wire.Name: &served{register: func(r grpc.ServiceRegistrar) {
				pluginv1.RegisterPluginServer(r, &pluginServer{what: what, kind: kind})
				register(r)
			}}},
		},
		GRPCServer: func(opts []grpc.ServerOption) *grpc.Server {
			return grpc.NewServer(append(opts, grpc.MaxRecvMsgSize(wire.MaxMessage), grpc.MaxSendMsgSize(wire.MaxMessage))...)
		},
		Logger: hclog.NewNullLogger(),
	})
	if c, ok := what.(io.Closer); ok {
		_ = c.Close() // nobody is left to tell
	}
}

// served is the plugin in go-plugin's words.
type served struct {
	plugin.NetRPCUnsupportedPlugin
	register func(grpc.ServiceRegistrar)
}

func (s *served) GRPCServer(_ *plugin.GRPCBroker, server *grpc.Server) error {
	s.register(server)
	return nil
}

func (s *served) GRPCClient(context.Context, *plugin.GRPCBroker, *grpc.ClientConn) (any, error) {
	return nil, errors.New("this is the side of the plugin")
}

// pluginServer answers what every plugin is asked.
type pluginServer struct {
	pluginv1.UnimplementedPluginServer
	what any
	kind pluginv1.Kind
}

func (p *pluginServer) Describe(context.Context, *pluginv1.DescribeRequest) (*pluginv1.DescribeResponse, error) {
	return &pluginv1.DescribeResponse{Kind: p.kind, Version: version(), Capabilities: p.capabilities()}, nil
}

func (p *pluginServer) capabilities() (all []pluginv1.Capability) {
	add := func(ok bool, c pluginv1.Capability) {
		if ok {
			all = append(all, c)
		}
	}
	switch p.kind {
	case pluginv1.Kind_KIND_STORE:
		_, ok := p.what.(store.Snapshotter)
		add(ok, pluginv1.Capability_CAPABILITY_SNAPSHOT)
	case pluginv1.Kind_KIND_DIRECTORY:
		_, watches := p.what.(directory.Watcher)
		_, verifies := p.what.(directory.CodeVerifier)
		add(watches, pluginv1.Capability_CAPABILITY_WATCH)
		add(verifies, pluginv1.Capability_CAPABILITY_VERIFY_CODE)
	case pluginv1.Kind_KIND_HOOK:
		_, checks := p.what.(Guard)
		_, observes := p.what.(Observer)
		add(checks, pluginv1.Capability_CAPABILITY_CHECK)
		add(observes, pluginv1.Capability_CAPABILITY_EVENTS)
	}
	return all
}

// version is that of the program's main module, as the go command knows it.
func version() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return ""
	}
	v := info.Main.Version
	return v[:min(len(v), 64)]
}

func (p *pluginServer) Configure(ctx context.Context, req *pluginv1.ConfigureRequest) (*pluginv1.ConfigureResponse, error) {
	settings, err := settingsOf(req.Settings)
	if err != nil {
		return nil, status.Error(codes.InvalidArgument, wire.Text(err.Error()))
	}
	c, ok := p.what.(Configurer)
	switch {
	case ok:
		err = c.Configure(ctx, settings)
	case len(settings) > 0:
		err = errors.New("this plugin has no settings; take the table out")
	}
	switch {
	case err == nil:
		return &pluginv1.ConfigureResponse{}, nil
	case errors.Is(err, store.ErrUnavailable), errors.Is(err, directory.ErrUnavailable):
		return nil, status.Error(codes.Unavailable, wire.Text(err.Error()))
	}
	return nil, status.Error(codes.InvalidArgument, wire.Text(err.Error()))
}

func (p *pluginServer) Health(ctx context.Context, _ *pluginv1.HealthRequest) (*pluginv1.HealthResponse, error) {
	c, ok := p.what.(Checker)
	if !ok {
		return &pluginv1.HealthResponse{}, nil
	}
	if err := c.Health(ctx); err != nil {
		return &pluginv1.HealthResponse{Problem: wire.Text(err.Error())}, nil
	}
	return &pluginv1.HealthResponse{}, nil
}
