package main_test

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"layeh.com/radius"

	"github.com/keywicket/keywicket/plugins/proto/controlv1"
)

// atOnce runs do n times in parallel, all starting together, and counts the
// codes that came back.
func atOnce(n int, do func(i int) error) map[codes.Code]int {
	var all sync.WaitGroup
	var mu sync.Mutex
	counts := map[codes.Code]int{}
	begin := make(chan struct{})
	for i := range n {
		all.Go(func() {
			<-begin
			code := status.Code(do(i))
			mu.Lock()
			defer mu.Unlock()
			counts[code]++
		})
	}
	close(begin)
	all.Wait()
	return counts
}

// A hundred creations at 39 make exactly one (rule A3, S12).
func TestCreateAtLimit(t *testing.T) {
	s := startSite(t)
	s.enroll(alain)
	s.fill(alain, 38)
	d := s.dial()
	got := atOnce(100, func(i int) error {
		_, err := d.Create(t.Context(), createRequest(alain, fmt.Sprint("parallel ", i)))
		return err
	})
	if got[codes.OK] != 1 || got[codes.AlreadyExists] != 99 {
		t.Errorf("100 creations at 39: %v", got)
	}
	s.restart()
	list, err := s.dial().List(t.Context(), &controlv1.ListRequest{Account: alain})
	must(t, err)
	if n := len(list.AppPasswords); n != 40 {
		t.Errorf("%d app passwords after a restart", n)
	}
}

// Names are taken once (rule A2), also at the same time.
func TestCreateOfOneName(t *testing.T) {
	s := startSite(t)
	s.enroll(alain)
	d := s.dial()
	got := atOnce(50, func(int) error {
		_, err := d.Create(t.Context(), createRequest(alain, "Printer"))
		return err
	})
	if got[codes.OK] != 1 || got[codes.AlreadyExists] != 49 {
		t.Errorf("50 creations of one name: %v", got)
	}
}

// A deletion that was answered ends every sign-in that begins after it, while
// others sign in all the time (rule A8).
func TestDeleteWhileSigningIn(t *testing.T) {
	s := startSite(t)
	o := s.enroll(alain)
	d := s.dial()
	for round := range 5 {
		made := s.create(alain, fmt.Sprint("device ", round))
		u := &usage{s: s, password: made.Password, secret: s.secret("vpn1")}
		var devices sync.WaitGroup
		for range 4 {
			devices.Go(func() { u.signIn() })
		}
		until(t, "the device is in use", func() bool { return u.accepted.Load() > 10 || t.Failed() })
		_, err := d.Delete(t.Context(), &controlv1.AppPasswordRequest{Account: alain, AppPassword: made.ID})
		u.gone.Store(true)
		devices.Wait()
		must(t, err)
	}
	s.expect(accept, alain, o.first.Password)
}

// A usage is of one app password that is being deleted.
type usage struct {
	s                *site
	password, secret string
	gone             atomic.Bool // the deletion was answered
	accepted         atomic.Int64
}

// signIn signs in until it was refused a few times after the deletion: so few
// that the throttle of failures, which is silence, does not begin.
func (u *usage) signIn() {
	for refused := 0; refused < 5; {
		gone := u.gone.Load()
		code, err := u.s.exchange(context.Background(), "127.0.0.1", u.secret, alain, u.password)
		switch {
		case err != nil:
			u.s.t.Errorf("sign-in: %v", err)
			return
		case code == radius.CodeAccessAccept && gone:
			u.s.t.Error("let in after the deletion was answered")
			return
		case code == radius.CodeAccessAccept:
			u.accepted.Add(1)
		default: // a moment before the answer is allowed
			refused++
		}
	}
}

// A code turns two-step verification on once, and is used up by one check.
func TestCodeOnce(t *testing.T) {
	s := startSite(t)
	s.ok("", "user", "add", alain)
	o := owner{name: alain}
	var enrolled struct{ Otpauth string }
	s.decode(&enrolled, "", "two-step", "enroll", alain)
	o.uri = enrolled.Otpauth
	d, now, next := s.dial(), o.code(t, 0), o.code(t, 1)
	got := atOnce(40, func(int) error {
		_, err := d.accounts.ConfirmTwoStep(t.Context(), &controlv1.ConfirmTwoStepRequest{Account: alain, Code: now})
		return err
	})
	if got[codes.OK] != 1 {
		t.Errorf("40 confirmations: %v", got)
	}
	if out := s.ok("", "app-password", "list", alain); strings.Count(out, "\n") != 2 {
		t.Errorf("the first app password was not made once:\n%s", out)
	}
	got = atOnce(40, func(int) error {
		_, err := d.accounts.CheckCode(t.Context(), &controlv1.CheckCodeRequest{Account: alain, Code: next})
		return err
	})
	if got[codes.OK] != 1 || got[codes.PermissionDenied]+got[codes.ResourceExhausted] != 39 {
		t.Errorf("40 checks of one code: %v", got)
	}
}

// A recovery code is used up by one check too.
func TestRecoveryCodeOnce(t *testing.T) {
	s := startSite(t)
	o := s.enroll(alain)
	d := s.dial()
	got := atOnce(40, func(int) error {
		_, err := d.accounts.CheckCode(t.Context(), &controlv1.CheckCodeRequest{Account: alain, Code: o.recovery[3]})
		return err
	})
	if got[codes.OK] != 1 {
		t.Errorf("40 checks of one recovery code: %v", got)
	}
}
