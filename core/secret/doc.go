// Package secret is the text of an app password: how it is made, how it is
// read back from what somebody typed, and how it is kept out of logs.
//
// It knows nothing of accounts and keeps nothing. It depends on the standard
// library alone.
package secret
