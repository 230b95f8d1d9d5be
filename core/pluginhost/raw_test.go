package pluginhost_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"os"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	plugin "github.com/hashicorp/go-plugin"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"

	"github.com/keywicket/keywicket/core/pluginhost"
	"github.com/keywicket/keywicket/plugins/proto/pluginv1"
	"github.com/keywicket/keywicket/plugins/sdk"
	"github.com/keywicket/keywicket/plugins/sdk/wire"
)

// rawListen listens as a plugin does, with TLS, and says so to the host.
func rawListen() (net.Listener, *tls.Config) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		panic(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), DNSNames: []string{"localhost"}, NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		panic(err)
	}
	path := os.Getenv("PLUGIN_UNIX_SOCKET_DIR") + "/raw"
	l, err := net.Listen("unix", path)
	if err != nil {
		panic(err)
	}
	fmt.Printf("1|1|unix|%s|grpc|%s\n", path, base64.RawStdEncoding.EncodeToString(der))
	return l, &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}, NextProtos: []string{"h2"}, MinVersion: tls.VersionTLS12}
}

// rawGarbage says nothing that is HTTP/2, where TLS has hidden it until then.
func rawGarbage() {
	l, config := rawListen()
	for {
		c, err := l.Accept()
		if err != nil {
			return
		}
		go func() {
			t := tls.Server(c, config)
			for {
				if _, err := t.Write([]byte(strings.Repeat("\x00\xff", 4096))); err != nil {
					return
				}
			}
		}()
	}
}

// rawServer is a store that is written without gRPC's library, so that it can say
// what no library says. The key of a Get is what goes wrong.
func rawServer() {
	l, config := rawListen()
	s := &http.Server{TLSConfig: config, ReadHeaderTimeout: time.Minute, Handler: http.HandlerFunc(rawAnswer)}
	_ = s.ServeTLS(l, "", "")
}

func rawAnswer(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "application/grpc")
	w.Header().Set("Trailer", "Grpc-Status, Grpc-Message")
	end := func(status string) { w.Header().Set("Grpc-Status", status) }
	switch name := r.URL.Path[strings.LastIndex(r.URL.Path, "/")+1:]; name {
	case "Describe":
		_, _ = w.Write(frame(&pluginv1.DescribeResponse{Kind: pluginv1.Kind_KIND_STORE}))
	case "Configure", "Health":
		_, _ = w.Write(frame(&pluginv1.HealthResponse{}))
	case "Get":
		req := &pluginv1.GetRequest{}
		body, err := io.ReadAll(r.Body)
		if err != nil || len(body) < 5 || proto.Unmarshal(body[5:], req) != nil {
			end("3")
			return
		}
		end(rawGet(w, string(req.Key)))
		return
	default:
		end("12")
		return
	}
	end("0")
}

// frame is a message as gRPC sends it.
func frame(m proto.Message) []byte {
	octets := marshalled(m)
	return append(binary.BigEndian.AppendUint32([]byte{0}, uint32(len(octets))), octets...)
}

// rawGet writes an answer, and returns its status.
func rawGet(w http.ResponseWriter, key string) (status string) {
	good := frame(&pluginv1.GetResponse{Entry: &pluginv1.Entry{Key: []byte(key), Value: []byte("v"), Revision: 1}})
	write := func(octets ...byte) { _, _ = w.Write(octets) } // whoever has seen enough has left
	switch key {
	case "2 GiB":
		write(binary.BigEndian.AppendUint32([]byte{0}, 1<<31)...)
		for range 2 << 10 {
			write(make([]byte, 1<<20)...)
		}
	case "4 GiB claimed":
		write(0, 0xff, 0xff, 0xff, 0xff, 0)
	case "half a message":
		write(good[:len(good)-1]...)
	case "half a frame":
		write(0, 0, 0)
	case "no message":
	case "two messages":
		write(good...)
		write(good...)
	case "no protobuf":
		write(0, 0, 0, 0, 4, 0xff, 0xff, 0xff, 0xff)
	case "no entry":
		write(frame(&pluginv1.GetResponse{})...)
	case "compressed":
		write(append([]byte{1}, good[1:]...)...)
	case "no status":
		write(good...)
		return ""
	case "a status that is no number":
		write(good...)
		return "fine"
	case "a status that is none":
		return "99"
	case "a negative status":
		return "-1"
	case "a web page":
		w.Header().Set("Content-Type", "text/html")
		write([]byte("<h1>It works!</h1>")...)
	case "not found, says HTTP":
		w.Header().Set("Content-Type", "text/plain")
		w.WriteHeader(http.StatusNotFound)
	case "1 MiB of headers":
		for i := range 1 << 10 {
			w.Header().Set(fmt.Sprint("X-Filler-", i), strings.Repeat("x", 1<<10))
		}
		write(good...)
	case "a long text":
		w.Header().Set("Grpc-Message", strings.Repeat("long\x1b[31m ", 3<<10))
		return "13"
	default:
		write(good...)
	}
	return "0"
}

// TestRawAnswers: what is no gRPC, or more than anybody could hold, is no answer,
// costs no memory, and is no end of the plugin.
func TestRawAnswers(t *testing.T) {
	f := run(t, pluginhost.KindStore, "raw", quick, nil).wait()
	s := f.store()
	fine := func(after string) {
		t.Helper()
		f.until("answering after "+after, func(pluginhost.Status) bool {
			e, err := s.Get(f.ctx, "fine")
			return err == nil && string(e.Value) == "v"
		})
	}
	fine("its start")
	var before, after runtime.MemStats
	for _, key := range []string{
		"2 GiB", "4 GiB claimed", "half a message", "half a frame", "no message", "two messages", "no protobuf", "no entry", "compressed", "no status",
		"a status that is no number", "a status that is none", "a negative status", "a web page", "not found, says HTTP", "1 MiB of headers", "a long text",
	} {
		runtime.ReadMemStats(&before)
		within(t, key, deadline, func() {
			_, err := s.Get(f.ctx, key)
			unable(t, key, err)
		})
		runtime.ReadMemStats(&after)
		if grown := after.TotalAlloc - before.TotalAlloc; grown > 64<<20 {
			t.Errorf("%s: %d MiB were allocated for it", key, grown>>20)
		}
		fine(key)
	}
	if st := f.status(); st.Restarts != 0 {
		t.Errorf("%+v\n%s", st, f.log)
	}
}

// An other is a plugin that answers for somebody else, or decides nothing: as the
// account's name, or the notice's text, says.
type other struct {
	plugin.NetRPCUnsupportedPlugin
	pluginv1.UnimplementedPluginServer
	pluginv1.UnimplementedDirectoryServer
	pluginv1.UnimplementedNotifierServer
	pluginv1.UnimplementedHookServer
	kind pluginv1.Kind
	mute bool // it says nothing of what it can
}

func otherServer(kind string) {
	o := &other{mute: kind == "mute-hook", kind: map[string]pluginv1.Kind{
		"directory": pluginv1.Kind_KIND_DIRECTORY, "notifier": pluginv1.Kind_KIND_NOTIFIER, "hook": pluginv1.Kind_KIND_HOOK, "mute-hook": pluginv1.Kind_KIND_HOOK,
	}[kind]}
	plugin.Serve(&plugin.ServeConfig{
		HandshakeConfig: wire.Handshake(), VersionedPlugins: map[int]plugin.PluginSet{wire.V1: {wire.Name: o}},
		GRPCServer: plugin.DefaultGRPCServer, Logger: hclog.NewNullLogger(),
	})
}

func (o *other) GRPCServer(_ *plugin.GRPCBroker, s *grpc.Server) error {
	pluginv1.RegisterPluginServer(s, o)
	pluginv1.RegisterDirectoryServer(s, o)
	pluginv1.RegisterNotifierServer(s, o)
	pluginv1.RegisterHookServer(s, o)
	return nil
}

func (*other) GRPCClient(context.Context, *plugin.GRPCBroker, *grpc.ClientConn) (any, error) {
	return nil, nil
}

func (o *other) Describe(context.Context, *pluginv1.DescribeRequest) (*pluginv1.DescribeResponse, error) {
	if o.mute {
		return &pluginv1.DescribeResponse{Kind: o.kind}, nil
	}
	return &pluginv1.DescribeResponse{Kind: o.kind, Capabilities: []pluginv1.Capability{pluginv1.Capability_CAPABILITY_VERIFY_CODE, pluginv1.Capability_CAPABILITY_CHECK}}, nil
}

func (*other) Configure(context.Context, *pluginv1.ConfigureRequest) (*pluginv1.ConfigureResponse, error) {
	return &pluginv1.ConfigureResponse{}, nil
}

func (*other) Health(context.Context, *pluginv1.HealthRequest) (*pluginv1.HealthResponse, error) {
	return &pluginv1.HealthResponse{}, nil
}

// named is who is answered for, and verdicts what is answered.
func named(name string) string {
	if name == "another" {
		return "else"
	} else if name == "nobody" {
		return ""
	}
	return name
}

func (*other) Lookup(_ context.Context, req *pluginv1.LookupRequest) (*pluginv1.LookupResponse, error) {
	r := &pluginv1.LookupResponse{Name: named(req.Name), Account: &pluginv1.Account{Id: "1", Name: req.Name, Enabled: true, TwoStep: pluginv1.TwoStep_TWO_STEP_ON}}
	if req.Name == "no account" {
		r.Account = nil
	}
	return r, nil
}

func verdictFor(name string) pluginv1.Verdict {
	if v, ok := map[string]pluginv1.Verdict{"no verdict": 0, "a verdict of later": 7}[name]; ok {
		return v
	}
	return pluginv1.Verdict_VERDICT_RIGHT
}

func (*other) VerifyPassword(_ context.Context, req *pluginv1.VerifyPasswordRequest) (*pluginv1.VerifyPasswordResponse, error) {
	return &pluginv1.VerifyPasswordResponse{Name: named(req.Name), Verdict: verdictFor(req.Name)}, nil
}

func (*other) VerifyCode(_ context.Context, req *pluginv1.VerifyCodeRequest) (*pluginv1.VerifyCodeResponse, error) {
	return &pluginv1.VerifyCodeResponse{Name: named(req.Name), Verdict: verdictFor(req.Name)}, nil
}

func (*other) Notify(_ context.Context, req *pluginv1.NotifyRequest) (*pluginv1.NotifyResponse, error) {
	return &pluginv1.NotifyResponse{Id: named(req.Notice.Id)}, nil
}

func (*other) Check(_ context.Context, req *pluginv1.CheckRequest) (*pluginv1.CheckResponse, error) {
	r := &pluginv1.CheckResponse{Account: named(req.Account), Decision: pluginv1.Decision_DECISION_ALLOW}
	if d, ok := map[string]pluginv1.Decision{"no verdict": 0, "a verdict of later": 7}[req.Account]; ok {
		r.Decision = d
	}
	return r, nil
}

// TestG8Other: an answer for another account lets nobody in, turns nobody away and
// delivers nothing; nor does one that decides nothing.
func TestG8Other(t *testing.T) {
	names := []string{"another", "nobody", "no verdict", "a verdict of later"}
	f := run(t, pluginhost.KindDirectory, otherPrefix+"directory", quick, nil).wait()
	d := f.directory()
	verifyCode := d.(interface {
		VerifyCode(ctx context.Context, name, code string) error
	}).VerifyCode
	for _, name := range names {
		unable(t, "VerifyPassword of "+name, d.VerifyPassword(f.ctx, name, []byte("x")))
		unable(t, "VerifyCode of "+name, verifyCode(f.ctx, name, "x"))
	}
	for _, name := range []string{"another", "nobody", "no account"} {
		_, err := d.Lookup(f.ctx, name)
		unable(t, "Lookup of "+name, err)
	}
	if err := d.VerifyPassword(f.ctx, "alain", []byte("x")); err != nil { // so this is what went wrong
		t.Error(err)
	}
	f = run(t, pluginhost.KindHook, otherPrefix+"hook", quick, nil).wait()
	h, err := f.Hook("p")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		a, err := h.Check(f.ctx, sdk.SignIn{Account: name})
		if unable(t, "Check of "+name, err); a.Allow {
			t.Errorf("%s is allowed", name)
		}
	}
	if a, err := h.Check(f.ctx, sdk.SignIn{Account: "alain"}); err != nil || !a.Allow {
		t.Errorf("%+v, %v", a, err)
	}
	f = run(t, pluginhost.KindNotifier, otherPrefix+"notifier", quick, nil).wait()
	n, err := f.Notifier("p")
	if err != nil {
		t.Fatal(err)
	}
	for _, id := range []string{"another", "nobody"} {
		unable(t, "Notify of "+id, n.Notify(f.ctx, sdk.Notice{ID: id}))
	}
	if err := n.Notify(f.ctx, sdk.Notice{ID: "1"}); err != nil {
		t.Error(err)
	}
}

// TestG8HookNeverAsked: a hook that would never be asked does not run, so nobody is
// let in past it, and its author learns why.
func TestG8HookNeverAsked(t *testing.T) {
	for mode, why := range map[string]string{
		otherPrefix + "mute-hook": "it would never be asked",
		"hook-by-value":           "hand the pointer to ServeHook",
		"hook-of-another-shape":   "has a method Check, but it is not that of sdk.Guard",
		"hook-of-nothing":         "neither an sdk.Guard nor an sdk.Observer",
	} {
		f := run(t, pluginhost.KindHook, mode, quick, nil)
		if err := f.WaitFirst(f.ctx, "p"); err == nil {
			t.Errorf("%s: it runs", mode)
		}
		f.until(mode+": its log says why", func(pluginhost.Status) bool { return strings.Contains(f.log.String(), why) })
	}
}
