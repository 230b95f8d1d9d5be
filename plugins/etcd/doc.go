// Keywicket-store-etcd is the plugin that keeps the records of several nodes in
// one etcd cluster. It hands the store of etcdstore to the sdk; README.md says
// how it is set up.
package main
