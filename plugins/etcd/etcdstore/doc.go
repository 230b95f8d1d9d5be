// Package etcdstore is a store shared by several nodes: an etcd cluster, of
// version 3.4 or newer.
//
// It owns the keys below one prefix, the choice of the member that is asked
// (link.go), and the translation of the contract: a batch is one transaction
// (store.go), a demand a comparison of ModRevision, a revision etcd's own, and
// a watch one that says Reset where it cannot be sure (watch.go). It uses no
// leases and makes no compaction. It depends on core/store and the etcd client.
package etcdstore
