package directory

import (
	"context"
	"errors"
)

// The errors of the contract. A directory wraps one of them with %w; anything
// else is taken for a fault of the directory and never for an answer.
var (
	// ErrNotFound: the directory is sure that there is no such account. A
	// directory that cannot tell says ErrUnavailable.
	ErrNotFound = errors.New("no such account")

	// ErrDenied: the password or code is wrong.
	ErrDenied = errors.New("denied")

	// ErrConflict: the account exists already, or was changed meanwhile.
	ErrConflict = errors.New("conflict")

	// ErrInvalid: the request is malformed and will never succeed.
	ErrInvalid = errors.New("invalid request")

	// ErrUnavailable: the directory is closed, out of reach or late.
	ErrUnavailable = errors.New("unavailable")
)

// TwoStep is what a directory knows of an account's two-step verification.
type TwoStep uint8

const (
	NotMine TwoStep = iota // kept elsewhere: the engine keeps it itself
	Off
	On
)

// An Account is what a directory says of one account.
type Account struct {
	// ID names the account for good: it stays when the account is renamed, and
	// an account made later under the same name has another. 1 to 256 octets.
	ID string

	// Name is the canonical name. The engine asks with names in PRECIS
	// UsernameCaseMapped form (RFC 8265, section 3.3).
	Name string

	Enabled    bool
	Groups     []string
	Attributes map[string]string
	TwoStep    TwoStep
}

// A Directory knows accounts.
//
// Methods may be called from many goroutines and return soon after ctx ends,
// then with the right answer or with an error that wraps ErrUnavailable or the
// context's own. Names come in PRECIS UsernameCaseMapped form and mean
// themselves: no character in them stands for another. What is returned is not
// shared, and a password is neither changed nor kept: the caller wipes it.
//
// directorytest.Cases checks these sentences; change both together.
type Directory interface {
	// Lookup returns the account called name, or ErrNotFound. A disabled
	// account is returned, with Enabled false.
	Lookup(ctx context.Context, name string) (Account, error)

	// VerifyPassword returns nil when password is the account's main password
	// and the account is enabled, ErrDenied when not, and ErrNotFound when
	// there is no such account. An empty password is always denied.
	VerifyPassword(ctx context.Context, name string, password []byte) error
}

// A CodeVerifier is a Directory that keeps two-step verification itself; its
// accounts say On or Off, never NotMine.
type CodeVerifier interface {
	// VerifyCode returns nil when code is a security code of the account that
	// was not used before, ErrDenied when not, and ErrNotFound when there is no
	// such account.
	VerifyCode(ctx context.Context, name, code string) error
}

// A Watcher is a Directory that tells when somebody changed. What others say
// is asked for again after a while.
type Watcher interface {
	// Watch sends every change that was answered after Watch returned. The
	// channel is closed when ctx ends or the directory closes, and not before.
	Watch(ctx context.Context) (<-chan Change, error)
}

// A Change names an account that changed, or says that changes were missed.
type Change struct {
	Name  string
	Reset bool // drop everything that the directory ever said
	Lost  bool // changes may be missed from now on, until a Reset
}

// A Recognizer is a Directory that can tell a main password without the try
// counting anywhere, as a lock-out or otherwise. The engine uses it to say
// why an attempt was refused, and never to grant one.
type Recognizer interface {
	// Recognize has the errors of VerifyPassword, but does not ask whether the
	// account is enabled.
	Recognize(ctx context.Context, name string, password []byte) error
}

// A Nearby is a Directory that has some accounts at hand, and can tell of those
// without waiting for anything.
type Nearby interface {
	// AtHand returns what Lookup would. Where it cannot say that at once ok is
	// false, which says nothing of the account.
	AtHand(name string) (a Account, ok bool)
}

// An Editor is a Directory whose accounts can be changed through it.
type Editor interface {
	// Add makes an enabled account, or says ErrConflict if there is one: then
	// that one stays as it is. The password may be nil: then every main
	// password is denied until one is set. A name, group or password that the
	// directory does not take is ErrInvalid; it takes no empty one.
	Add(ctx context.Context, name string, groups []string, password []byte) (Account, error)

	// SetEnabled, SetPassword and Remove change one account, or say
	// ErrNotFound. The change is durable when they return. SetPassword says
	// ErrInvalid as Add does, for nil too. Changes at the same time do not undo
	// each other.
	SetEnabled(ctx context.Context, name string, enabled bool) error
	SetPassword(ctx context.Context, name string, password []byte) error
	Remove(ctx context.Context, name string) error

	// List returns up to limit accounts with names greater than after, in the
	// order of their octets. Fewer than limit means that there are no more.
	List(ctx context.Context, after string, limit int) ([]Account, error)
}
