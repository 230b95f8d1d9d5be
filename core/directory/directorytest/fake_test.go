package directorytest

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/keywicket/keywicket/core/directory"
)

// A fake is a directory in memory, right in everything but its fault.
type fake struct {
	fault string

	mu       sync.Mutex
	next     int
	last     string
	accounts map[string]*entry
	wrong    map[string]int
	used     map[string]bool
	watchers []*watcher
}

type entry struct {
	directory.Account
	password string
}

type watcher struct {
	ctx    context.Context
	events chan directory.Change
}

func newFake(ctx context.Context, fault string) (*fake, error) {
	d := &fake{accounts: make(map[string]*entry), wrong: make(map[string]int), used: make(map[string]bool)}
	err := Fill(ctx, d, Standard())
	d.fault = fault
	return d, err
}

func (d *fake) is(fault string) bool { return d.fault == fault }

func (d *fake) find(name string) (*entry, error) {
	if e, ok := d.accounts[name]; ok {
		return e, nil
	}
	for n, e := range d.accounts {
		star, isPattern := strings.CutSuffix(name, "*")
		if d.is("names are patterns") && isPattern && strings.HasPrefix(n, star) ||
			d.is("names end at NUL") && strings.HasPrefix(name, n+"\x00") {
			return e, nil
		}
	}
	return nil, fmt.Errorf("%w: %q", directory.ErrNotFound, name)
}

func (d *fake) Lookup(ctx context.Context, name string) (directory.Account, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.is("callers get each other's answers") {
		d.last = name
		d.mu.Unlock()
		time.Sleep(20 * time.Millisecond)
		d.mu.Lock()
		name = d.last
	}
	e, err := d.find(name)
	switch {
	case ctx.Err() != nil && d.is("an ended context is not found"):
		return directory.Account{}, directory.ErrNotFound
	case ctx.Err() != nil && d.is("an ended context is a fault"):
		return directory.Account{}, errors.New("connection reset")
	case ctx.Err() != nil:
		return directory.Account{}, ctx.Err()
	case err != nil && d.is("absent is unavailable"):
		return directory.Account{}, directory.ErrUnavailable
	case err != nil && d.is("absent is found"):
		return directory.Account{ID: "1", Name: name}, nil
	case err != nil && d.is("an account beside the error"):
		return directory.Account{ID: "1", Enabled: true}, err
	case err != nil:
		return directory.Account{}, err
	case !e.Enabled && d.is("disabled is not found"):
		return directory.Account{}, directory.ErrNotFound
	}
	a := e.Account
	if !d.is("answers are shared") {
		a.Groups, a.Attributes = slices.Clone(a.Groups), maps.Clone(a.Attributes)
	}
	switch d.fault {
	case "disabled looks enabled":
		a.Enabled = true
	case "groups are lost":
		a.Groups = nil
	case "no id":
		a.ID = ""
	case "an id for each answer":
		d.next++
		a.ID = fmt.Sprint(d.next)
	case "one id for all":
		a.ID = "1"
	case "not mine and verifies":
		a.TwoStep = directory.NotMine
	case "another account":
		a.Name = Standard().Disabled.Name
	}
	return a, nil
}

// compare is the comparison of passwords.
func (d *fake) compare(want string, got []byte) bool {
	g := string(got)
	switch d.fault {
	case "passwords are cut":
		return want != "" && len(g) >= 8 && want[:8] == g[:8]
	case "passwords are folded":
		return want != "" && strings.EqualFold(want, g)
	case "passwords are trimmed":
		return want != "" && want == strings.TrimSpace(g)
	case "passwords end at NUL":
		g, _, _ = strings.Cut(g, "\x00")
		return want != "" && want == g
	case "an empty password is right":
		return g == "" || want == g
	case "no password takes any":
		return want == "" && g != "" || want != "" && want == g
	case "no password is right":
		return false
	case "passwords are wiped":
		clear(got)
	}
	return want != "" && want == g
}

func (d *fake) VerifyPassword(ctx context.Context, name string, password []byte) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	e, err := d.find(name)
	switch {
	case ctx.Err() != nil && d.is("an ended context is denied"):
		return directory.ErrDenied
	case ctx.Err() != nil:
		return ctx.Err()
	case err != nil && d.is("absent is denied"):
		return directory.ErrDenied
	case err != nil && d.is("absent is right"):
		return nil
	case err != nil && d.is("absent is everything"):
		return errors.Join(directory.ErrDenied, err)
	case err != nil:
		return err
	case len(password) > 1<<16 && d.is("a long password is a fault"):
		return errors.New("message too large")
	case d.is("tries lock") && d.wrong[name] > 4:
		return directory.ErrDenied
	case !d.compare(e.password, password) && d.is("wrong is unavailable"):
		return directory.ErrUnavailable
	case !d.compare(e.password, password), !e.Enabled && !d.is("disabled is right"):
		return directory.ErrDenied
	}
	return nil
}

func (d *fake) Recognize(_ context.Context, name string, password []byte) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	e, err := d.find(name)
	switch {
	case err != nil:
		return err
	case d.is("recognizes anything"):
		return nil
	case !d.compare(e.password, password):
		d.wrong[name]++
		return directory.ErrDenied
	case !e.Enabled && d.is("recognizes the enabled only"):
		return directory.ErrDenied
	}
	return nil
}

func (d *fake) VerifyCode(_ context.Context, name, code string) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if _, err := d.find(name); err != nil {
		return err
	}
	if code == "" && d.is("an empty code is right") {
		return nil
	}
	if !strings.HasPrefix(code, "right ") || d.used[code] {
		return directory.ErrDenied
	}
	d.used[code] = !d.is("codes can be used again")
	return nil
}

func (d *fake) tell(name string) {
	if d.is("changes are not told") {
		return
	}
	if d.is("changes name another") {
		name = "another"
	}
	for _, w := range d.watchers {
		select {
		case w.events <- directory.Change{Name: name}:
		case <-w.ctx.Done():
		}
	}
}

func (d *fake) Watch(ctx context.Context) (<-chan directory.Change, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	w := &watcher{ctx, make(chan directory.Change, 100)}
	if d.is("the watch closes at once") {
		close(w.events)
		return w.events, nil
	}
	d.watchers = append(d.watchers, w)
	if !d.is("the watch stays open") {
		context.AfterFunc(ctx, func() {
			d.mu.Lock()
			defer d.mu.Unlock()
			d.watchers = slices.DeleteFunc(d.watchers, func(o *watcher) bool { return o == w })
			close(w.events)
		})
	}
	return w.events, nil
}

func (d *fake) Add(_ context.Context, name string, groups []string, password []byte) (directory.Account, error) {
	d.mu.Lock()
	_, exists := d.accounts[name]
	if d.is("adds race") {
		d.mu.Unlock()
		time.Sleep(20 * time.Millisecond)
		d.mu.Lock()
	}
	defer d.mu.Unlock()
	if exists && d.is("an add that exists is fine") {
		return d.accounts[name].Account, nil
	}
	if exists && d.is("an add that exists overwrites") {
		d.accounts[name].password = string(password)
	}
	if exists {
		return directory.Account{}, directory.ErrConflict
	}
	empty := password != nil && len(password) == 0 || name == "" || slices.Contains(groups, "")
	if empty && !d.is("empty is valid") {
		if d.is("invalid leaves something") {
			d.accounts[name] = &entry{Account: directory.Account{ID: "7", Name: name}}
		}
		return directory.Account{}, directory.ErrInvalid
	}
	d.next++
	e := &entry{directory.Account{ID: fmt.Sprint(d.next), Name: name, Enabled: !d.is("an add is disabled"), Groups: slices.Clone(groups), Attributes: map[string]string{}, TwoStep: directory.Off}, string(password)}
	if d.is("ids come back") {
		e.ID = name
	}
	d.accounts[name] = e
	d.tell(name)
	return e.Account, nil
}

// change edits a copy without the lock if changes shall race.
func (d *fake) change(name string, edit func(*entry)) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	e, err := d.find(name)
	if err != nil && d.is("a change of nobody is fine") {
		return nil
	}
	if err != nil {
		return err
	}
	clone := *e
	if d.is("changes undo each other") {
		d.mu.Unlock()
		time.Sleep(20 * time.Millisecond)
		d.mu.Lock()
	}
	edit(&clone)
	d.accounts[name] = &clone
	d.tell(name)
	return nil
}

func (d *fake) SetEnabled(_ context.Context, name string, enabled bool) error {
	return d.change(name, func(e *entry) { e.Enabled = enabled && !d.is("disabled for good") })
}

func (d *fake) SetPassword(_ context.Context, name string, password []byte) error {
	if len(password) == 0 && !d.is("an empty password can be set") {
		return directory.ErrInvalid
	}
	return d.change(name, func(e *entry) {
		if !d.is("the password stays") && (e.password != "" || !d.is("a first password is lost")) {
			e.password = string(password)
		}
		if d.is("a password makes another account") {
			e.ID += "x"
		}
	})
}

func (d *fake) Remove(_ context.Context, name string) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if _, err := d.find(name); err != nil {
		return err
	}
	if !d.is("nothing is removed") {
		delete(d.accounts, name)
	}
	d.tell(name)
	return nil
}

func (d *fake) List(_ context.Context, after string, limit int) ([]directory.Account, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	var all []directory.Account
	for _, name := range slices.Sorted(maps.Keys(d.accounts)) {
		if name > after || name == after && d.is("pages overlap") {
			all = append(all, d.accounts[name].Account)
		}
	}
	switch {
	case d.is("lists are not in order"):
		slices.Reverse(all)
	case d.is("lists are too long"):
		return all, nil
	case d.is("a list ends early"):
		limit = min(limit, 2)
	}
	return all[:min(limit, len(all))], nil
}

func (d *fake) AtHand(name string) (directory.Account, bool) {
	a, err := d.Lookup(context.Background(), name)
	a.Enabled = a.Enabled && !d.is("an old answer is at hand")
	return a, err == nil || d.is("the absent are at hand")
}
