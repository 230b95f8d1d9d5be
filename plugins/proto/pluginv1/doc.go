// Package pluginv1 is the contract between Keywicket and its plugins, version
// 1: what the host asks of a program that it starts.
//
// The code is made from plugin.proto by contrib/generate.
package pluginv1
