package ldapdirectory

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/go-ldap/ldap/v3"
	"golang.org/x/text/secure/precis"

	"github.com/keywicket/keywicket/core/directory"
)

var _ directory.Directory = (*Directory)(nil)

const (
	maxName = 256 // octets of a name that can be one
	maxID   = 256 // octets of an ID
)

// A Directory asks LDAP servers. Use Open.
type Directory struct {
	cfg  Config
	pool *pool
}

// Open returns a directory over what cfg names. It connects when it is asked.
// The error is about cfg.
func Open(cfg Config) (*Directory, error) {
	cfg = cfg.withDefaults()
	if err := cfg.check(); err != nil {
		return nil, err
	}
	return &Directory{cfg: cfg, pool: newPool(cfg)}, nil
}

// Close closes the connections. A nil Directory is closed.
func (d *Directory) Close() error {
	if d != nil {
		d.pool.close()
	}
	return nil
}

// Health says why no server answered when one was asked last; nil: one did, or
// none was asked yet. Where nobody asks, this has one asked every 5 s.
func (d *Directory) Health(context.Context) error { return d.pool.health() }

// Lookup implements directory.Directory.
func (d *Directory) Lookup(ctx context.Context, name string) (directory.Account, error) {
	ctx, cancel := context.WithTimeout(ctx, d.cfg.Timeout)
	defer cancel()
	var account directory.Account
	err := d.pool.search(ctx, func(conn *ldap.Conn) error {
		entry, err := d.find(conn, name)
		if err != nil {
			return err
		}
		account, err = d.account(name, entry)
		if err == nil {
			account.Groups, err = d.groups(conn, entry.DN)
		}
		return err
	})
	if err != nil {
		return directory.Account{}, fault("look up", err)
	}
	return account, nil
}

// find returns the one entry whose name is name.
func (d *Directory) find(conn *ldap.Conn, name string) (*ldap.Entry, error) {
	if !possible(name) {
		return nil, notFound(name)
	}
	attributes := append([]string{d.cfg.NameAttribute, d.cfg.IDAttribute, "userAccountControl", "accountExpires"}, d.cfg.Attributes...)
	for _, a := range []string{d.cfg.DisabledAttribute, d.cfg.EnabledAttribute} {
		if a != "" {
			attributes = append(attributes, a)
		}
	}
	result, err := conn.Search(&ldap.SearchRequest{
		BaseDN: d.cfg.BaseDN, Scope: ldap.ScopeWholeSubtree, DerefAliases: ldap.NeverDerefAliases,
		SizeLimit: 2, EnforceSizeLimit: true, TimeLimit: seconds(d.cfg.Timeout),
		Filter: "(&" + d.cfg.UserFilter + "(" + d.cfg.NameAttribute + "=" + ldap.EscapeFilter(name) + "))", Attributes: attributes,
	})
	if ldap.IsErrorWithCode(err, ldap.LDAPResultSizeLimitExceeded) || err == nil && len(result.Entries) > 1 {
		return nil, fmt.Errorf("more than one entry has %s %q: make user_filter or base_dn narrower", d.cfg.NameAttribute, name)
	}
	if err != nil {
		return nil, err
	}
	// The server compares by the rules of the attribute, which may take more
	// than one name for this entry's, such as one with more spaces.
	if len(result.Entries) == 0 || !slices.ContainsFunc(values(result.Entries[0], d.cfg.NameAttribute), func(v string) bool { return canonical(v) == name }) {
		return nil, notFound(name)
	}
	return result.Entries[0], nil
}

// possible says whether name can be one at all.
func possible(name string) bool {
	return name != "" && len(name) <= maxName && utf8.ValidString(name) && !strings.ContainsFunc(name, unicode.IsControl)
}

// canonical is the form in which the engine asks (RFC 8265, section 3.3); a name
// that has none is itself.
func canonical(name string) string {
	if c, err := precis.UsernameCaseMapped.String(name); err == nil {
		return c
	}
	return name
}

// values returns all values of an attribute, whose name is compared as LDAP does.
func values(e *ldap.Entry, attribute string) []string {
	return e.GetEqualFoldAttributeValues(attribute)
}

func seconds(d time.Duration) int { return max(1, int(d/time.Second)) }

func notFound(name string) error {
	return fmt.Errorf("%w: no entry is %q", directory.ErrNotFound, name)
}

// account says what entry is, but for its groups.
func (d *Directory) account(name string, entry *ldap.Entry) (directory.Account, error) {
	id, err := d.id(entry)
	if err != nil {
		return directory.Account{}, err
	}
	enabled, err := d.enabled(entry)
	if err != nil {
		return directory.Account{}, err
	}
	a := directory.Account{ID: id, Name: name, Enabled: enabled, TwoStep: directory.NotMine}
	for _, attribute := range d.cfg.Attributes {
		if v := values(entry, attribute); len(v) > 0 && utf8.ValidString(v[0]) {
			if a.Attributes == nil {
				a.Attributes = make(map[string]string)
			}
			a.Attributes[attribute] = v[0]
		}
	}
	return a, nil
}

// id returns the value of the attribute that names the entry for good: as text
// where it is one, else in hexadecimal digits, as with objectGUID.
func (d *Directory) id(entry *ldap.Entry) (string, error) {
	v := values(entry, d.cfg.IDAttribute)
	if len(v) != 1 || v[0] == "" {
		return "", fmt.Errorf("%q has %d values of %s: id_attribute has to name one that each entry has, and that bind_dn may read", entry.DN, len(v), d.cfg.IDAttribute)
	}
	id := v[0]
	if strings.EqualFold(d.cfg.IDAttribute, "objectGUID") || !utf8.ValidString(id) || strings.ContainsFunc(id, unicode.IsControl) {
		id = hex.EncodeToString([]byte(id))
	}
	if len(id) > maxID {
		return "", fmt.Errorf("%q has a %s of %d octets", entry.DN, d.cfg.IDAttribute, len(id))
	}
	return id, nil
}

// enabled says whether the entry may sign in. What cannot be told is an error.
func (d *Directory) enabled(entry *ldap.Entry) (bool, error) {
	if d.cfg.ActiveDirectory {
		on, err := d.enabledInAD(entry)
		if err != nil || !on {
			return false, err
		}
	}
	if attribute := d.cfg.DisabledAttribute; attribute != "" {
		have := values(entry, attribute)
		if len(have) > 0 && (len(d.cfg.DisabledValues) == 0 || overlap(have, d.cfg.DisabledValues)) {
			return false, nil
		}
	}
	if attribute := d.cfg.EnabledAttribute; attribute != "" && !overlap(values(entry, attribute), d.cfg.EnabledValues) {
		return false, nil
	}
	return true, nil
}

func overlap(have, want []string) bool {
	return slices.ContainsFunc(have, func(h string) bool {
		return slices.ContainsFunc(want, func(w string) bool { return strings.EqualFold(h, w) })
	})
}

const (
	accountDisable = 0x2 // of userAccountControl ([MS-ADTS] 2.2.16)

	// accountExpires counts steps of 100 ns since 1601; 0 and the largest number
	// are never.
	fileTimeEpoch = -11644473600 // 1601 in Unix seconds
	never         = 1<<63 - 1
)

func (d *Directory) enabledInAD(entry *ldap.Entry) (bool, error) {
	control := values(entry, "userAccountControl")
	if len(control) != 1 {
		return false, fmt.Errorf("%q has no userAccountControl that bind_dn may read", entry.DN)
	}
	flags, err := strconv.ParseInt(control[0], 10, 64)
	if err != nil {
		return false, fmt.Errorf("%q has userAccountControl %q", entry.DN, control[0])
	}
	if flags&accountDisable != 0 {
		return false, nil
	}
	expires := values(entry, "accountExpires")
	if len(expires) == 0 {
		return true, nil
	}
	steps, err := strconv.ParseInt(expires[0], 10, 64)
	if err != nil || steps < 0 {
		return false, fmt.Errorf("%q has accountExpires %q", entry.DN, expires[0])
	}
	if steps == 0 || steps == never {
		return true, nil
	}
	return d.cfg.Now().Before(time.Unix(fileTimeEpoch+steps/1e7, steps%1e7*100)), nil
}

// fault gives an error its word of the contract. An answer of LDAP that is not
// known to be a verdict is an inability.
func fault(doing string, err error) error {
	for _, word := range []error{directory.ErrNotFound, directory.ErrDenied, directory.ErrUnavailable} {
		if errors.Is(err, word) {
			return fmt.Errorf("%s: %w", doing, err)
		}
	}
	return fmt.Errorf("%s: %w: LDAP: %w", doing, directory.ErrUnavailable, err)
}
