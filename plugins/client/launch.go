package client

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
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
// launching fails. Nobody starts it again: once it ended, calls fail as
// unavailable.
func Launch(opt Options) (*Client, error) {
	program := cmp.Or(opt.Program, "keywicket")
	cmd := exec.Command(program, "plugin", "serve")
	if opt.Config != "" {
		cmd.Args = append(cmd.Args, "--config", opt.Config)
	}
	said := &lastLine{next: opt.Log}
	p := plugin.NewClient(&plugin.ClientConfig{
		HandshakeConfig:  Handshake(),
		Plugins:          Plugins(),
		Cmd:              cmd,
		AutoMTLS:         true,
		AllowedProtocols: []plugin.Protocol{plugin.ProtocolGRPC},
		GRPCDialOptions:  []grpc.DialOption{grpc.WithUnaryInterceptor(bounded)},
		Stderr:           said,
		Logger:           hclog.NewNullLogger(),
	})
	// go-plugin would wait for ever for an engine that was stopped.
	kill := func() {
		defer time.AfterFunc(closeTimeout, func() { _ = cmd.Process.Kill() }).Stop()
		p.Kill()
	}
	conn, err := dispense(p)
	if err != nil {
		if cmd.Process != nil {
			kill()
		}
		if line := said.String(); line != "" {
			err = errors.New(line)
		}
		return nil, fmt.Errorf("%w: %s plugin serve: %w", ErrUnavailable, program, err)
	}
	return newClient(conn, func() error { kill(); return nil }), nil
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
