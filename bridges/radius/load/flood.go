package load

import (
	"context"
	"errors"
	"math/rand/v2"
	"os"
	"time"

	"github.com/keywicket/keywicket/bridges/radius/datagram"
)

// A flood is bad packets from one port: requests that are as they should be, but
// that whoever made them does not know the shared secret.
type flood struct {
	*plan
	conn     *datagram.Conn
	rate     float64
	sent     uint64
	answered uint64
}

// run sends until ctx ends.
func (f *flood) run(ctx context.Context) error {
	stop := context.AfterFunc(ctx, func() { _ = f.conn.Close() })
	defer stop()
	forger := &flow{plan: f.plan, signer: newSigner([]byte("another secret than the right one")), random: rand.NewChaCha8(randomSeed()), nas: "flood"}
	in, out := f.conn.NewReader(), f.conn.NewWriter()
	to := &datagram.Path{Peer: f.Server}
	begun, done := time.Now(), int64(0)
	var raw [512]byte
	for ctx.Err() == nil {
		now := time.Now()
		for due := int64(now.Sub(begun).Seconds() * f.rate); done < due; done++ {
			account := f.account(forger.random.Uint64())
			_, _ = out.Add(forger.request(raw[:0], byte(done), account.Name, account.Password), to)
			if f.measuring.Load() {
				f.sent++
			}
		}
		_, _ = out.Flush()
		_ = f.conn.SetReadDeadline(now.Add(tick))
		switch err := in.Read(); {
		case err == nil:
			f.answered++
		case errors.Is(err, os.ErrDeadlineExceeded), ctx.Err() != nil:
		default:
			return err
		}
	}
	return nil
}
