// Command csv is a directory plugin over a file of comma-separated values:
//
//	id,name,enabled,groups,mail,password
//	1,alain@contoso.com,yes,staff;vpn users,alain@contoso.com,$2y$10$…
//
// The first line names the columns, in any order; every other column is an
// attribute. An id is never given to another account. The password is a bcrypt
// hash, as "htpasswd -nbB NAME PASSWORD" writes it, or empty. The file is read
// again when it has changed.
//
// Its one setting is path.
package main
