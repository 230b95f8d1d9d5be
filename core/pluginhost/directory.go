package pluginhost

import (
	"context"
	"errors"
	"fmt"
	"unicode/utf8"

	"github.com/keywicket/keywicket/core/directory"
	"github.com/keywicket/keywicket/core/store"
	"github.com/keywicket/keywicket/plugins/proto/pluginv1"
	"github.com/keywicket/keywicket/plugins/sdk/wire"
)

// Bounds of an account, as the wire contract says them.
const (
	maxID         = 256
	maxName       = 1024
	maxGroups     = 4096
	maxGroup      = 256
	maxAttributes = 256
	maxAttribute  = 4096
)

// pluginDirectory is a directory.Directory that asks a plugin, whichever of its
// lives there is.
type pluginDirectory struct{ p *plugged }

// What a directory's plugin may be besides.
type (
	watchDirectory struct{ pluginDirectory }
	codeDirectory  struct{ pluginDirectory }
	fullDirectory  struct {
		watchDirectory
		code codeDirectory
	}
)

var (
	_ directory.Watcher      = watchDirectory{}
	_ directory.CodeVerifier = codeDirectory{}
	_ directory.Watcher      = fullDirectory{}
	_ directory.CodeVerifier = fullDirectory{}
)

// Directory returns the directory that a plugin is. It outlives the plugin's
// processes, as Store does. What the plugin may offer in a later life it offers
// from the start: a watch that is lost until there is one, and codes, which are
// directory.ErrUnavailable.
func (h *Host) Directory(name string) (directory.Directory, error) {
	p, err := h.pick(name, KindDirectory)
	if err != nil {
		return nil, err
	}
	d := pluginDirectory{p}
	return fullDirectory{watchDirectory{d}, codeDirectory{d}}, nil
}

// DirectoryNow returns the directory that the plugin is now, with what it
// offers now.
func (h *Host) DirectoryNow(name string) (directory.Directory, error) {
	p, err := h.pick(name, KindDirectory)
	if err != nil {
		return nil, err
	}
	d, i := pluginDirectory{p}, p.now()
	if i == nil {
		return nil, p.gone(errors.New("it does not run"))
	}
	watches, verifies := i.can(pluginv1.Capability_CAPABILITY_WATCH), i.can(pluginv1.Capability_CAPABILITY_VERIFY_CODE)
	switch {
	case watches && verifies:
		return fullDirectory{watchDirectory{d}, codeDirectory{d}}, nil
	case watches:
		return watchDirectory{d}, nil
	case verifies:
		return codeDirectory{d}, nil
	}
	return d, nil
}

// directoryError is the error of a call in the words of the contract.
func directoryError(err error) error {
	var gone errGone
	switch {
	case err == nil:
		return nil
	case errors.As(err, &gone):
		return directoryGone{gone}
	}
	return wire.DirectoryError(err)
}

// directoryGone is errGone as directories say it.
type directoryGone struct{ errGone }

func (directoryGone) Is(target error) bool {
	return target == directory.ErrUnavailable || target == store.ErrUnavailable
}

func (d pluginDirectory) Lookup(ctx context.Context, name string) (directory.Account, error) {
	if !askable(name) {
		return directory.Account{}, fmt.Errorf("%w: such a name is nobody's", directory.ErrNotFound)
	}
	var a directory.Account
	err := d.p.do(ctx, call{"Lookup", true, func(ctx context.Context, on *instance, sent *answered) error {
		r, err := pluginv1.NewDirectoryClient(on.conn).Lookup(ctx, &pluginv1.LookupRequest{Name: name}, sent.options()...)
		if err != nil {
			return err
		}
		if r.Name != name {
			return wrong("asked for %q, it answers for %q", name, r.Name)
		}
		a, err = accountOf(r.Account)
		return err
	}})
	if err != nil {
		return directory.Account{}, directoryError(err)
	}
	return a, nil
}

// askable says whether a plugin can be asked for name: the wire carries UTF-8
// alone.
func askable(name string) bool { return utf8.ValidString(name) && len(name) <= maxName }

// accountOf returns an account that a plugin sent, if it can be one.
func accountOf(a *pluginv1.Account) (directory.Account, error) {
	switch {
	case a == nil:
		return directory.Account{}, wrong("it answers without an account")
	case a.Id == "" || len(a.Id) > maxID:
		return directory.Account{}, wrong("an account has an id of %d octets", len(a.Id))
	case a.Name == "" || len(a.Name) > maxName:
		return directory.Account{}, wrong("an account has a name of %d octets", len(a.Name))
	case len(a.Groups) > maxGroups:
		return directory.Account{}, wrong("an account has %d groups", len(a.Groups))
	case len(a.Attributes) > maxAttributes:
		return directory.Account{}, wrong("an account has %d attributes", len(a.Attributes))
	}
	for _, g := range a.Groups {
		if g == "" || len(g) > maxGroup {
			return directory.Account{}, wrong("a group has a name of %d octets", len(g))
		}
	}
	for key, value := range a.Attributes {
		if key == "" || len(key) > maxGroup || len(value) > maxAttribute {
			return directory.Account{}, wrong("an attribute has a name of %d octets and a value of %d", len(key), len(value))
		}
	}
	steps := map[pluginv1.TwoStep]directory.TwoStep{
		pluginv1.TwoStep_TWO_STEP_NOT_MINE: directory.NotMine, pluginv1.TwoStep_TWO_STEP_OFF: directory.Off, pluginv1.TwoStep_TWO_STEP_ON: directory.On,
	}
	step, ok := steps[a.TwoStep]
	if !ok {
		return directory.Account{}, wrong("an account has two-step verification %d", a.TwoStep)
	}
	return directory.Account{ID: a.Id, Name: a.Name, Enabled: a.Enabled, Groups: a.Groups, Attributes: a.Attributes, TwoStep: step}, nil
}

func (d pluginDirectory) VerifyPassword(ctx context.Context, name string, password []byte) error {
	if !askable(name) {
		return fmt.Errorf("%w: such a name is nobody's", directory.ErrNotFound)
	}
	return d.verdict(ctx, "VerifyPassword", name, len(password) == 0, func(ctx context.Context, on *instance, a *answered) (checked, error) {
		// Not the caller's: what gRPC does with it ends later than the call.
		sent := append([]byte(nil), password...)
		return pluginv1.NewDirectoryClient(on.conn).VerifyPassword(ctx, &pluginv1.VerifyPasswordRequest{Name: name, Password: sent}, a.options()...)
	})
}

func (d codeDirectory) VerifyCode(ctx context.Context, name, code string) error {
	if !askable(name) {
		return fmt.Errorf("%w: such a name is nobody's", directory.ErrNotFound)
	}
	if !utf8.ValidString(code) {
		return fmt.Errorf("%w: no code looks like this", directory.ErrDenied)
	}
	return d.verdict(ctx, "VerifyCode", name, code == "", func(ctx context.Context, on *instance, a *answered) (checked, error) {
		if !on.can(pluginv1.Capability_CAPABILITY_VERIFY_CODE) {
			return nil, wrong("it keeps no two-step verification")
		}
		return pluginv1.NewDirectoryClient(on.conn).VerifyCode(ctx, &pluginv1.VerifyCodeRequest{Name: name, Code: code}, a.options()...)
	})
}

func (d fullDirectory) VerifyCode(ctx context.Context, name, code string) error {
	return d.code.VerifyCode(ctx, name, code)
}

// checked is the answer of who checked something.
type checked interface {
	GetName() string
	GetVerdict() pluginv1.Verdict
}

// verdict asks, once, whether something is right. empty says that it is nothing,
// which is never right.
func (d pluginDirectory) verdict(ctx context.Context, method, name string, empty bool, ask func(context.Context, *instance, *answered) (checked, error)) error {
	right := false
	err := d.p.do(ctx, call{method, false, func(ctx context.Context, on *instance, a *answered) error {
		r, err := ask(ctx, on, a)
		if err != nil {
			return err
		}
		switch v := r.GetVerdict(); {
		case r.GetName() != name:
			return wrong("asked for %q, it answers for %q", name, r.GetName())
		case v == pluginv1.Verdict_VERDICT_RIGHT && empty:
			return wrong("nothing at all is right, it says")
		case v == pluginv1.Verdict_VERDICT_RIGHT:
			right = true
		case v != pluginv1.Verdict_VERDICT_WRONG:
			return wrong("the verdict %d", v)
		}
		return nil
	}})
	if err != nil {
		return directoryError(err)
	}
	if !right {
		return fmt.Errorf("%w by plugin %s", directory.ErrDenied, d.p.name)
	}
	return nil
}

func (d watchDirectory) Watch(ctx context.Context) (<-chan directory.Change, error) {
	out, err := watch(ctx, d.p, watching[directory.Change]{
		open: func(ctx context.Context, on *instance) (func() (directory.Change, bool, error), error) {
			stream, err := pluginv1.NewDirectoryClient(on.conn).Watch(ctx, &pluginv1.WatchAccountsRequest{})
			if err != nil {
				return nil, err
			}
			return func() (directory.Change, bool, error) {
				r, err := stream.Recv()
				if err != nil {
					return directory.Change{}, false, err
				}
				c, err := changeOf(r)
				return c, r.Started, err
			}, nil
		},
		can:  func(on *instance) bool { return on.can(pluginv1.Capability_CAPABILITY_WATCH) },
		lost: directory.Change{Lost: true}, reset: directory.Change{Reset: true},
	}, false)
	return out, directoryError(err)
}

// changeOf returns what a plugin told, if it can be.
func changeOf(r *pluginv1.WatchAccountsResponse) (directory.Change, error) {
	things := 0
	for _, is := range []bool{r.Started, r.Reset_, r.Lost, r.Name != ""} {
		if is {
			things++
		}
	}
	if things != 1 || len(r.Name) > maxName {
		return directory.Change{}, wrong("a change that is %d things", things)
	}
	return directory.Change{Name: r.Name, Reset: r.Reset_, Lost: r.Lost}, nil
}
