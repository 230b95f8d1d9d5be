package storetest

import (
	"context"
	"encoding/gob"
	"errors"
	"fmt"
	"io"
	"sync"

	"github.com/keywicket/keywicket/core/store"
)

// A call is one request or reply between Dial and Serve. It is a test's way
// into another process, no wire contract: both ends are the same program.
type call struct {
	Number   uint64
	Method   string
	Key      string // prefix for Scan
	After    string
	Limit    int
	Batch    store.Batch
	Entries  []store.Entry // one for Get
	Revision store.Revision
	Kind     int // place in kinds, from 1; 0 is success
	Text     string
}

func kinds() []error {
	return []error{store.ErrNotFound, store.ErrConflict, store.ErrInvalid, store.ErrUnavailable, store.ErrDamaged, store.ErrFull}
}

// Serve answers from s what Dial asks, until r ends: in a child process, r is
// its standard input and w its standard output.
func Serve(s store.Store, r io.Reader, w io.Writer) error {
	var running sync.WaitGroup
	defer running.Wait()
	in, out, writing := gob.NewDecoder(r), gob.NewEncoder(w), sync.Mutex{}
	for {
		var c call
		if err := in.Decode(&c); err != nil {
			if errors.Is(err, io.EOF) {
				return nil
			}
			return fmt.Errorf("serve a store: %w", err)
		}
		running.Go(func() {
			reply := answer(context.Background(), s, c)
			writing.Lock()
			defer writing.Unlock()
			_ = out.Encode(reply) // who does not listen any more is dead
		})
	}
}

func answer(ctx context.Context, s store.Store, c call) call {
	reply := call{Number: c.Number}
	var err error
	switch c.Method {
	case "Get":
		var e store.Entry
		e, err = s.Get(ctx, c.Key)
		reply.Entries = []store.Entry{e}
	case "Scan":
		reply.Entries, err = s.Scan(ctx, c.Key, c.After, c.Limit)
	case "Apply":
		reply.Revision, err = s.Apply(ctx, c.Batch)
	default:
		err = store.ErrInvalid
	}
	if err == nil {
		return reply
	}
	reply.Kind, reply.Text = len(kinds())+1, err.Error()
	for i, kind := range kinds() {
		if errors.Is(err, kind) {
			reply.Kind = i + 1
		}
	}
	return reply
}

// Dial returns a store whose methods are answered by Serve at the other end of
// r and w. When r ends, all that is under way and to come is ErrUnavailable.
// Watch is not carried.
func Dial(r io.Reader, w io.Writer) store.Store {
	c := &client{out: gob.NewEncoder(w), waiting: make(map[uint64]chan call), gone: make(chan struct{})}
	go c.read(gob.NewDecoder(r))
	return c
}

type client struct {
	gone chan struct{} // closed when nothing more can be read

	mu      sync.Mutex
	out     *gob.Encoder
	number  uint64
	waiting map[uint64]chan call
}

func (c *client) read(in *gob.Decoder) {
	defer close(c.gone)
	for {
		var reply call
		if in.Decode(&reply) != nil {
			return
		}
		c.mu.Lock()
		answered := c.waiting[reply.Number]
		delete(c.waiting, reply.Number)
		c.mu.Unlock()
		if answered != nil {
			answered <- reply
		}
	}
}

func (c *client) do(ctx context.Context, ask call) (call, error) {
	answered := make(chan call, 1)
	c.mu.Lock()
	c.number++
	ask.Number = c.number
	c.waiting[ask.Number] = answered
	err := c.out.Encode(ask)
	c.mu.Unlock()
	if err != nil {
		return call{}, fmt.Errorf("%w: %w", store.ErrUnavailable, err)
	}
	var reply call
	select {
	case reply = <-answered:
	case <-c.gone:
		select {
		case reply = <-answered: // came with the last breath
		default:
			return call{}, fmt.Errorf("%w: the other process has ended", store.ErrUnavailable)
		}
	case <-ctx.Done():
		return call{}, fmt.Errorf("%w: %w", store.ErrUnavailable, ctx.Err())
	}
	switch n := reply.Kind; {
	case n == 0:
		return reply, nil
	case n <= len(kinds()):
		return call{}, fmt.Errorf("%w (in the other process: %s)", kinds()[n-1], reply.Text)
	}
	return call{}, errors.New(reply.Text)
}

func (c *client) Get(ctx context.Context, key string) (store.Entry, error) {
	reply, err := c.do(ctx, call{Method: "Get", Key: key})
	if err != nil || len(reply.Entries) != 1 {
		return store.Entry{}, err
	}
	return reply.Entries[0], nil
}

func (c *client) Scan(ctx context.Context, prefix, after string, limit int) ([]store.Entry, error) {
	reply, err := c.do(ctx, call{Method: "Scan", Key: prefix, After: after, Limit: limit})
	return reply.Entries, err
}

func (c *client) Apply(ctx context.Context, b store.Batch) (store.Revision, error) {
	reply, err := c.do(ctx, call{Method: "Apply", Batch: b})
	return reply.Revision, err
}

func (c *client) Watch(context.Context, string) (<-chan store.Event, error) {
	return nil, fmt.Errorf("%w: Watch is not carried to another process", store.ErrUnavailable)
}
