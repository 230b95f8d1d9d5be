package pluginhost_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	plugin "github.com/hashicorp/go-plugin"
	"google.golang.org/grpc"

	"github.com/keywicket/keywicket/core/directory"
	"github.com/keywicket/keywicket/core/directory/directorytest"
	"github.com/keywicket/keywicket/core/store"
	"github.com/keywicket/keywicket/core/store/memstore"
	"github.com/keywicket/keywicket/plugins/proto/pluginv1"
	"github.com/keywicket/keywicket/plugins/sdk"
	"github.com/keywicket/keywicket/plugins/sdk/wire"
)

// modePrefix begins the name of a program that is this test binary, and makes a
// plugin of it.
const modePrefix = "test-plugin-"

// What some modes begin with; the rest is the plugin's kind.
const (
	mirrorPrefix   = "mirror-"
	recordedPrefix = "recorded-"
	otherPrefix    = "other-"
)

func TestMain(m *testing.M) {
	if filepath.Base(os.Args[0]) == hostMode {
		runHost()
		return
	}
	mode, is := strings.CutPrefix(filepath.Base(os.Args[0]), modePrefix)
	if is {
		runPlugin(mode)
		return
	}
	os.Exit(m.Run())
}

// runPlugin is the one plugin that has every fault.
func runPlugin(mode string) {
	switch mode {
	case "exits":
		fmt.Fprintln(os.Stderr, "no room in the inn")
		os.Exit(3)
	case "silent":
		select {}
	case "garbage-line":
		fmt.Println(strings.Repeat("garbage \x1b[31m", 50_000))
		select {}
	case "garbage-frames":
		garbageFrames()
	case "elsewhere":
		fmt.Println("1|1|tcp|127.0.0.1:1|grpc|")
		select {}
	case "raw":
		rawServer()
	case "raw-garbage":
		rawGarbage()
	case otherPrefix + "directory", otherPrefix + "notifier", otherPrefix + "hook", otherPrefix + "mute-hook":
		otherServer(strings.TrimPrefix(mode, otherPrefix))
	case "plain": // without TLS
		plainServer()
	case "both-versions":
		versions(1, 2)
	case "later-version":
		versions(2)
	case "huge":
		hugeServer()
	case "version-2":
		fmt.Printf("1|2|unix|%s/x|grpc|\n", os.Getenv("PLUGIN_UNIX_SOCKET_DIR"))
		select {}
	case "netrpc":
		fmt.Printf("1|1|unix|%s/x|netrpc|\n", os.Getenv("PLUGIN_UNIX_SOCKET_DIR"))
		select {}
	case "store":
		sdk.ServeStore(&testStore{Store: memstore.New()})
	case "plain-store": // nothing but the four methods
		sdk.ServeStore(struct{ store.Store }{memstore.New()})
	case "directory":
		sdk.ServeDirectory(&testDirectory{changes: make(chan directory.Change, 16)})
	case "directory-codes":
		sdk.ServeDirectory(codeDirectory{&testDirectory{}})
	case "notifier":
		sdk.ServeNotifier(&testNotifier{})
	case "hook":
		sdk.ServeHook(testHook{})
	case "hook-by-value":
		sdk.ServeHook(pointerHook{})
	case "hook-of-another-shape":
		sdk.ServeHook(oddHook{})
	case "hook-of-nothing":
		sdk.ServeHook(struct{}{})
	case recordedPrefix + "store", recordedPrefix + "directory", recordedPrefix + "notifier", recordedPrefix + "hook":
		recordedServer(strings.TrimPrefix(mode, recordedPrefix))
	case mirrorPrefix + "store":
		sdk.ServeStore(mirrorStore{})
	case mirrorPrefix + "directory":
		sdk.ServeDirectory(mirrorDirectory{})
	case mirrorPrefix + "notifier":
		sdk.ServeNotifier(mirror{})
	case mirrorPrefix + "hook":
		sdk.ServeHook(mirror{})
	default:
		os.Exit(9)
	}
}

// garbageFrames listens and answers nothing that is HTTP/2.
func garbageFrames() {
	l := listen()
	for {
		c, err := l.Accept()
		if err != nil {
			return
		}
		go func() {
			for {
				if _, err := c.Write([]byte(strings.Repeat("\x00\xff", 4096))); err != nil {
					return
				}
			}
		}()
	}
}

// plainServer speaks gRPC without TLS.
func plainServer() {
	s := grpc.NewServer()
	_ = huge{}.GRPCServer(nil, s)
	_ = s.Serve(listen())
}

// versions is a store that speaks some versions of the contract, which it says in
// place of its own: this one is the only one that there is.
func versions(speaks ...int) {
	sets := map[int]plugin.PluginSet{}
	for _, v := range speaks {
		sets[v] = plugin.PluginSet{wire.Name: huge{version: fmt.Sprint("speaking ", v)}}
	}
	plugin.Serve(&plugin.ServeConfig{HandshakeConfig: wire.Handshake(), VersionedPlugins: sets, GRPCServer: plugin.DefaultGRPCServer, Logger: hclog.NewNullLogger()})
}

// hugeServer answers with messages larger than any that the host takes.
func hugeServer() {
	plugin.Serve(&plugin.ServeConfig{
		HandshakeConfig:  wire.Handshake(),
		VersionedPlugins: map[int]plugin.PluginSet{wire.V1: {wire.Name: huge{}}},
		GRPCServer: func(opts []grpc.ServerOption) *grpc.Server {
			return grpc.NewServer(append(opts, grpc.MaxSendMsgSize(1<<31-1))...)
		},
		Logger: hclog.NewNullLogger(),
	})
}

// huge is a store that has nothing but too much.
type huge struct {
	plugin.NetRPCUnsupportedPlugin
	pluginv1.UnimplementedPluginServer
	pluginv1.UnimplementedStoreServer
	version string
}

func (h huge) GRPCServer(_ *plugin.GRPCBroker, s *grpc.Server) error {
	pluginv1.RegisterPluginServer(s, h)
	pluginv1.RegisterStoreServer(s, h)
	return nil
}

func (huge) GRPCClient(context.Context, *plugin.GRPCBroker, *grpc.ClientConn) (any, error) {
	return nil, nil
}

func (h huge) Describe(context.Context, *pluginv1.DescribeRequest) (*pluginv1.DescribeResponse, error) {
	return &pluginv1.DescribeResponse{Kind: pluginv1.Kind_KIND_STORE, Version: h.version}, nil
}

func (huge) Configure(context.Context, *pluginv1.ConfigureRequest) (*pluginv1.ConfigureResponse, error) {
	return &pluginv1.ConfigureResponse{}, nil
}

func (huge) Health(context.Context, *pluginv1.HealthRequest) (*pluginv1.HealthResponse, error) {
	return &pluginv1.HealthResponse{}, nil
}

func (huge) Get(_ context.Context, req *pluginv1.GetRequest) (*pluginv1.GetResponse, error) {
	size, err := strconv.Atoi(string(req.Key))
	return &pluginv1.GetResponse{Entry: &pluginv1.Entry{Key: req.Key, Value: make([]byte, size), Revision: 1}}, err
}

func listen() net.Listener {
	path := os.Getenv("PLUGIN_UNIX_SOCKET_DIR") + "/test"
	l, err := net.Listen("unix", path)
	if err != nil {
		panic(err)
	}
	fmt.Printf("1|1|unix|%s|grpc|\n", path)
	return l
}

// misbehave does what a key or a name asks for. It says whether that was
// anything.
func misbehave(ctx context.Context, what string) error {
	switch what {
	case "exit":
		os.Exit(4)
	case "panic":
		panic("at the disco")
	case "hang":
		select {}
	case "slow":
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(300 * time.Millisecond):
		}
	case "stop":
		_ = syscall.Kill(os.Getpid(), syscall.SIGSTOP)
	case "noise":
		line := strings.Repeat("x", 1<<20)
		for range 1000 {
			fmt.Fprint(os.Stderr, line)
			_, _ = syscall.Write(2, []byte(line))
		}
		fmt.Fprintln(os.Stderr)
	case "lines":
		for n := range 100_000 {
			_, _ = syscall.Write(2, []byte(fmt.Sprintf("line %d \x1b[31m\xff\n", n)))
		}
	case "fork", "fork away":
		child := exec.Command("/bin/sleep", "1000")
		child.Stdout, child.Stderr = os.NewFile(1, "out"), os.NewFile(2, "err") // go-plugin has others in their place
		child.SysProcAttr = &syscall.SysProcAttr{Setsid: what == "fork away"}
		if err := child.Start(); err != nil {
			return err
		}
		return fmt.Errorf("%w: %d", store.ErrUnavailable, child.Process.Pid)
	case "environment":
		stdin, _ := io.ReadAll(os.Stdin)
		wd, _ := os.Getwd()
		names := []string{}
		for _, e := range os.Environ() {
			name, _, _ := strings.Cut(e, "=")
			names = append(names, name)
		}
		slices.Sort(names)
		return fmt.Errorf("%w: %s in %s, group %d, input %d, %s", store.ErrUnavailable, strconv.Itoa(os.Getuid()), wd, syscall.Getpgrp()-os.Getpid(), len(stdin), strings.Join(names, " "))
	case "no-word":
		return errors.New("not found")
	case "unavailable":
		return fmt.Errorf("%w: the database is away\n\x1b[31m", store.ErrUnavailable)
	}
	return nil
}

// A testStore is a store in memory that misbehaves on demand.
type testStore struct {
	store.Store
	settings sdk.Settings
}

func (s *testStore) Configure(_ context.Context, settings sdk.Settings) error {
	s.settings = settings
	if settings["fault"] == "configure" {
		return errors.New("the setting fault is wrong; take it out")
	}
	return nil
}

func (s *testStore) Health(context.Context) error {
	if s.settings["fault"] == "problem" {
		return errors.New("the database is away")
	}
	return nil
}

func (s *testStore) Get(ctx context.Context, key string) (store.Entry, error) {
	if err := misbehave(ctx, key); err != nil {
		return store.Entry{}, err
	}
	switch key {
	case "another":
		return store.Entry{Key: "else", Value: []byte("v"), Revision: 1}, nil
	case "no revision":
		return store.Entry{Key: key, Value: []byte("v")}, nil
	case "2 GiB":
		return store.Entry{Key: key, Value: make([]byte, 5<<20), Revision: 1}, nil
	case "1 MiB":
		return store.Entry{Key: key, Value: make([]byte, 1<<20), Revision: 1}, nil
	case "settings":
		return store.Entry{Key: key, Value: []byte(fmt.Sprintf("%#v", s.settings)), Revision: 1}, nil
	}
	return s.Store.Get(ctx, key)
}

func (s *testStore) Scan(ctx context.Context, prefix, after string, limit int) ([]store.Entry, error) {
	e := func(key string) store.Entry { return store.Entry{Key: key, Value: []byte("v"), Revision: 1} }
	switch prefix {
	case "order":
		return []store.Entry{e("order 2"), e("order 1")}, nil
	case "prefix":
		return []store.Entry{e("other")}, nil
	case "after":
		return []store.Entry{e(after)}, nil
	case "many":
		return []store.Entry{e("many 1"), e("many 2"), e("many 3")}, nil
	}
	return s.Store.Scan(ctx, prefix, after, limit)
}

func (s *testStore) Apply(ctx context.Context, b store.Batch) (store.Revision, error) {
	if err := misbehave(ctx, b[0].Key); err != nil {
		return 0, err
	}
	if b[0].Key == "no revision" {
		return 0, nil
	}
	return s.Store.Apply(ctx, b)
}

func (s *testStore) Watch(ctx context.Context, prefix string) (<-chan store.Event, error) {
	var ev store.Event
	switch prefix {
	case "unavailable":
		return nil, store.ErrUnavailable
	case "other":
		ev = store.Event{Entry: store.Entry{Key: "else", Revision: 1}}
	case "nothing":
	case "lost":
		ev = store.Event{Lost: true}
	default:
		return s.Store.Watch(ctx, prefix)
	}
	events := make(chan store.Event, 1)
	events <- ev
	context.AfterFunc(ctx, func() { close(events) })
	return events, nil
}

// A testDirectory has the accounts of directorytest, and some that are odd.
type testDirectory struct{ changes chan directory.Change }

func (d *testDirectory) accounts() map[string]directory.Account {
	f := directorytest.Standard()
	all := map[string]directory.Account{}
	for i, u := range []directorytest.User{f.Enabled, f.Disabled, f.NoPassword} {
		all[u.Name] = directory.Account{ID: fmt.Sprint(i + 1), Name: u.Name, Enabled: u.Name != f.Disabled.Name, Groups: u.Groups}
	}
	return all
}

func (d *testDirectory) Lookup(ctx context.Context, name string) (directory.Account, error) {
	if err := misbehave(ctx, name); err != nil {
		return directory.Account{}, err
	}
	if ctx.Err() != nil {
		return directory.Account{}, ctx.Err()
	}
	odd := directory.Account{ID: "1", Name: name, Enabled: true}
	switch name {
	case "no id":
		odd.ID = ""
	case "long id":
		odd.ID = strings.Repeat("i", 257)
	case "no name":
		odd.Name = ""
	case "no group":
		odd.Groups = []string{""}
	case "many groups":
		odd.Groups = make([]string, 5000)
	case "two-step":
		odd.TwoStep = 77
	case "not utf-8":
		odd.Groups = []string{"\xff"}
	case "attributes":
		odd.Attributes = map[string]string{"mail": strings.Repeat("x", 5000)}
	default:
		a, ok := d.accounts()[name]
		if !ok {
			return a, directory.ErrNotFound
		}
		return a, nil
	}
	return odd, nil
}

func (d *testDirectory) VerifyPassword(ctx context.Context, name string, password []byte) error {
	if err := misbehave(ctx, name); err != nil {
		return err
	}
	if name == "anything" {
		return nil
	}
	a, err := d.Lookup(ctx, name)
	if err != nil {
		return err
	}
	f := directorytest.Standard()
	if a.Enabled && f.Enabled.Name == name && f.Enabled.Password == string(password) {
		return nil
	}
	return directory.ErrDenied
}

// Watch tells of what is looked up with SIGUSR1; a test has no other way in.
func (d *testDirectory) Watch(ctx context.Context) (<-chan directory.Change, error) {
	out := make(chan directory.Change, 1)
	out <- directory.Change{Name: fmt.Sprint(os.Getpid())}
	context.AfterFunc(ctx, func() { close(out) })
	return out, nil
}

// A codeDirectory keeps two-step verification, and has no watch.
type codeDirectory struct{ d *testDirectory }

func (d codeDirectory) Lookup(ctx context.Context, name string) (directory.Account, error) {
	a, err := d.d.Lookup(ctx, name)
	a.TwoStep = directory.On
	return a, err
}

func (d codeDirectory) VerifyPassword(ctx context.Context, name string, password []byte) error {
	return d.d.VerifyPassword(ctx, name, password)
}

func (d codeDirectory) VerifyCode(ctx context.Context, name, code string) error {
	if _, err := d.Lookup(ctx, name); err != nil {
		return err
	}
	if code == "123456" || name == "two-step" {
		return nil
	}
	return directory.ErrDenied
}

// A testNotifier fails twice and then delivers to a file.
type testNotifier struct {
	tries int
	into  string
}

func (n *testNotifier) Configure(_ context.Context, s sdk.Settings) error {
	return s.Decode(&struct {
		Into *string `json:"into"`
	}{&n.into})
}

func (n *testNotifier) Notify(_ context.Context, notice sdk.Notice) error {
	n.tries++
	if notice.Text == "fails once" && n.tries == 1 {
		return errors.New("the mail server is away")
	}
	return os.WriteFile(n.into, []byte(fmt.Sprintf("%+v", notice)), 0o600)
}

// A testHook answers what the account's name asks for.
type testHook struct{}

func (testHook) Check(ctx context.Context, s sdk.SignIn) (sdk.Answer, error) {
	if err := misbehave(ctx, s.Account); err != nil {
		return sdk.Answer{}, err
	}
	switch s.Account {
	case "refused":
		return sdk.Answer{Text: "not at this hour"}, nil
	case "long text":
		return sdk.Answer{Text: strings.Repeat("x", 300)}, nil
	case "many":
		return sdk.Answer{Allow: true, Reply: make([]sdk.Attribute, 65)}, nil
	case "no name":
		return sdk.Answer{Allow: true, Reply: []sdk.Attribute{{Value: "x"}}}, nil
	}
	return sdk.Answer{Allow: true, Reply: []sdk.Attribute{{Name: "Filter-Id", Value: s.Service}}}, nil
}

// A pointerHook is a hook where a pointer to it is handed over.
type pointerHook struct{}

func (*pointerHook) Check(context.Context, sdk.SignIn) (sdk.Answer, error) { return sdk.Answer{}, nil }

// An oddHook is an Observer, and was meant for a Guard too.
type oddHook struct{}

func (oddHook) Check(context.Context, *sdk.SignIn) (sdk.Answer, error) { return sdk.Answer{}, nil }
func (oddHook) Observe(context.Context, []sdk.Event) error             { return nil }
