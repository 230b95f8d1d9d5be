// Package ldapdirectory is a directory of accounts over LDAP: OpenLDAP, 389
// Directory Server, Active Directory and their like.
//
// It owns the translation of the contract: which entry an account is, whether it
// is enabled (account.go), its groups (group.go), its main password by a bind
// (password.go), and a few connections to the servers (pool.go). Two-step
// verification is the engine's. It depends on core/directory and go-ldap.
package ldapdirectory
