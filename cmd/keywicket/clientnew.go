package main

import (
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/keywicket/keywicket/core/config"
)

// secretOctets is how many random octets the secret of a new client has.
const secretOctets = 32

func (a *app) clientCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "client", Short: "Manage the RADIUS clients: the devices that ask"}
	cmd.AddCommand(a.clientNew(), a.clientRotate())
	return cmd
}

func (a *app) clientNew() *cobra.Command {
	var addresses []string
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "new NAME",
		Short: "Make a shared secret, and print the block for the configuration",
		Long:  "Make a shared secret for a new RADIUS client, write it to NAME.secret beside the\nconfiguration, and print the block to paste there. The configuration itself is\nnot changed.",
		Args:  exactArgs("NAME"),
		RunE: func(cmd *cobra.Command, args []string) error {
			path, err := a.filePath(cmd.Context())
			if err != nil {
				return err
			}
			dir, err := filepath.Abs(filepath.Dir(path))
			if err != nil {
				return err
			}
			file := filepath.Join(dir, args[0]+".secret")
			client, block, err := clientBlock(args[0], addresses, file)
			if err != nil {
				return usage(cmd, err)
			}
			if err := addable(path, client); err != nil {
				return usageError{err}
			}
			err = a.writeSecret(cmd, file, func() error {
				if asJSON {
					return a.printJSON(map[string]any{"name": args[0], "address": notNil(addresses), "secret_file": file, "block": block})
				}
				a.printf("# Paste this into the configuration, then: keywicket reload\n%s", block)
				return nil
			})
			switch {
			case errors.Is(err, fs.ErrExist):
				return fmt.Errorf("%s is there already, and nothing was changed; choose another name, or, for a new secret of a client that is there, \"keywicket client rotate %s\"", file, args[0])
			case errors.Is(err, fs.ErrNotExist):
				return usageError{fmt.Errorf("there is no folder %s; name the configuration with --config, or make one with \"keywicket init\"", dir)}
			case err != nil:
				return err
			}
			fmt.Fprintf(a.err, "The secret for the device is in %s.\n", file)
			return nil
		},
	}
	cmd.Flags().StringArrayVar(&addresses, "address", nil, "an `address` or prefix that the client asks from; may be repeated")
	jsonFlag(cmd, &asJSON)
	return cmd
}

// addable says why client cannot be added to the configuration at path. One that
// cannot be read or has faults is not asked; beside a folder the secret would be in
// the wrong place.
func addable(path string, client config.Client) error {
	f, err := config.Load(path)
	if info, stat := os.Stat(path); stat == nil && info.IsDir() {
		return err
	}
	if err != nil || f.Radius == nil {
		return nil
	}
	for _, c := range f.Radius.Clients {
		if c.Name == client.Name {
			return fmt.Errorf("the configuration has a client %s already, at line %d; for a new secret of it: keywicket client rotate %[1]s", c.Name, f.Line("radius", "client", c.Name))
		}
		for _, prefix := range client.Address {
			if slices.Contains(c.Address, prefix) {
				return fmt.Errorf("%s belongs to the client %s already", prefix, c.Name)
			}
		}
	}
	return nil
}

// bareKey is what a key of TOML has where it needs no quotes.
const bareKey = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-"

// clientBlock returns a client and its block of the configuration, checked by the
// same code that will read it.
func clientBlock(name string, addresses []string, secretFile string) (client config.Client, block string, err error) {
	var quoted []string
	for _, text := range addresses {
		if _, err := netip.ParsePrefix(text); err != nil {
			if _, err := netip.ParseAddr(text); err != nil {
				return client, "", fmt.Errorf("%q is neither an address nor a prefix; write it as 192.0.2.10 or 2001:db8::/64", text)
			}
		}
		quoted = append(quoted, fmt.Sprintf("%q", text))
	}
	key := name
	if strings.Trim(name, bareKey) != "" {
		key = strconv.Quote(name)
	}
	write := func(addresses, remark string) string {
		return fmt.Sprintf("\n[radius.client.%s]\naddress     = [%s]%s\nsecret_file = %q\n", key, addresses, remark, secretFile)
	}
	block = write(strings.Join(quoted, ", "), "")
	if len(quoted) == 0 {
		block = write(`"192.0.2.1"`, "")
	}
	whole := "data_dir = \"/d\"\nkeyring = \"/k\"\n[radius]\nlisten = [\"127.0.0.1:1812\"]\n" + block
	f, err := config.Parse("the client "+name, []byte(whole))
	var faults config.Faults
	if errors.As(err, &faults) {
		return client, "", errors.New(faults[0].Text)
	}
	if err != nil {
		return client, "", err
	}
	if len(f.Radius.Clients) != 1 || f.Radius.Clients[0].Name != name {
		return client, "", fmt.Errorf("%q is not possible as the name of a client", name)
	}
	client = f.Radius.Clients[0]
	if len(quoted) == 0 { // with no address the configuration has a fault until somebody writes one
		client.Address, block = nil, write("", ` # what it asks from, such as "192.0.2.10" or "192.0.2.0/24"`)
	}
	return client, block, nil
}

// writeSecret is writeSecret, and takes the file away again where what show prints
// of it does not arrive: nobody would come to use it.
func (a *app) writeSecret(cmd *cobra.Command, path string, show func() error) error {
	signal.Ignore(syscall.SIGPIPE) // a reader that went away is an error of the write
	if closedStdout() {
		return usage(cmd, errors.New("standard output is closed, and the lines for the configuration would be lost; open it"))
	}
	if err := writeSecret(path); err != nil {
		return err
	}
	err := show()
	if w, ok := a.out.(*keptWriter); ok && err == nil {
		err = w.err
	}
	if err == nil {
		return nil
	}
	if left := os.Remove(path); left != nil {
		return fmt.Errorf("%w; the secret is in %s, which could not be taken away again: %w", err, path, left)
	}
	return fmt.Errorf("%w; nothing was made", err)
}

// writeSecret writes a new secret as text that every device takes. Whoever has
// the group of the folder may read it: root makes it, and the daemon's user,
// to whose group the folder belongs, uses it. What is there stays (fs.ErrExist).
func writeSecret(path string) error {
	secret := make([]byte, secretOctets)
	rand.Read(secret) // never fails (crypto/rand since Go 1.24)
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintln(f, hex.EncodeToString(secret))
	if err = errors.Join(err, giveToGroup(f), f.Sync(), f.Close()); err != nil {
		return errors.Join(err, os.Remove(path))
	}
	return nil
}

// giveToGroup lets the group of f's folder read f, where that is not the group
// of whoever runs this.
func giveToGroup(f *os.File) error {
	info, err := os.Stat(filepath.Dir(f.Name()))
	if err != nil {
		return err
	}
	stat, ok := info.Sys().(*syscall.Stat_t)
	if !ok || int(stat.Gid) == os.Getegid() {
		return nil
	}
	if err := f.Chown(-1, int(stat.Gid)); err != nil {
		return fmt.Errorf("the secret cannot be given to the group of its folder: %w", err)
	}
	return f.Chmod(0o640)
}
