// Keywicket-pam speaks with the PAM stack of this host. It is the only program
// of Keywicket that is linked with libpam, and needs cgo.
//
//	keywicket-pam converse   one conversation; package conversation runs it
//	keywicket-pam            the directory of this host's accounts, as a plugin
//
// Built without cgo it only says so.
package main
