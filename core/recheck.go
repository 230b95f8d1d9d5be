package core

import "context"

// mayHaveBeenMade says whether v refuses as wrong what another node may have made
// a moment ago: where nodes share the store, the news can be on their way to the
// cache.
func (e *Engine) mayHaveBeenMade(v *verdict) bool { return v.reason == ReasonWrong && e.opt.Node != "" }

type askingKey struct{}

// asking returns a context in which lookup takes no record from the cache, which
// stays as it is where the store does not answer.
func asking(ctx context.Context) context.Context { return context.WithValue(ctx, askingKey{}, true) }

func asks(ctx context.Context) bool { return ctx.Value(askingKey{}) != nil }
