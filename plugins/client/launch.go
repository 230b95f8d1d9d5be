package client

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"
	plugin "github.com/hashicorp/go-plugin"
	"google.golang.org/grpc"
)

const (
	// name is what the engine is dispensed as.
	name = "control"

	// closeTimeout is how long an engine may take to end.
	closeTimeout = 5 * time.Second

	// maxLine bounds what is kept of what the engine says, in octets.
	maxLine = 2048
)

// Handshake is how the engine and whoever launches it know each other. The
// value is no secret.
func Handshake() plugin.HandshakeConfig {
	return plugin.HandshakeConfig{ProtocolVersion: 1, MagicCookieKey: "KEYWICKET_ENGINE", MagicCookieValue: "f34b6f0d7f6d4c57a3b3e0a4a2d85c19"}
}

// Plugins is the engine in go-plugin's words.
func Plugins() plugin.PluginSet { return plugin.PluginSet{name: engine{}} }

type engine struct{ plugin.NetRPCUnsupportedPlugin }

// GRPCServer has nothing to add: the server comes with its services.
func (engine) GRPCServer(*plugin.GRPCBroker, *grpc.Server) error { return nil }

// GRPCClient returns the connection.
func (engine) GRPCClient(_ context.Context, _ *plugin.GRPCBroker, conn *grpc.ClientConn) (any, error) {
	return conn, nil
}

// Options say what engine to launch.
type Options struct {
	Program string    // the keywicket to run; empty: the one in the PATH
	Config  string    // its configuration file; empty: the usual one
	Log     io.Writer // for the engine's log; nil: nowhere
}

// Launch starts an engine of this program's own, which ends with it, and waits
// until it answers. It has its store for itself: where a daemon has it open,
// launching fails. One that ends later, or does not answer any more, is started
// again: after a second, and after ever longer while that fails. Meanwhile calls
// fail as unavailable, and say why.
func Launch(opt Options) (*Client, error) {
	opt.Program = cmp.Or(opt.Program, "keywicket")
	l, err := begin(context.Background(), opt)
	if err != nil {
		return nil, fmt.Errorf("%w: %s plugin serve: %w", ErrUnavailable, opt.Program, err)
	}
	k := keep(opt, l)
	return newClient(k, k.close), nil
}

// A life is that of one process of the engine.
type life struct {
	conn   *grpc.ClientConn
	plugin *plugin.Client
	dir    string // where its socket is
	kill   context.CancelFunc
	said   *lastLine
}

// begin starts the engine, and returns once it answers. What begins does not
// when ctx ends before.
func begin(ctx context.Context, opt Options) (l *life, err error) {
	l = &life{said: &lastLine{next: opt.Log}}
	if l.dir, err = os.MkdirTemp("", "keywicket-engine-"); err != nil {
		return nil, err
	}
	killed, kill := context.WithCancel(context.Background())
	l.kill = kill
	cmd := exec.CommandContext(killed, opt.Program, "plugin", "serve")
	if opt.Config != "" {
		cmd.Args = append(cmd.Args, "--config", opt.Config)
	}
	cmd.Env = append(os.Environ(), plugin.EnvUnixSocketDir+"="+l.dir)
	l.plugin = plugin.NewClient(&plugin.ClientConfig{
		HandshakeConfig:  Handshake(),
		Plugins:          Plugins(),
		Cmd:              cmd,
		SkipHostEnv:      true, // it is in cmd
		AutoMTLS:         true,
		AllowedProtocols: []plugin.Protocol{plugin.ProtocolGRPC},
		GRPCDialOptions:  []grpc.DialOption{grpc.WithUnaryInterceptor(bounded)},
		Stderr:           l.said,
		Logger:           hclog.NewNullLogger(),
	})
	defer context.AfterFunc(ctx, kill)()
	if l.conn, err = dispense(l.plugin); err == nil {
		return l, nil
	}
	l.end()
	if line := l.said.String(); line != "" {
		err = errors.New(line)
	}
	return nil, err
}

// end asks the engine to end, and kills it where that takes too long: go-plugin
// would wait for ever for one that was stopped.
func (l *life) end() {
	late := time.AfterFunc(closeTimeout, l.kill)
	l.plugin.Kill()
	late.Stop()
	l.kill()
	_ = os.RemoveAll(l.dir) // the socket of one that was killed
}

func dispense(p *plugin.Client) (*grpc.ClientConn, error) {
	c, err := p.Client()
	if err != nil {
		return nil, err
	}
	conn, err := c.Dispense(name)
	if err != nil {
		return nil, err
	}
	return conn.(*grpc.ClientConn), nil
}

// lastLine keeps the last line that the engine wrote, which says why it ended.
type lastLine struct {
	next io.Writer

	mu   sync.Mutex
	line string
}

func (l *lastLine) Write(p []byte) (int, error) {
	if lines := bytes.Split(bytes.TrimSpace(p), []byte("\n")); len(lines[len(lines)-1]) > 0 {
		last := lines[len(lines)-1]
		l.mu.Lock()
		l.line = string(last[:min(len(last), maxLine)])
		l.mu.Unlock()
	}
	if l.next != nil {
		_, _ = l.next.Write(p) // a log that nobody takes ends no sign-in
	}
	return len(p), nil
}

func (l *lastLine) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.ToValidUTF8(l.line, "\uFFFD")
}
