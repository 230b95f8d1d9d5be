package record

import "sync"

// A Room is where a record is read: sealed, its plain text, and its parts, which are
// views of that.
type Room struct {
	Sealed, Plain []byte
	Reader        Reader
}

// Rooms are used again and again, each by one reader at a time. The zero Rooms is
// ready.
type Rooms struct{ left sync.Pool }

// Enter returns a room that nobody else uses, until Leave.
func (p *Rooms) Enter() *Room {
	if r, ok := p.left.Get().(*Room); ok {
		return r
	}
	return &Room{}
}

// Leave wipes r, so that it can be used again.
func (p *Rooms) Leave(r *Room) {
	clear(r.Plain)
	r.Reader.Clear()
	p.left.Put(r)
}
