package ldapdirectory

import (
	"bytes"
	"context"
	"fmt"

	"github.com/go-ldap/ldap/v3"

	"github.com/keywicket/keywicket/core/directory"
)

// maxPassword is longer than any password and short enough to be sent.
const maxPassword = 1024

// VerifyPassword implements directory.Directory. A wrong password counts at the
// server, which may lock the account.
func (d *Directory) VerifyPassword(ctx context.Context, name string, password []byte) error {
	ctx, cancel := context.WithTimeout(ctx, d.cfg.Timeout)
	defer cancel()
	var entry *ldap.Entry
	enabled := false
	err := d.pool.search(ctx, func(conn *ldap.Conn) (err error) {
		if entry, err = d.find(conn, name); err == nil {
			enabled, err = d.enabled(entry)
		}
		return err
	})
	if err != nil {
		return fault("verify a password", err)
	}
	denied := func(why string) error { return fmt.Errorf("verify a password: %w: %s", directory.ErrDenied, why) }
	switch {
	case !enabled:
		return denied("the account is disabled")
	case len(password) == 0:
		return denied("it is empty") // which a server answers with success, bound as nobody (RFC 4513, section 5.1.2)
	case len(password) > maxPassword || bytes.IndexByte(password, 0) >= 0:
		return denied("it can be no password") // a hash may end at the first 0
	}
	err = d.pool.fresh(ctx, func(conn *ldap.Conn) error { return conn.Bind(entry.DN, string(password)) })
	switch {
	case err == nil:
		return nil
	case ldap.IsErrorAnyOf(err, ldap.LDAPResultInvalidCredentials, ldap.LDAPResultInappropriateAuthentication, ldap.LDAPResultConstraintViolation):
		return denied("the server does not take it") // it is wrong, there is none, or it was tried too often
	}
	return fault("verify a password", err)
}
