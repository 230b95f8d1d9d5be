// Package etcdtest runs clusters of the real etcd on loopback for tests, and
// kills, stops and wakes their members.
//
// It depends on the standard library and on Debian's etcd-server.
package etcdtest
