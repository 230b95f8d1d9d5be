package storetest

import (
	"context"
	"errors"
	"fmt"

	"github.com/keywicket/keywicket/core/store"
)

func contextCases() []Case {
	return []Case{{"context/one that has ended is an error", checkEndedContext}}
}

func checkEndedContext(ctx context.Context, s store.Store) error {
	if _, err := apply(ctx, s, put("k", "before")); err != nil {
		return err
	}
	ended, end := context.WithCancel(ctx)
	end()
	return eachMethod(ended, s, func(method string, err error) error {
		if errors.Is(err, store.ErrUnavailable) || errors.Is(err, context.Canceled) {
			return nil
		}
		return fmt.Errorf("%s with a context that has ended: got error %w, want %w or the context's", method, err, store.ErrUnavailable)
	})
}
