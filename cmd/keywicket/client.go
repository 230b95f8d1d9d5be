package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/keywicket/keywicket/core/config"
	"github.com/keywicket/keywicket/plugins/proto/controlv1"
)

const (
	defaultSocket = "/run/keywicket/control.sock"
	defaultConfig = "/etc/keywicket/keywicket.toml"

	// askTimeout is how long the daemon may take to answer one call. What a person
	// takes to answer a question in between does not count.
	askTimeout = 30 * time.Second
)

// app is what all verbs share.
type app struct {
	stdio
	configPath string
	socket     string
}

// A daemonClient speaks to the daemon.
type daemonClient struct {
	controlv1.AppPasswordsClient
	accounts controlv1.AccountsClient
	sessions controlv1.SessionsClient
	daemon   controlv1.DaemonClient
	self     controlv1.SelfClient // on a socket of its own
}

// socketPath returns where the daemon listens: --socket, the configuration
// that --config names, KEYWICKET_SOCKET, or the usual place.
func (a *app) socketPath() (string, error) {
	switch {
	case a.socket != "" && a.configPath != "":
		return "", usageError{errors.New("--socket and --config both say where the daemon is; give one of them")}
	case a.socket != "":
		return a.socket, nil
	case a.configPath != "":
		f, err := loadConfig(a.configPath)
		if err != nil {
			return "", err
		}
		return f.Control.Socket, nil
	}
	if path := os.Getenv("KEYWICKET_SOCKET"); path != "" {
		return path, nil
	}
	return defaultSocket, nil
}

// loadConfig is config.Load, with every error a reason for exitUsage.
func loadConfig(path string) (*config.File, error) {
	f, err := config.Load(path)
	var faults config.Faults
	switch {
	case err == nil:
		return f, nil
	case errors.As(err, &faults):
		return nil, err
	}
	return nil, unreadConfig(err)
}

// unreadConfig says what to do about a configuration that cannot be read.
func unreadConfig(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		err = fmt.Errorf("%w; name another with --config, or make one with \"keywicket init --dir DIR\"", err)
	}
	return usageError{err}
}

// loadFile loads the configuration for a verb that asks no part of it: the one
// that --config names, else the daemon's own where --socket or the environment
// says which daemon, else the usual one.
func (a *app) loadFile(ctx context.Context) (*config.File, error) {
	path, err := a.filePath(ctx)
	if err != nil {
		return nil, err
	}
	return loadConfig(path)
}

// filePath returns which configuration loadFile loads.
func (a *app) filePath(ctx context.Context) (string, error) {
	path := a.configFile()
	if a.configPath == "" && (a.socket != "" || os.Getenv("KEYWICKET_SOCKET") != "") {
		err := a.ask(ctx, func(ctx context.Context, d daemonClient) error {
			r, err := d.daemon.Status(ctx, &controlv1.StatusRequest{})
			if r.GetConfiguration() != "" {
				path = r.GetConfiguration()
			}
			return err
		})
		if err != nil && a.socket != "" { // another file than the one meant would be worse
			return "", err
		}
	}
	return path, nil
}

// ask runs fn with a client of the daemon.
func (a *app) ask(ctx context.Context, fn func(ctx context.Context, d daemonClient) error) error {
	path, err := a.socketPath()
	if err != nil {
		return err
	}
	return askAt(ctx, path, fn)
}

// verb makes the command that asks the daemon. use is its name, and after it those of
// its arguments.
func (a *app) verb(use, short string, run func(ctx context.Context, d daemonClient, args []string) error) *cobra.Command {
	_, names, _ := strings.Cut(use, " ")
	return &cobra.Command{
		Use:   use,
		Short: short,
		Args:  exactArgs(names),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.ask(cmd.Context(), func(ctx context.Context, d daemonClient) error { return run(ctx, d, args) })
		},
	}
}

// askAt is ask at one socket.
func askAt(ctx context.Context, path string, fn func(ctx context.Context, d daemonClient) error) error {
	if err := reachable(ctx, path); err != nil {
		return err
	}
	conn, err := grpc.NewClient("passthrough:///keywicket",
		grpc.WithUnaryInterceptor(inTime(path)),
		grpc.WithTransportCredentials(insecure.NewCredentials()), // a unix socket; the daemon asks the kernel who we are
		grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, "unix", path)
		}))
	if err != nil {
		return err
	}
	defer conn.Close()
	err = fn(ctx, daemonClient{
		AppPasswordsClient: controlv1.NewAppPasswordsClient(conn),
		accounts:           controlv1.NewAccountsClient(conn),
		sessions:           controlv1.NewSessionsClient(conn),
		daemon:             controlv1.NewDaemonClient(conn),
		self:               controlv1.NewSelfClient(conn),
	})
	if status.Code(err) == codes.Unimplemented {
		return fmt.Errorf("at %s this is not answered: it is another socket of the daemon than the one that is meant, or the daemon is of another version and wants a restart (%s)", path, messageOf(err))
	}
	return err
}

// inTime makes calls that end after askTimeout, and says in words where no answer
// came: gRPC made the error itself then.
func inTime(path string) grpc.UnaryClientInterceptor {
	return func(ctx context.Context, method string, request, reply any, conn *grpc.ClientConn, call grpc.UnaryInvoker, opts ...grpc.CallOption) error {
		ctx, cancel := context.WithTimeout(ctx, askTimeout)
		defer cancel()
		var header, trailer metadata.MD
		err := call(ctx, method, request, reply, conn, append(opts, grpc.Header(&header), grpc.Trailer(&trailer))...)
		s, _ := status.FromError(err)
		answered := len(header)+len(trailer) > 0
		if answered || s.Code() != codes.Unavailable && s.Code() != codes.DeadlineExceeded {
			return err
		}
		return unavailableError{fmt.Errorf("the daemon at %s gave no answer: is it stopped, its host overloaded, or this another socket than the control socket? What was asked may have been done all the same: look before you ask again (%s)", path, s.Message())}
	}
}

// reachable connects once, to tell in words why nobody answers.
func reachable(ctx context.Context, path string) error {
	conn, err := (&net.Dialer{Timeout: 5 * time.Second}).DialContext(ctx, "unix", path)
	if err == nil {
		return conn.Close()
	}
	hint := fmt.Sprintf("the daemon does not answer at %s (%v)", path, err)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		hint = fmt.Sprintf("no daemon: the control socket %s is not there; start \"keywicket serve\", or name another socket with --socket or --config", path)
	case errors.Is(err, syscall.ECONNREFUSED) && !isSocket(path):
		hint = fmt.Sprintf("no daemon: %s is no socket; name the daemon's with --socket, or its configuration with --config", path)
	case errors.Is(err, syscall.ECONNREFUSED):
		hint = fmt.Sprintf("no daemon: nobody listens on the control socket %s; start \"keywicket serve\"", path)
	case errors.Is(err, fs.ErrPermission):
		return fmt.Errorf("you may not use the control socket %s: ask root, or become a member of its group", path)
	}
	return unavailableError{errors.New(hint)}
}

func isSocket(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.Mode().Type() == fs.ModeSocket
}
