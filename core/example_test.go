package core_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/keywicket/keywicket/core"
	"github.com/keywicket/keywicket/core/directory/local"
	"github.com/keywicket/keywicket/core/keyring"
	"github.com/keywicket/keywicket/core/proof"
	"github.com/keywicket/keywicket/core/store/badgerstore"
	"github.com/keywicket/keywicket/core/store/memstore"
)

// An engine needs a store, a directory and a keyring. Here all three are of
// this module, and the store is in memory.
func Example() {
	ctx := context.Background()
	keys, _ := keyring.New(time.Now()) // a program keeps it: see keyring.ReadFile
	store := memstore.New()
	defer store.Close()
	accounts := local.New(store, keys, local.Options{})

	engine, err := core.Open(ctx, core.Options{Store: store, Directory: accounts, Keyring: keys})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer engine.Close()

	// Who may have app passwords has two-step verification on. Turning it on
	// gives the first one.
	engine.AddAccount(ctx, "alain@contoso.com", nil, []byte("correct horse battery"))
	uri, _ := engine.Enroll(ctx, "alain@contoso.com")
	code, _ := core.CodeFor(uri, time.Now()) // the owner's authenticator app shows it
	given, _ := engine.Confirm(ctx, "alain@contoso.com", code, core.NewAppPassword{Name: "Laptop"})
	fmt.Println(given.First.Name, given.First.Status)

	// Its text exists this once. Printed as it is, it says nothing.
	_, text, _ := engine.Create(ctx, "alain@contoso.com", core.NewAppPassword{Name: "Xbox in the den"})
	fmt.Println(text, len(text.Canonical()))

	attempt := core.Attempt{Account: "Alain@Contoso.com", Proof: proof.Cleartext(text.Grouped()), Service: "radius/lounge"}
	grant, err := engine.Verify(ctx, attempt)
	fmt.Println(grant.Account, grant.AppPassword.Name, err)

	engine.Delete(ctx, "alain@contoso.com", "xbox in the den")
	_, err = engine.Verify(ctx, attempt)
	fmt.Println(core.KindOf(err), core.ReasonOf(err))
	fmt.Println(core.ReasonOf(err).Sentence())

	// Output:
	// Laptop active
	// [app password] 20
	// alain@contoso.com Xbox in the den <nil>
	// denied deleted
	// the app password was deleted or rotated, and the device still has the old one; give it the new one or create one for it, or take the old one out of it
}

// A store on disk is used in the same way; what was acknowledged is there when
// it is opened again.
func Example_badger() {
	ctx := context.Background()
	dir, err := os.MkdirTemp("", "keywicket-example")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer os.RemoveAll(dir)
	keys, _ := keyring.New(time.Now())

	open := func() (engine *core.Engine, closeAll func() error, err error) {
		store, err := badgerstore.Open(dir, badgerstore.Options{})
		if err != nil {
			return nil, nil, err
		}
		engine, err = core.Open(ctx, core.Options{Store: store, Directory: local.New(store, keys, local.Options{}), Keyring: keys})
		if err != nil {
			return nil, nil, errors.Join(err, store.Close())
		}
		return engine, func() error { return errors.Join(engine.Close(), store.Close()) }, nil
	}

	engine, closeAll, err := open()
	if err != nil {
		fmt.Println(err)
		return
	}
	engine.AddAccount(ctx, "alain", nil, nil)
	uri, _ := engine.Enroll(ctx, "alain")
	code, _ := core.CodeFor(uri, time.Now())
	given, _ := engine.Confirm(ctx, "alain", code, core.NewAppPassword{})
	fmt.Println(closeAll())

	engine, closeAll, err = open()
	if err != nil {
		fmt.Println(err)
		return
	}
	grant, err := engine.Verify(ctx, core.Attempt{Account: "alain", Proof: proof.Cleartext(given.FirstText.Canonical()), Service: "pam/sshd"})
	fmt.Println(grant.AppPassword.Name, err)
	fmt.Println(closeAll())

	// Output:
	// <nil>
	// First app password <nil>
	// <nil>
}
