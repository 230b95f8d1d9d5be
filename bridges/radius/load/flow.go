package load

import (
	"context"
	"encoding/binary"
	"errors"
	"math/rand/v2"
	"os"
	"time"

	"github.com/keywicket/keywicket/bridges/radius/datagram"
	"github.com/keywicket/keywicket/core/proof"
)

const (
	tick     = time.Millisecond      // how exact a rate is kept
	lookOver = 50 * time.Millisecond // how often repeats are looked for
)

// A flow is what comes from one port.
type flow struct {
	*plan
	conn   *datagram.Conn
	out    *datagram.Writer
	signer *signer
	random *rand.ChaCha8
	to     datagram.Path
	nas    string

	inFlight int     // at a time; or
	rate     float64 // a second
	phase    time.Duration
	begun    time.Time
	sent     int64     // requests, of the rate
	full     time.Time // when there was last no identifier left

	waiting [ids]waiting
	free    []byte // identifiers
	result  Result
}

// A waiting is a request without a reply yet.
type waiting struct {
	busy   bool
	wrong  bool // its password
	tries  int
	since  time.Time // when it was due
	first  time.Time // when it was sent first
	again  time.Time // when it is sent again
	before owed      // the one before it
	owed   []owed    // those before it that were sent again, the newest last
	octets int
	raw    [512]byte
}

// An owed is the authenticator of a request that nobody waits for any more, whose
// replies are late and not forged.
type owed [16]byte

// maxOwed is how many are known of an identifier.
const maxOwed = 16

func newFlow(r *plan, conn *datagram.Conn) *flow {
	f := &flow{plan: r, conn: conn, out: conn.NewWriter(), signer: newSigner(r.Secret), random: rand.NewChaCha8(randomSeed()),
		to: datagram.Path{Peer: r.Server}, nas: "bench"}
	for id := ids - 1; id >= 0; id-- {
		f.free = append(f.free, byte(id))
	}
	return f
}

// run sends and receives until ctx ends.
func (f *flow) run(ctx context.Context) error {
	stop := context.AfterFunc(ctx, func() { _ = f.conn.Close() })
	defer stop()
	in := f.conn.NewReader()
	f.begun = time.Now().Add(f.phase)
	var looked, deadline time.Time
	for ctx.Err() == nil {
		now := time.Now()
		f.sendDue(now)
		if now.Sub(looked) >= lookOver {
			f.lookOver(now)
			looked = now
		}
		if _, err := f.out.Flush(); err != nil && ctx.Err() == nil {
			return err
		}
		wait := lookOver
		if f.rate > 0 {
			wait = tick
		}
		if f.rate > 0 || !now.Before(deadline) {
			deadline = now.Add(wait)
			_ = f.conn.SetReadDeadline(deadline)
		}
		if err := in.Read(); err != nil {
			if errors.Is(err, os.ErrDeadlineExceeded) || ctx.Err() != nil {
				continue
			}
			return err
		}
		for data, _, ok := in.Next(); ok; data, _, ok = in.Next() {
			f.reply(data, in.Came())
		}
	}
	return nil
}

// sendDue sends what is due.
func (f *flow) sendDue(now time.Time) {
	if f.rate == 0 {
		for len(f.free) > ids-f.inFlight {
			f.send(now, now)
		}
		return
	}
	due := int64(now.Sub(f.begun).Seconds() * f.rate)
	for ; f.sent < due; f.sent++ {
		if len(f.free) == 0 { // it is the server's fault
			f.full = now
			return
		}
		at := f.begun.Add(time.Duration(float64(f.sent) / f.rate * 1e9))
		if f.measuring.Load() {
			f.result.Behind.Add(min(now.Sub(at), now.Sub(f.full)))
		}
		f.send(now, at)
	}
}

// send sends a new request, which was due at since.
func (f *flow) send(now, since time.Time) {
	id := f.free[len(f.free)-1]
	f.free = f.free[:len(f.free)-1]
	w := &f.waiting[id]
	account := f.account(f.random.Uint64())
	password := account.Password
	w.wrong = f.Wrong > 0 && float64(f.random.Uint64()>>11)/(1<<53) < f.Wrong
	if w.wrong {
		password = f.plan.wrong
	}
	w.busy, w.tries, w.since, w.first, w.again = true, 1, since, now, now.Add(f.Repeat)
	w.octets = len(f.request(w.raw[:0], id, account.Name, password))
	_, _ = f.out.Add(w.raw[:w.octets], &f.to) // what is lost is sent again
}

// request appends an Access-Request with a random authenticator.
func (f *flow) request(b []byte, id byte, name, password string) []byte {
	b = append(b, 1, id, 0, 0)
	b = binary.LittleEndian.AppendUint64(b, f.random.Uint64())
	b = binary.LittleEndian.AppendUint64(b, f.random.Uint64())
	b = append(b, 80, 18) // Message-Authenticator first (CVE-2024-3596)
	b = append(b, make([]byte, 16)...)
	b = appendText(b, 1, name)
	if f.Method == proof.MethodMSCHAPv2 {
		b = appendMSCHAPv2(b, f.random, name, password)
	} else {
		b = f.signer.appendPassword(b, password)
	}
	b = appendText(b, 32, f.nas)
	putLength(b)
	f.signer.sign(b, b[22:38])
	return b
}

// lookOver sends again what has waited for long, and gives up what has for too
// long.
func (f *flow) lookOver(now time.Time) {
	for id := range f.waiting {
		w := &f.waiting[id]
		if !w.busy || now.Before(w.again) {
			continue
		}
		if w.tries >= f.Tries {
			f.done(byte(id))
			f.count(&f.result.Lost)
			continue
		}
		w.tries++
		w.again = now.Add(f.Repeat)
		f.count(&f.result.Repeats)
		_, _ = f.out.Add(w.raw[:w.octets], &f.to)
	}
}

func (f *flow) count(n *uint64) {
	if f.measuring.Load() {
		*n++
	}
}

// done frees an identifier, and notes what more replies can come to.
func (f *flow) done(id byte) {
	w := &f.waiting[id]
	w.busy, w.before = false, owed(w.raw[4:20])
	if w.tries > 1 {
		if len(w.owed) >= maxOwed {
			w.owed = append(w.owed[:0], w.owed[1:]...)
		}
		w.owed = append(w.owed, w.before)
	}
	f.free = append(f.free, id)
}

// late says whether raw is a genuine reply to a request of before.
func (f *flow) late(w *waiting, raw []byte) bool {
	for _, before := range append(w.owed, w.before) {
		if genuine, _ := f.signer.genuine(raw, before[:]); genuine {
			return true
		}
	}
	return false
}

// reply checks a reply, which came at that time: not when it was looked at, which
// the load may be late with.
func (f *flow) reply(raw []byte, came time.Time) {
	if len(raw) < 20 {
		f.count(&f.result.Forged)
		return
	}
	w := &f.waiting[raw[1]]
	genuine, signed := f.signer.genuine(raw, w.raw[4:20])
	switch {
	case !genuine && !f.late(w, raw):
		f.count(&f.result.Forged)
		return
	case !genuine || !w.busy:
		f.count(&f.result.Late)
		return
	case !signed:
		f.count(&f.result.Unsigned)
	}
	f.done(raw[1])
	if !f.measuring.Load() {
		return
	}
	switch accepted := raw[0] == 2; {
	case accepted == w.wrong || raw[0] != 2 && raw[0] != 3:
		f.result.Mistaken++
	case accepted:
		f.result.Accepted++
	default:
		f.result.Rejected++
	}
	f.result.Latencies.Add(came.Sub(w.since))
	f.result.Answers.Add(came.Sub(w.first))
}
