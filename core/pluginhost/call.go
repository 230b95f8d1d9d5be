package pluginhost

import (
	"context"
	"errors"
	"fmt"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/keywicket/keywicket/core/store"
	"github.com/keywicket/keywicket/plugins/sdk/wire"
)

// answered tells whether a call was answered by the plugin, or its error was
// made on our side of the connection.
type answered struct{ header, trailer metadata.MD }

func (a *answered) options() []grpc.CallOption {
	return []grpc.CallOption{grpc.Header(&a.header), grpc.Trailer(&a.trailer)}
}

func (a *answered) byPlugin() bool { return len(a.header) > 0 || len(a.trailer) > 0 }

// of a stream that has ended.
func (a *answered) of(s grpc.ClientStream) {
	a.header, _ = s.Header() // which does not wait any more
	a.trailer = s.Trailer()
}

// A call is one question to a plugin.
type call struct {
	method string
	again  bool // a read: it may be asked once more after a crash
	ask    func(ctx context.Context, on *instance, a *answered) error
}

// errGone is an inability of the plugin and not of what is behind it. It wraps
// store.ErrUnavailable; directories say their own word for it.
type errGone struct{ text string }

func (e errGone) Error() string        { return e.text }
func (e errGone) Is(target error) bool { return target == store.ErrUnavailable }

// A wrongAnswer is one that breaks the contract. It is no answer.
type wrongAnswer struct{ text string }

func (e wrongAnswer) Error() string { return e.text }

func wrong(format string, args ...any) error { return wrongAnswer{fmt.Sprintf(format, args...)} }

// do asks the plugin. The error is a gRPC status that the plugin sent, or wraps
// store.ErrUnavailable. It is back when the deadline is over, whatever happens.
func (p *plugged) do(ctx context.Context, c call) error {
	if err := ctx.Err(); err != nil {
		return p.gone(err)
	}
	within, cancel := context.WithTimeout(ctx, wire.Deadline)
	defer cancel()
	select {
	case p.slots <- struct{}{}:
		defer func() { <-p.slots }()
	case <-within.Done():
		return p.gone(fmt.Errorf("%d calls are under way", cap(p.slots)))
	}
	for try := 0; ; try++ {
		on, err := p.acquire(within)
		if err != nil {
			return p.gone(err)
		}
		start := time.Now()
		crashed, err := p.try(within, on, c)
		on.calls.Done()
		p.count(c.method, time.Since(start), err)
		if !crashed || !c.again || try > 0 || ctx.Err() != nil {
			return err
		}
		select { // the next life answers
		case <-on.retired:
		case <-within.Done():
			return err
		}
	}
}

// try asks one instance. crashed says that there was no answer for want of a
// connection.
func (p *plugged) try(ctx context.Context, on *instance, c call) (crashed bool, err error) {
	if !on.breaker.allow(time.Now()) {
		return false, p.gone(errBroken)
	}
	var a answered
	err = c.ask(ctx, on, &a)
	var odd wrongAnswer
	switch {
	case err == nil:
		on.breaker.answered()
		return false, nil
	case errors.As(err, &odd):
		on.breaker.answered()
		p.fault(c.method, odd)
		return false, p.gone(odd)
	case a.byPlugin():
		on.breaker.answered()
		if !known(status.Code(err)) { // also where it is too large for us
			p.fault(c.method, wire.StoreError(err))
			return false, p.gone(wire.StoreError(err))
		}
		return false, err
	}
	if ctx.Err() == nil || errors.Is(ctx.Err(), context.DeadlineExceeded) {
		on.breaker.failed(time.Now())
	}
	return status.Code(err) == codes.Unavailable, p.gone(wire.StoreError(err))
}

// known says whether a code is a word of the contract.
func known(c codes.Code) bool {
	switch c {
	case codes.NotFound, codes.Aborted, codes.InvalidArgument, codes.Unavailable, codes.FailedPrecondition, codes.DataLoss,
		codes.Canceled, codes.DeadlineExceeded:
		return true
	}
	return false
}

// gone says that the plugin gave no answer.
func (p *plugged) gone(why error) error {
	return errGone{fmt.Sprintf("unavailable: plugin %s: %s", p.name, wire.Text(why.Error()))}
}

// fault notes an answer that breaks the contract, for the administrator.
func (p *plugged) fault(method string, err error) {
	p.mu.Lock()
	p.lastError, p.lastAt = method+": "+err.Error(), time.Now()
	p.faults++
	p.mu.Unlock()
	if held, ok := p.faultLog.pass("", time.Now()); ok {
		p.log.Error("the plugin gave an answer that is none", "method", method, "err", err, "held_back", held)
	}
}

// count keeps how many calls there were, and how long they took.
func (p *plugged) count(method string, took time.Duration, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	s := p.stats[method]
	if s == nil {
		s = &CallStats{}
		p.stats[method] = s
	}
	s.Calls++
	s.Total += took
	s.Longest = max(s.Longest, took)
	if err != nil && !isAnswer(err) {
		s.Failed++
	}
}

// isAnswer says whether an error is one of the contract's answers.
func isAnswer(err error) bool {
	switch status.Code(err) {
	case codes.NotFound, codes.Aborted, codes.InvalidArgument, codes.FailedPrecondition:
		return true
	}
	return false
}
