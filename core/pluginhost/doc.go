// Package pluginhost starts, checks, supervises and restarts plugins, and gives
// out what they are: a store, a directory, a notifier or a hook that outlives
// the process behind it.
//
// A plugin is a program of somebody else. Its binary is pinned, its calls have
// deadlines, its answers are looked at, and its trouble is an inability: it is
// never a yes and never a no.
//
// The package depends on the contracts of stores and directories, on the wire
// contract in plugins/proto, and on go-plugin. It knows neither the engine nor
// the configuration.
package pluginhost
