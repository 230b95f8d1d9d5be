package main

import (
	"context"
	"errors"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// A partialError says how far something came before its cause.
type partialError struct {
	text  string
	cause error
}

func (e *partialError) Error() string { return e.text }
func (e *partialError) Unwrap() error { return e.cause }

// stream is ask for what may take long: the daemon may take its time as long as
// something comes. fn calls alive whenever something did, and gives its errors
// the cause that endedBy tells.
func (a *app) stream(ctx context.Context, fn func(ctx context.Context, d daemonClient, alive func()) error) error {
	return a.ask(ctx, func(ctx context.Context, d daemonClient) error {
		ctx, cancel := context.WithCancelCause(ctx)
		defer cancel(nil)
		timer := time.AfterFunc(askTimeout, func() {
			cancel(unavailableError{errors.New("the daemon has not answered for " + askTimeout.String())})
		})
		defer timer.Stop()
		return fn(ctx, d, func() { timer.Reset(askTimeout) })
	})
}

// endedBy returns why ctx ended, where err came of that, else err.
func endedBy(ctx context.Context, err error) error {
	var silent unavailableError
	if errors.As(context.Cause(ctx), &silent) {
		return silent
	}
	return err
}

// reasonOf says for a person what endedBy returns.
func reasonOf(ctx context.Context, err error) string {
	if err = endedBy(ctx, err); ctx.Err() != nil && status.Code(err) == codes.Canceled {
		return "interrupted"
	}
	return messageOf(err)
}
