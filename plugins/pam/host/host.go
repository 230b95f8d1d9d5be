package host

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os/user"
	"strconv"
	"strings"
	"time"

	"github.com/keywicket/keywicket/core/directory"
	"github.com/keywicket/keywicket/plugins/pam/conversation"
	"github.com/keywicket/keywicket/plugins/sdk"
)

const (
	// Service is the PAM service that is asked. It is one of our own, because
	// an app password must never be taken for a main password: pam_keywicket.so
	// does not belong into its file.
	Service = "keywicket-main"

	nobody   = 65534                   // stands for no user
	atOnce   = 8                       // conversations and lookups at the most
	patience = 1500 * time.Millisecond // how long a question waits for its turn
	deadline = 2 * time.Second
	maxName  = 256 // octets
)

// Options say what a Directory asks.
type Options struct {
	Program string // keywicket-pam
	Service string // empty: Service
	MinUID  int    // smaller ids are no accounts; 0: 1000
	Dir     string // of the PAM services' files; empty: the host's own

	// Lookup is getpwnam and the names of the groups; nil: this host's.
	Lookup func(name string) (u *user.User, groups []string, err error)
}

// A Directory knows the accounts of this host.
type Directory struct {
	opt   Options
	slots chan struct{}
}

// New returns the directory. It starts nothing.
func New(opt Options) *Directory {
	if opt.Service == "" {
		opt.Service = Service
	}
	if opt.MinUID == 0 {
		opt.MinUID = 1000
	}
	if opt.Lookup == nil {
		opt.Lookup = lookup
	}
	return &Directory{opt: opt, slots: make(chan struct{}, atOnce)}
}

// Configure takes the settings of the plugin: min_uid.
func (d *Directory) Configure(_ context.Context, s sdk.Settings) error {
	var settings struct {
		MinUID int `json:"min_uid"`
	}
	if err := s.Decode(&settings); err != nil {
		return err
	}
	if settings.MinUID < 0 {
		return fmt.Errorf("min_uid: %d is no user id", settings.MinUID)
	}
	if settings.MinUID > 0 {
		d.opt.MinUID = settings.MinUID
	}
	return nil
}

// lookup asks this host, which may ask others (nsswitch.conf(5)).
func lookup(name string) (*user.User, []string, error) {
	u, err := user.Lookup(name)
	if err != nil {
		return nil, nil, err
	}
	ids, err := u.GroupIds()
	if err != nil {
		return nil, nil, err
	}
	var groups []string
	for _, id := range ids {
		if g, err := user.LookupGroupId(id); err == nil { // one without a name is of no use
			groups = append(groups, g.Name)
		}
	}
	return u, groups, nil
}

// Lookup returns the user of this host. Whether he is enabled is what the
// account part of the PAM service says: an expired account is not.
func (d *Directory) Lookup(ctx context.Context, name string) (directory.Account, error) {
	a, err := d.known(ctx, name)
	if err != nil {
		return directory.Account{}, err
	}
	code, err := d.ask(ctx, name, nil, conversation.StepAccount)
	if err != nil {
		return directory.Account{}, err
	}
	a.Enabled, err = allowed(code)
	return a, err
}

// VerifyPassword says whether password is the user's, who is enabled.
func (d *Directory) VerifyPassword(ctx context.Context, name string, password []byte) error {
	if _, err := d.known(ctx, name); err != nil {
		return err
	}
	if len(password) == 0 || len(password) > conversation.MaxPassword || bytes.IndexByte(password, 0) >= 0 {
		return directory.ErrDenied // PAM would see another one, or none
	}
	code, err := d.ask(ctx, name, password, conversation.StepAuthenticate, conversation.StepAccount)
	if err != nil {
		return err
	}
	ok, err := allowed(code)
	if err == nil && !ok {
		return directory.ErrDenied
	}
	return err
}

// allowed says whether a code of PAM is a yes. What is neither a yes nor a no is
// an inability. Whoever has to choose a new password is let in: he can choose it
// where he signs in with it.
func allowed(code conversation.Code) (bool, error) {
	switch code {
	case conversation.Success, conversation.NewAuthtokReqd:
		return true, nil
	case conversation.AuthErr, conversation.PermDenied, conversation.UserUnknown, conversation.MaxTries, conversation.AcctExpired, conversation.CredExpired:
		return false, nil
	}
	return false, fmt.Errorf("%w: the PAM service answered %v", directory.ErrUnavailable, code)
}

// known returns the account of a user of this host who is a person.
func (d *Directory) known(ctx context.Context, name string) (directory.Account, error) {
	// What getpwnam could take for something else than a name.
	if name == "" || len(name) > maxName || strings.ContainsAny(name, "\x00:/\n") {
		return directory.Account{}, directory.ErrNotFound
	}
	type found struct {
		user   *user.User
		groups []string
		err    error
	}
	answer, err := bounded(ctx, d, func() found {
		u, groups, err := d.opt.Lookup(name)
		return found{u, groups, err}
	})
	if err != nil {
		return directory.Account{}, err
	}
	var unknown user.UnknownUserError
	switch {
	case errors.As(answer.err, &unknown):
		return directory.Account{}, directory.ErrNotFound
	case answer.err != nil:
		return directory.Account{}, fmt.Errorf("%w: %w", directory.ErrUnavailable, answer.err)
	}
	uid, err := strconv.ParseUint(answer.user.Uid, 10, 32)
	if err != nil || uid < uint64(d.opt.MinUID) || uid == 0 || uid == nobody || answer.user.Username != name {
		return directory.Account{}, directory.ErrNotFound // no person, or an alias of one
	}
	return directory.Account{ID: "uid " + answer.user.Uid, Name: name, Groups: answer.groups, TwoStep: directory.NotMine}, nil
}

// ask has a conversation with the PAM service.
func (d *Directory) ask(ctx context.Context, name string, password []byte, steps ...string) (conversation.Code, error) {
	ctx, cancel := context.WithTimeout(ctx, deadline)
	defer cancel()
	if !d.enter(ctx) {
		return 0, errBusy
	}
	defer d.leave()
	r, err := conversation.Run(ctx, d.opt.Program, conversation.Request{Service: d.opt.Service, User: name, Dir: d.opt.Dir, Steps: steps, Password: password})
	if err != nil {
		return 0, fmt.Errorf("%w: %w", directory.ErrUnavailable, err)
	}
	return r.Code, nil
}

var errBusy = fmt.Errorf("%w: too many questions at once", directory.ErrUnavailable)

// enter waits a moment for a slot, so that a few who come at once get their
// answers, and no longer, so that where everything hangs all are told soon.
func (d *Directory) enter(ctx context.Context) bool {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	select {
	case d.slots <- struct{}{}:
		return true
	case <-ctx.Done():
		return false
	}
}

func (d *Directory) leave() { <-d.slots }

// bounded returns what fn returns, unless ctx ends before. A name service that
// hangs keeps its slot until it comes back.
func bounded[T any](ctx context.Context, d *Directory, fn func() T) (answer T, err error) {
	if !d.enter(ctx) {
		return answer, errBusy
	}
	done := make(chan T, 1)
	go func() {
		defer d.leave()
		done <- fn()
	}()
	select {
	case answer = <-done:
		return answer, nil
	case <-ctx.Done():
		return answer, fmt.Errorf("%w: %w", directory.ErrUnavailable, ctx.Err())
	}
}
