// Package host is a directory of the accounts of this host: who getpwnam(3)
// knows, with the main password that the PAM service keywicket-main checks. It
// depends on the contract of directories and on package conversation.
package host
