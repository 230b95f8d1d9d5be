package control

import (
	"context"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/keywicket/keywicket/core"
	"github.com/keywicket/keywicket/core/directory/local"
	"github.com/keywicket/keywicket/core/keyring"
	"github.com/keywicket/keywicket/core/store/memstore"
	"github.com/keywicket/keywicket/plugins/proto/controlv1"
)

const (
	alain    = "alain@contoso.com"
	patience = time.Minute // longer than the slowest machine needs
)

// A fakeHost knows nothing; what it does not have panics.
type fakeHost struct {
	Host
	status func() *controlv1.StatusResponse
}

func (h *fakeHost) Status(context.Context) *controlv1.StatusResponse {
	if h.status != nil {
		return h.status()
	}
	return &controlv1.StatusResponse{Version: "test"}
}

// events keeps what the engine recorded.
type events struct {
	mu  sync.Mutex
	all []core.Event
}

func (e *events) Record(ev core.Event) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.all = append(e.all, ev)
	return nil
}

// A fixture is a server over an engine in memory, and its socket.
type fixture struct {
	*Server
	t      testing.TB
	path   string
	engine *core.Engine
	host   *fakeHost
	events *events
}

// newFixture starts a server; edit may change its options before.
func newFixture(t testing.TB, edit func(*Options)) *fixture {
	t.Helper()
	f := &fixture{t: t, path: filepath.Join(shortDir(t), "control.sock"), host: &fakeHost{}, events: &events{}}
	f.engine = newEngine(t, f.events)
	opt := Options{Path: f.path, Engine: f.engine, Host: f.host, Log: slog.New(slog.DiscardHandler)}
	if edit != nil {
		edit(&opt)
	}
	s, err := Listen(opt)
	must(t, err)
	f.Server = s
	served := make(chan error, 1)
	go func() { served <- s.Serve() }()
	t.Cleanup(func() {
		s.Close(0)
		if err := <-served; err != nil {
			t.Errorf("Serve: %v", err)
		}
	})
	return f
}

func newEngine(t testing.TB, to core.Recorder) *core.Engine {
	t.Helper()
	keys, err := keyring.New(time.Now())
	must(t, err)
	s := memstore.New()
	d := local.New(s, keys, local.Options{Cost: local.Cost{Time: 1, MemoryKiB: 8, Threads: 1}})
	policy := core.DefaultPolicy()
	policy.Profiles["console"] = core.Profile{Letters: 28, Services: []string{"radius/*"}, Methods: policy.Profiles["default"].Methods, PinDevice: true}
	e, err := core.Open(t.Context(), core.Options{Store: s, Directory: d, Keyring: keys, Policy: &policy, Recorder: to})
	must(t, err)
	t.Cleanup(func() { _ = e.Close(); _ = s.Close() })
	return e
}

// A client speaks to the server over its socket.
type client struct {
	controlv1.AppPasswordsClient
	accounts controlv1.AccountsClient
	daemon   controlv1.DaemonClient
	conn     *grpc.ClientConn
}

// dial makes a connection of its own.
func (f *fixture) dial() client {
	f.t.Helper()
	conn, err := grpc.NewClient("passthrough:///keywicket", grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, "unix", f.path)
		}))
	must(f.t, err)
	f.t.Cleanup(func() { _ = conn.Close() })
	return client{controlv1.NewAppPasswordsClient(conn), controlv1.NewAccountsClient(conn), controlv1.NewDaemonClient(conn), conn}
}

// enroll makes an account with two-step verification, and returns its first
// app password.
func (f *fixture) enroll(name string) *controlv1.ConfirmTwoStepResponse {
	f.t.Helper()
	ctx := f.t.Context()
	c := f.dial()
	_, err := c.accounts.Add(ctx, &controlv1.AddAccountRequest{Account: name, Groups: []string{"staff"}})
	must(f.t, err)
	enrolled, err := c.accounts.EnrollTwoStep(ctx, &controlv1.AccountRequest{Account: name})
	must(f.t, err)
	code, err := core.CodeFor(enrolled.Otpauth, time.Now())
	must(f.t, err)
	confirmed, err := c.accounts.ConfirmTwoStep(ctx, &controlv1.ConfirmTwoStepRequest{Account: name, Code: code})
	must(f.t, err)
	return confirmed
}

// shortDir is a temporary directory whose path leaves room for a socket's name.
func shortDir(t testing.TB) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "kw")
	must(t, err)
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return dir
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
