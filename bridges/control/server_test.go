package control

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/keywicket/keywicket/bridges/socket"
	"github.com/keywicket/keywicket/core"
	"github.com/keywicket/keywicket/plugins/proto/controlv1"
)

// A panic ends the request, in words that tell nothing, and not the daemon.
func TestPanicInHandler(t *testing.T) {
	f := newFixture(t, func(o *Options) { o.Engine = nil }) // so that every use of it panics
	f.host.status = func() *controlv1.StatusResponse { panic("secret inside") }
	c, ctx := f.dial(), t.Context()
	internal := func(what string, err error) {
		t.Helper()
		if status.Code(err) != codes.Internal || status.Convert(err).Message() != "internal error; the log says more" {
			t.Errorf("%s: %v", what, err)
		}
	}
	_, err := c.daemon.Status(ctx, &controlv1.StatusRequest{})
	internal("Status", err)
	_, err = c.Create(ctx, &controlv1.CreateRequest{Account: alain, Name: "x"})
	internal("Create", err)
	stream, err := c.accounts.List(ctx, &controlv1.ListAccountsRequest{})
	must(t, err)
	_, err = stream.Recv()
	internal("List", err)
	backup, err := c.daemon.Backup(ctx, &controlv1.BackupRequest{}) // which the fake does not have
	must(t, err)
	_, err = backup.Recv()
	internal("Backup", err)
	f.host.status = nil
	_, err = c.daemon.Status(ctx, &controlv1.StatusRequest{})
	must(t, err)
}

// A request beyond the bound is refused before it is looked at.
func TestHugeRequest(t *testing.T) {
	f := newFixture(t, nil)
	f.enroll(alain)
	c, ctx := f.dial(), t.Context()
	for _, octets := range []int{maxRequest + 1, 8 << 20} {
		_, err := c.Create(ctx, &controlv1.CreateRequest{Account: alain, Name: strings.Repeat("x", octets)})
		if status.Code(err) != codes.ResourceExhausted {
			t.Errorf("%d octets: %v", octets, err)
		}
	}
	_, err := c.Create(ctx, &controlv1.CreateRequest{Account: alain, Name: strings.Repeat("x", maxRequest/2)})
	if status.Code(err) != codes.InvalidArgument {
		t.Errorf("within the bound: %v", err)
	}
	_, err = c.List(ctx, &controlv1.ListRequest{Account: alain})
	must(t, err)
}

// Of 300 connections, as many are served as the bound says. The others wait,
// and get their turn; closing does not wait for any of them.
func TestManyConnections(t *testing.T) {
	const many = 300
	f := newFixture(t, nil)
	served := atomic.Int64{}
	var all sync.WaitGroup
	defer all.Wait()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	clients := make(chan client, many)
	for range many {
		c := f.dial()
		all.Go(func() {
			if _, err := c.daemon.Status(ctx, &controlv1.StatusRequest{}); err == nil {
				served.Add(1)
				clients <- c
			}
		})
	}
	until(t, "the bound is reached", func() bool { return served.Load() >= maxConnections })
	time.Sleep(200 * time.Millisecond) // for one more that should not be; were it slower, nothing would fail that is right
	if n := served.Load(); n != maxConnections {
		t.Errorf("%d connections are served, want %d", n, maxConnections)
	}
	for range 10 {
		must(t, (<-clients).conn.Close())
	}
	until(t, "those who waited have their turn", func() bool { return served.Load() >= maxConnections+10 })
	closed := make(chan struct{})
	go func() {
		f.Close(10 * time.Millisecond)
		close(closed)
	}()
	select {
	case <-closed:
	case <-time.After(patience):
		t.Fatal("Close waits for connections that stay open")
	}
}

func until(t testing.TB, what string, done func() bool) {
	t.Helper()
	for end := time.Now().Add(patience); !done(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("waited %s in vain: %s", patience, what)
		}
	}
}

// A peer that says nothing, or no HTTP/2, keeps its place only for a moment.
func TestSilentPeer(t *testing.T) {
	f := newFixture(t, nil)
	var all sync.WaitGroup
	for _, says := range []string{"", "GET / HTTP/1.1\r\n\r\n", "\x00\xff\x00\xff"} {
		conn, err := net.Dial("unix", f.path)
		must(t, err)
		defer conn.Close()
		_, err = io.WriteString(conn, says)
		must(t, err)
		must(t, conn.SetReadDeadline(time.Now().Add(patience)))
		all.Go(func() {
			if _, err := io.Copy(io.Discard, conn); errors.Is(err, os.ErrDeadlineExceeded) {
				t.Errorf("%q: the connection stays open", says)
			}
		})
	}
	all.Wait()
	_, err := f.dial().daemon.Status(t.Context(), &controlv1.StatusRequest{})
	must(t, err)
}

// The socket is its owner's; a dead one is replaced, a living one and what is
// no socket are left alone.
func TestListen(t *testing.T) {
	f := newFixture(t, nil)
	info, err := os.Lstat(f.path)
	must(t, err)
	if info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v", info.Mode())
	}
	if _, err := Listen(Options{Path: f.path, Host: f.host}); err == nil || !strings.Contains(err.Error(), "another daemon") {
		t.Errorf("over a living one: %v", err)
	}
	_, err = f.dial().daemon.Status(t.Context(), &controlv1.StatusRequest{})
	must(t, err)

	dead := filepath.Join(shortDir(t), "dead.sock")
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: dead, Net: "unix"})
	must(t, err)
	l.SetUnlinkOnClose(false)
	must(t, l.Close())
	s, err := Listen(Options{Path: dead, Host: f.host})
	must(t, err)
	s.Close(0)

	for name, make := range map[string]func(path string) error{
		"a file":            func(path string) error { return os.WriteFile(path, []byte("mine"), 0o600) },
		"a directory":       func(path string) error { return os.Mkdir(path, 0o700) },
		"a link to nowhere": func(path string) error { return os.Symlink("nowhere", path) },
		"a link to another": func(path string) error { return os.Symlink(f.path, path) },
	} {
		path := filepath.Join(shortDir(t), "control.sock")
		must(t, make(path))
		if _, err := Listen(Options{Path: path, Host: f.host}); err == nil || !strings.Contains(err.Error(), "is no socket") {
			t.Errorf("over %s: %v", name, err)
		}
		if _, err := os.Lstat(path); err != nil {
			t.Errorf("%s is gone", name)
		}
	}
	if _, err := Listen(Options{Path: filepath.Join(shortDir(t), "none", "control.sock"), Host: f.host}); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("without its folder: %v", err)
	}
}

// Close lets what runs end, up to its time, and takes the socket away.
func TestClose(t *testing.T) {
	for _, grace := range []time.Duration{patience, time.Millisecond} {
		f := newFixture(t, nil)
		inside, release := make(chan struct{}), make(chan struct{})
		f.host.status = func() *controlv1.StatusResponse {
			close(inside)
			<-release
			return &controlv1.StatusResponse{Version: "late"}
		}
		c, answer := f.dial(), make(chan error, 1)
		go func() {
			_, err := c.daemon.Status(t.Context(), &controlv1.StatusRequest{})
			answer <- err
		}()
		<-inside
		closed := make(chan struct{})
		go func() {
			f.Close(grace)
			close(closed)
		}()
		if grace == patience {
			close(release)
			must(t, <-answer)
		} else {
			if err := <-answer; status.Code(err) != codes.Unavailable {
				t.Errorf("after its time: %v", err)
			}
			close(release)
		}
		<-closed
		if _, err := os.Lstat(f.path); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("the socket after Close: %v", err)
		}
	}
}

// Who asked stands in the audit.
func TestActor(t *testing.T) {
	f := newFixture(t, nil)
	f.enroll(alain)
	f.events.mu.Lock()
	defer f.events.mu.Unlock()
	if len(f.events.all) == 0 {
		t.Fatal("no event")
	}
	for _, e := range f.events.all {
		if !strings.HasPrefix(e.Actor, "uid ") {
			t.Errorf("%s by %q", e.Kind, e.Actor)
		}
	}
}

// Everybody else is refused whatever he asks, before anything is done.
func TestAdmit(t *testing.T) {
	f := newFixture(t, nil)
	if _, err := f.admit(t.Context(), "/method"); status.Code(err) != codes.PermissionDenied {
		t.Errorf("a caller who is not known: %v", err)
	}
	for name, tt := range map[string]struct {
		c     caller
		group int
		want  bool
	}{
		"root":                          {callerAs(0), 0, true},
		"the daemon's own user":         {callerAs(1000), 0, true},
		"another":                       {callerAs(1001), 0, false},
		"another, in group 0":           {callerAs(1001, 0), 0, false},
		"of the group":                  {callerAs(1001, 5, 7), 7, true},
		"of other groups":               {callerAs(1001, 5, 6), 7, false},
		"nobody (-1), and no such id":   {callerAs(^uint32(0)), 7, false},
		"a group whose number is large": {callerAs(1001, 1<<31), 1 << 31, true},
	} {
		if got := tt.c.may(1000, tt.group); got != tt.want {
			t.Errorf("%s: may %v", name, got)
		}
	}
}

// What is no unix socket has no caller who may do anything.
func TestHandshake(t *testing.T) {
	tcp, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	defer tcp.Close()
	out, err := net.Dial("tcp", tcp.Addr().String())
	must(t, err)
	defer out.Close()
	if _, info, err := (peerCredentials{}).ServerHandshake(out); err == nil {
		if c, ok := info.(caller); !ok || c.may(1000, 7) {
			t.Errorf("a TCP peer is %+v", info)
		}
	}
}

func callerAs(uid uint32, groups ...uint32) caller {
	return caller{Peer: socket.Peer{UID: uid, Groups: groups}}
}

// An error of the engine travels with its code and its words.
func TestErrorsTravel(t *testing.T) {
	f := newFixture(t, nil)
	c := f.dial()
	_, err := c.List(t.Context(), &controlv1.ListRequest{Account: "nobody"})
	if status.Code(err) != codes.NotFound || !strings.Contains(status.Convert(err).Message(), `there is no account "nobody"`) {
		t.Errorf("%v", err)
	}
	v, err := c.Verify(t.Context(), &controlv1.VerifyRequest{Account: "nobody", Password: "x", Service: "s"})
	must(t, err)
	if v.Granted || v.Reason != string(core.ReasonUnknownAccount) || v.Sentence != core.ReasonUnknownAccount.Sentence() {
		t.Errorf("a refusal is an answer: %v", v)
	}
}
