// Package ldaptest runs a real OpenLDAP server on loopback for tests, with the
// entries that they want.
//
// It depends on etcdtest for certificates, and on Debian's slapd.
package ldaptest
