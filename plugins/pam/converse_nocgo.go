//go:build !cgo

package main

import (
	"errors"

	"github.com/keywicket/keywicket/plugins/pam/conversation"
)

// converse cannot be without libpam.
func converse(conversation.Request) (conversation.Result, error) {
	return conversation.Result{}, errors.New("keywicket-pam was built without cgo, and so without PAM; build it with CGO_ENABLED=1, a C compiler and libpam0g-dev")
}
