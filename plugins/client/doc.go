// Package client is for programs that let people in with app passwords: it
// launches an engine of the program's own, or dials the daemon of the host, and
// both are then asked alike. The contract is plugins/proto/controlv1.
//
//	engine, err := client.Dial("/run/keywicket/control.sock")
//	…
//	defer engine.Close()
//	switch err := engine.Verify(ctx, &controlv1.VerifyRequest{Account: user, Password: password, Service: "web/wiki"}); {
//	case err == nil: // let in
//	case errors.Is(err, client.ErrRefused): // "wrong name or password", and no more
//	default: // nobody decided: "try again later"
//	}
//
// It depends on that contract, on go-plugin and on gRPC; nothing else of
// Keywicket comes along.
package client
