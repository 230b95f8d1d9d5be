// Package sdk makes a plugin of a store, a directory, a notifier or a hook: write
// the type, and hand it to one of the Serve functions in main. The guide is
// plugins/README.md.
//
// It depends on the contracts of stores and directories, on the wire contract
// in plugins/proto, and on go-plugin; nothing else of Keywicket comes along.
package sdk
