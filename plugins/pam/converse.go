//go:build cgo

package main

import (
	"errors"
	"fmt"
	"runtime"

	"github.com/msteinert/pam/v2"

	"github.com/keywicket/keywicket/plugins/pam/conversation"
)

const (
	maxAsked = 8  // how often a stack is given the password
	maxSaid  = 32 // messages that are kept
)

// converse has one conversation with the stack. This process is for it alone:
// modules may do to it what they like.
func converse(r conversation.Request) (conversation.Result, error) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	c := &talk{password: r.Password, result: conversation.Result{Step: conversation.StepStart}}
	start := func() (*pam.Transaction, error) { return pam.StartFunc(r.Service, r.User, c.respond) }
	if r.Dir != "" {
		start = func() (*pam.Transaction, error) {
			return pam.StartConfDir(r.Service, r.User, pam.ConversationFunc(c.respond), r.Dir)
		}
	}
	t, err := start()
	if err != nil {
		return c.ended(err)
	}
	defer func() { _ = t.End() }() // the process ends with it
	if r.RHost != "" {
		if err := t.SetItem(pam.Rhost, r.RHost); err != nil {
			return c.ended(err)
		}
	}
	for _, step := range r.Steps {
		c.result.Step = step
		switch step {
		case conversation.StepAuthenticate:
			err = t.Authenticate(0)
		case conversation.StepAccount:
			err = t.AcctMgmt(0)
		default:
			return c.result, fmt.Errorf("there is no step %q", step)
		}
		if err != nil {
			return c.ended(err)
		}
	}
	return c.result, nil
}

// A talk is the program's side of a conversation.
type talk struct {
	password []byte
	result   conversation.Result
}

var errNoAnswer = errors.New("there is no answer to this")

// respond gives the password where the stack asks for something hidden. What
// else it asks has no answer here.
func (c *talk) respond(style pam.Style, text string) (string, error) {
	c.say(text)
	switch style {
	case pam.PromptEchoOff:
		c.result.Asked++
		if c.result.Asked > maxAsked {
			return "", errNoAnswer
		}
		return string(c.password), nil
	case pam.ErrorMsg, pam.TextInfo:
		return "", nil
	}
	return "", errNoAnswer
}

func (c *talk) say(text string) {
	if text != "" && len(c.result.Said) < maxSaid {
		c.result.Said = append(c.result.Said, text)
	}
}

// ended returns the result of a step that failed.
func (c *talk) ended(err error) (conversation.Result, error) {
	var code pam.Error
	if !errors.As(err, &code) || code == 0 {
		return c.result, err
	}
	c.result.Code = conversation.Code(code)
	return c.result, nil
}
