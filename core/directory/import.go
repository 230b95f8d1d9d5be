package directory

import "context"

// An Import is an account as a file of accounts has it.
type Import struct {
	Name    string
	Groups  []string
	Enabled bool

	// PasswordHash is the hash of the main password in the PHC string format of
	// argon2id; empty: none. It is a secret: it is in no error.
	PasswordHash string
}

// An Importer is an Editor that makes many accounts with one write, and hands
// out what an import of them elsewhere needs. It is optional: without it there
// are no imports and no exports.
//
// directorytest.ImporterCases checks these sentences; change both together.
type Importer interface {
	// CheckImport returns every reason why a cannot be an account here, each an
	// ErrInvalid; none where it can. It does not ask whether there is one. No
	// reason repeats a group or a hash: in a file whose columns are mixed up,
	// either may be a secret.
	CheckImport(a Import) []error

	// Import makes all accounts, or none: ErrConflict if there is one already,
	// ErrInvalid for what CheckImport finds, for a name that stands there twice,
	// and for none or more than MaxImport of them. They are durable when it
	// returns. After any other error the outcome is all or none.
	Import(ctx context.Context, accounts []Import) error

	// Exported returns one account as it would be imported, or ErrNotFound.
	Exported(ctx context.Context, name string) (Import, error)

	// Export returns up to limit accounts with names greater than after, in the
	// order of their octets. Fewer than limit means that there are no more.
	Export(ctx context.Context, after string, limit int) ([]Import, error)
}

// MaxImport is the most accounts that Import is given at once.
const MaxImport = 64
