package control

import (
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/keywicket/keywicket/core"
	"github.com/keywicket/keywicket/plugins/proto/controlv1"
)

// newSelf starts self-service beside the control socket, where the login of
// whoever runs the test is name.
func newSelf(t *testing.T, f *fixture, name string) *fixture {
	t.Helper()
	own := &fixture{t: t, path: filepath.Join(shortDir(t), "self.sock"), engine: f.engine, events: f.events}
	s, err := ListenSelf(SelfOptions{Path: own.path, Engine: f.engine, Log: slog.New(slog.DiscardHandler)})
	must(t, err)
	s.self.login = func(uid uint32) (string, error) {
		if name == "" || int(uid) != os.Geteuid() {
			return "", errors.New("no such user")
		}
		return name, nil
	}
	own.Server = s
	served := make(chan error, 1)
	go func() { served <- s.Serve() }()
	t.Cleanup(func() {
		s.Close(0)
		must(t, <-served)
	})
	return own
}

// Whoever asks is told of his own account; the contract has no word for
// another's, and no administration is served there.
func TestSelf(t *testing.T) {
	f := newFixture(t, nil)
	f.enroll(alain)
	f.enroll("beate@contoso.com")
	own := newSelf(t, f, alain)
	info, err := os.Lstat(own.path)
	must(t, err)
	if info.Mode().Perm() != 0o666 {
		t.Errorf("mode %v", info.Mode())
	}
	c, ctx := own.dial(), t.Context()
	self := controlv1.NewSelfClient(c.conn)
	r, err := self.List(ctx, &controlv1.ListOwnRequest{})
	must(t, err)
	if len(r.AppPasswords) != 1 || r.AppPasswords[0].Name != core.FirstName {
		t.Errorf("%v", r)
	}
	for what, try := range map[string]func() error{
		"List of any":   func() error { _, err := c.List(ctx, &controlv1.ListRequest{Account: alain}); return err },
		"Create of any": func() error { _, err := c.Create(ctx, &controlv1.CreateRequest{Account: alain}); return err },
		"an account":    func() error { _, err := c.accounts.Get(ctx, &controlv1.AccountRequest{Account: alain}); return err },
		"Status":        func() error { _, err := c.daemon.Status(ctx, &controlv1.StatusRequest{}); return err },
		"accounts": func() error {
			stream, err := c.accounts.List(ctx, &controlv1.ListAccountsRequest{})
			if err == nil {
				_, err = stream.Recv()
			}
			return err
		},
	} {
		if err := try(); status.Code(err) != codes.Unimplemented {
			t.Errorf("%s: %v", what, err)
		}
	}
	if _, err := controlv1.NewSelfClient(f.dial().conn).List(ctx, &controlv1.ListOwnRequest{}); status.Code(err) != codes.Unimplemented {
		t.Errorf("at the control socket: %v", err)
	}
	if _, err := controlv1.NewSelfClient(newSelf(t, f, "").dial().conn).List(ctx, &controlv1.ListOwnRequest{}); status.Code(err) != codes.PermissionDenied {
		t.Errorf("without a login: %v", err)
	}
	if _, err := controlv1.NewSelfClient(newSelf(t, f, "carl").dial().conn).List(ctx, &controlv1.ListOwnRequest{}); status.Code(err) != codes.NotFound {
		t.Errorf("without an account: %v", err)
	}
}

// Making one asks for both proofs, and stands in the audit as the owner's doing.
func TestSelfCreate(t *testing.T) {
	f := newFixture(t, nil)
	c, ctx := f.dial(), t.Context()
	_, err := c.accounts.Add(ctx, &controlv1.AddAccountRequest{Account: alain, MainPassword: "correct horse"})
	must(t, err)
	enrolled, err := c.accounts.EnrollTwoStep(ctx, &controlv1.AccountRequest{Account: alain})
	must(t, err)
	code, err := core.CodeFor(enrolled.Otpauth, time.Now())
	must(t, err)
	confirmed, err := c.accounts.ConfirmTwoStep(ctx, &controlv1.ConfirmTwoStepRequest{Account: alain, Code: code})
	must(t, err)
	own := newSelf(t, f, alain)
	self := controlv1.NewSelfClient(own.dial().conn)
	create := func(main, code string) (*controlv1.CreateResponse, error) {
		return self.Create(ctx, &controlv1.CreateOwnRequest{MainPassword: main, Code: code, Name: "Xbox", Profile: "console", Expires: timestamp(time.Now().Add(time.Hour))})
	}
	for what, try := range map[string][2]string{
		"a code that was used": {"correct horse", code}, "wrong": {"wrong", confirmed.RecoveryCodes[0]}, "an app password": {confirmed.Password, confirmed.RecoveryCodes[0]},
	} {
		if r, err := create(try[0], try[1]); status.Code(err) != codes.PermissionDenied || r != nil {
			t.Errorf("%s: %v, %v", what, r, err)
		}
	}
	r, err := create("correct horse", confirmed.RecoveryCodes[0])
	must(t, err)
	if p := r.AppPassword; p.Name != "Xbox" || p.Profile != "console" || p.Expires == nil || len(r.Password) != 28 {
		t.Errorf("%v", r)
	}
	f.events.mu.Lock()
	defer f.events.mu.Unlock()
	last := f.events.all[len(f.events.all)-1]
	if last.Kind != core.EventCreated || !strings.HasPrefix(last.Actor, "uid ") {
		t.Errorf("recorded as %+v", last)
	}
}
