package main

import (
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
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
			dir := filepath.Dir(defaultConfig)
			if a.configPath != "" {
				dir = filepath.Dir(a.configPath)
			}
			abs, err := filepath.Abs(dir)
			if err != nil {
				return err
			}
			file := filepath.Join(abs, args[0]+".secret")
			block, err := clientBlock(args[0], addresses, file)
			if err != nil {
				return usage(cmd, err)
			}
			if err := writeSecret(file); err != nil {
				return err
			}
			fmt.Fprintf(a.err, "The secret for the device is in %s.\n", file)
			if asJSON {
				return a.printJSON(map[string]any{"name": args[0], "address": notNil(addresses), "secret_file": file, "block": block})
			}
			a.printf("# Paste this into the configuration, then: keywicket reload\n%s", block)
			return nil
		},
	}
	cmd.Flags().StringArrayVar(&addresses, "address", nil, "an `address` or prefix that the client asks from; may be repeated")
	jsonFlag(cmd, &asJSON)
	return cmd
}

// clientBlock returns the block of the configuration for a client, checked by
// the same code that will read it.
func clientBlock(name string, addresses []string, secretFile string) (string, error) {
	var quoted []string
	for _, text := range addresses {
		if _, err := netip.ParsePrefix(text); err != nil {
			if _, err := netip.ParseAddr(text); err != nil {
				return "", fmt.Errorf("%q is neither an address nor a prefix; write it as 192.0.2.10 or 2001:db8::/64", text)
			}
		}
		quoted = append(quoted, fmt.Sprintf("%q", text))
	}
	write := func(addresses, remark string) string {
		return fmt.Sprintf("\n[radius.client.%s]\naddress     = [%s]%s\nsecret_file = %q\n", name, addresses, remark, secretFile)
	}
	block := write(strings.Join(quoted, ", "), "")
	if len(quoted) == 0 {
		block = write(`"192.0.2.1"`, "")
	}
	whole := "data_dir = \"/d\"\nkeyring = \"/k\"\n[radius]\nlisten = [\"127.0.0.1:1812\"]\n" + block
	f, err := config.Parse("the client "+name, []byte(whole))
	var faults config.Faults
	if errors.As(err, &faults) {
		return "", fmt.Errorf("%q: %s", name, faults[0].Text)
	}
	if err != nil {
		return "", err
	}
	if len(f.Radius.Clients) != 1 || f.Radius.Clients[0].Name != name {
		return "", fmt.Errorf("%q is not possible as the name of a client", name)
	}
	if len(quoted) == 0 { // with no address the configuration has a fault until somebody writes one
		block = write("", ` # what it asks from, such as "192.0.2.10" or "192.0.2.0/24"`)
	}
	return block, nil
}

// writeSecret writes a new secret as text that every device takes. Whoever has
// the group of the folder may read it: root makes it, and the daemon's user,
// to whose group the folder belongs, uses it.
func writeSecret(path string) error {
	secret := make([]byte, secretOctets)
	rand.Read(secret) // never fails (crypto/rand since Go 1.24)
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if errors.Is(err, os.ErrExist) {
		return fmt.Errorf("%s is there already, and nothing was changed; remove it first, or choose another name", path)
	}
	if err != nil {
		return err
	}
	_, err = fmt.Fprintln(f, hex.EncodeToString(secret))
	return errors.Join(err, giveToGroup(f), f.Sync(), f.Close())
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
