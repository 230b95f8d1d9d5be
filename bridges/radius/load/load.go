package load

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/keywicket/keywicket/bridges/radius/datagram"
	"github.com/keywicket/keywicket/core/proof"
	"github.com/keywicket/keywicket/core/secret"
)

// An Account is one to sign in to.
type Account struct{ Name, Password string }

// A Config says what to ask of whom, and how much of it.
type Config struct {
	Server   netip.AddrPort
	Secret   []byte
	Method   proof.Method // cleartext or mschapv2
	Accounts []Account
	InOrder  bool    // one account after the other, instead of any
	Wrong    float64 // share of requests with a wrong password, 0 to 1

	InFlight int     // requests that wait for a reply at a time; or
	Rate     float64 // requests a second, whatever the server does

	Flood float64 // bad packets a second beside them: their Message-Authenticator is wrong

	From   []netip.Addr // addresses to ask from; empty: whatever the system takes
	Ports  int          // of each of them; 0: enough
	Single bool         // every datagram by itself, also where the kernel takes many in one piece

	WarmUp   time.Duration // before the measurement
	Duration time.Duration // of the measurement
	Repeat   time.Duration // after which the same octets are sent again
	Tries    int           // datagrams of a request; then it is lost

	// Begin and End are called when the measurement begins and ends.
	Begin, End func()
}

// ids is how many requests of one port can wait at a time (RFC 2865, section 3).
const ids = 256

// Check returns what is wrong with c.
func (c *Config) Check() error {
	switch {
	case len(c.Secret) == 0:
		return errors.New("the shared secret is empty")
	case len(c.Accounts) == 0:
		return errors.New("there is no account")
	case (c.InFlight > 0) == (c.Rate > 0):
		return errors.New("give either a number of requests in flight or a rate")
	case c.InFlight < 0 || c.Rate < 0 || c.Flood < 0 || c.Ports < 0 || c.Tries < 1 || c.Repeat <= 0 || c.Duration <= 0:
		return errors.New("a bound is negative or zero")
	case c.Wrong < 0 || c.Wrong > 1:
		return errors.New("the share of wrong passwords is not between 0 and 1")
	case c.Method != proof.MethodCleartext && c.Method != proof.MethodMSCHAPv2:
		return fmt.Errorf("%q is no method that load can be made of", c.Method)
	}
	for _, a := range c.Accounts {
		if len(a.Name) == 0 || len(a.Name) > 128 || len(a.Password) == 0 || len(a.Password) > 128 {
			return errors.New("a name or a password is empty, or has more than 128 octets")
		}
	}
	return nil
}

// A Result is what came of it, within the measurement alone.
type Result struct {
	Elapsed  time.Duration
	Accepted uint64 // right passwords that were accepted
	Rejected uint64 // wrong ones that were rejected
	Mistaken uint64 // the other way round
	Forged   uint64 // replies whose authenticators are wrong
	Unsigned uint64 // replies without Message-Authenticator (CVE-2024-3596)
	Repeats  uint64 // datagrams that were sent again
	Lost     uint64 // requests that were never answered
	Late     uint64 // genuine replies that nobody waited for any more: to a request that was answered already or given up
	Flooded  uint64 // bad packets
	Answered uint64 // of those; it should be none

	// Latencies are of requests that were answered, repeats included, until the
	// kernel had the reply. With a Rate they count from when a request was due,
	// whatever held it up: else a server that stands still would be asked less, and
	// look faster than it is.
	Latencies Latencies

	Answers Latencies // the same, but from when the request was first sent
	Behind  Latencies // by how much requests were sent after they were due, through no fault of the server

	// Offload says whether datagrams went to the kernel in one piece.
	Offload bool
}

// Replies is how many requests were answered as they should be.
func (r *Result) Replies() uint64 { return r.Accepted + r.Rejected }

// PerSecond is Replies by second.
func (r *Result) PerSecond() float64 { return float64(r.Replies()) / r.Elapsed.Seconds() }

// A plan is what all flows of a Run share.
type plan struct {
	*Config
	wrong     string       // a text of the right shape that no account has
	next      atomic.Int64 // account, in order
	measuring atomic.Bool
}

// Run puts load on the server until the time is over or ctx ends.
func Run(ctx context.Context, c Config) (Result, error) {
	if err := c.Check(); err != nil {
		return Result{}, err
	}
	text, err := secret.Generate(rand.Reader, secret.Standard)
	if err != nil {
		return Result{}, err
	}
	r := &plan{Config: &c, wrong: text.Canonical()}
	flows, floods, err := r.open()
	defer func() {
		for _, f := range flows {
			_ = f.conn.Close()
		}
		for _, f := range floods {
			_ = f.conn.Close()
		}
	}()
	if err != nil {
		return Result{}, err
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var running sync.WaitGroup
	for _, f := range flows {
		running.Go(func() { end(cancel, f.run(ctx)) })
	}
	for _, f := range floods {
		running.Go(func() { end(cancel, f.run(ctx)) })
	}
	elapsed := r.measure(ctx)
	result := Result{Elapsed: elapsed}
	cause := context.Cause(ctx)
	cancel(nil)
	running.Wait()
	for _, f := range flows {
		result.add(&f.result)
		_, result.Offload = f.conn.Offloads()
	}
	for _, f := range floods {
		result.Flooded += f.sent
		result.Answered += f.answered
	}
	return result, cause
}

// measure waits for the warm-up and then for the measurement.
func (r *plan) measure(ctx context.Context) time.Duration {
	wait(ctx, r.WarmUp)
	if r.Begin != nil {
		r.Begin()
	}
	start := time.Now()
	r.measuring.Store(true)
	wait(ctx, r.Duration)
	r.measuring.Store(false)
	elapsed := time.Since(start)
	if r.End != nil {
		r.End()
	}
	return elapsed
}

func wait(ctx context.Context, d time.Duration) {
	select {
	case <-time.After(d):
	case <-ctx.Done():
	}
}

func end(cancel context.CancelCauseFunc, err error) {
	if err != nil {
		cancel(err)
	}
}

// open opens the sockets.
func (r *plan) open() (flows []*flow, floods []*flood, err error) {
	from := r.From
	if len(from) == 0 {
		from = []netip.Addr{{}}
	}
	ports := r.Ports
	if ports == 0 {
		ports = max(1, 8/len(from))
	}
	ports = max(ports, (r.InFlight+len(from)*ids-1)/(len(from)*ids))
	if r.InFlight > 0 {
		ports = min(ports, max(1, r.InFlight/len(from)))
	}
	for _, source := range from {
		for range ports {
			conn, err := r.dial(source)
			if err != nil {
				return flows, floods, err
			}
			flows = append(flows, newFlow(r, conn))
		}
		if r.Flood > 0 {
			conn, err := r.dial(source)
			if err != nil {
				return flows, floods, err
			}
			floods = append(floods, &flood{plan: r, conn: conn, rate: r.Flood / float64(len(from))})
		}
	}
	for i, f := range flows {
		f.rate = r.Rate / float64(len(flows))
		f.phase = time.Duration(i) * tick / time.Duration(len(flows))
		f.inFlight = share(r.InFlight, i, len(flows))
	}
	return flows, floods, nil
}

// share is the part of n that i of all has.
func share(n, i, all int) int {
	part := n / all
	if i < n%all {
		part++
	}
	return part
}

func (r *plan) dial(source netip.Addr) (*datagram.Conn, error) {
	network, address := "udp4", netip.IPv4Unspecified()
	if r.Server.Addr().Is6() {
		network, address = "udp6", netip.IPv6Unspecified()
	}
	if source.IsValid() {
		address = source
	}
	all, err := datagram.Listen(network, netip.AddrPortFrom(address, 0).String(), 1)
	if err != nil {
		return nil, err
	}
	all[0].SetBuffers(4 << 20)
	if err := all[0].Timestamps(); err != nil {
		return nil, errors.Join(err, all[0].Close())
	}
	if r.Single {
		all[0].DisableOffload()
	}
	return all[0], nil
}

// account returns the next one to sign in to.
func (r *plan) account(random uint64) *Account {
	if r.InOrder {
		return &r.Accounts[(r.next.Add(1)-1)%int64(len(r.Accounts))]
	}
	return &r.Accounts[random%uint64(len(r.Accounts))]
}

func (r *Result) add(other *Result) {
	r.Accepted += other.Accepted
	r.Rejected += other.Rejected
	r.Mistaken += other.Mistaken
	r.Forged += other.Forged
	r.Unsigned += other.Unsigned
	r.Repeats += other.Repeats
	r.Lost += other.Lost
	r.Late += other.Late
	r.Latencies.add(&other.Latencies)
	r.Answers.add(&other.Answers)
	r.Behind.add(&other.Behind)
}

// randomSeed is for numbers that must differ and be no secret.
func randomSeed() (seed [32]byte) {
	rand.Read(seed[:])
	return seed
}

// putLength completes the header of a packet.
func putLength(raw []byte) { binary.BigEndian.PutUint16(raw[2:], uint16(len(raw))) }

// Addresses returns n addresses from first on.
func Addresses(first netip.Addr, n int) []netip.Addr {
	all := make([]netip.Addr, 0, n)
	for a := first; len(all) < n && a.IsValid(); a = a.Next() {
		all = append(all, a)
	}
	return slices.Clip(all)
}
