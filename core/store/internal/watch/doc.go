// Package watch is the half of Store.Watch that every store of ours shares:
// who watches what, and what becomes of a watcher that is too slow.
//
// It depends on core/store alone. Package watch knows nothing of how changes
// come about: a store calls Publish in the order of its revisions.
package watch
